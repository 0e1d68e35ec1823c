"""The table of published weights: torchvision, pycls and timm say the same, and every record fits a network."""

import re
from fnmatch import fnmatchcase

import pytest
import torchvision
from pycls.models import model_zoo

from edgeailite.download import checksum_in_name
from edgeailite.models import MODELS
from edgeailite.pretrained import PUBLISHED, weights_for
from edgeailite.pretrained.urls import STATED_TO, record_of
from tests.markdown import ROOT
from tools.weights_table import table


def test_torchvision_says_the_same():
    stated = [torchvision.models.get_model_weights(n) for n in ("mobilenet_v2", "resnet50", "vgg16", "vgg19")]
    sizes = {weight.url: weight.meta["_file_size"] for weights in stated for weight in weights}
    ours = [file for weights in PUBLISHED for file in weights.files if "pytorch.org" in file.url and file.size]
    assert len(ours) == 6
    for file in ours:
        assert abs(file.size - sizes[file.url] * 2**20) <= STATED_TO
        assert file.sha256 == checksum_in_name(file.url)


def test_pycls_says_the_same():
    ours = [file.url for weights in PUBLISHED for file in weights.files if "pycls" in file.url]
    names = ("RegNetX-400MF", "RegNetX-800MF", "RegNetX-1.6GF", "RegNetX-3.2GF")
    assert ours == [f"{model_zoo._URL_WEIGHTS}/{model_zoo._MODEL_ZOO_WEIGHTS[name]}" for name in names]


def test_timm_says_the_same():
    """Addresses, and mean and deviation, of timm's own configurations."""
    configurations = pytest.importorskip("timm.models").get_pretrained_cfg
    ours = [weights for weights in PUBLISHED if weights.name.startswith("ImageNet, timm ")]
    assert len(ours) >= 10
    for weights in ours:
        [file] = weights.files
        name = weights.name.removeprefix("ImageNet, timm ")
        network = re.sub(r"(_ra)?-[0-9a-f]{8}\.pth$", "", name)
        stated = configurations(network)
        if name.endswith(".pth"):
            assert file.url == stated.url
        else:
            assert file.url == f"https://huggingface.co/{stated.hf_hub_id}/resolve/main/model.safetensors"
        mean, scale = weights.mean_and_scale
        assert mean == pytest.approx([255 * value for value in stated.mean])
        assert scale == pytest.approx([1 / (255 * value) for value in stated.std])


@pytest.mark.parametrize("weights", PUBLISHED, ids=lambda weights: weights.name)
def test_every_record_fits_a_network(weights):
    names = {f"{row.family}:{row.encoder}" for row in MODELS.values()} if weights.is_backbone else set(MODELS)
    for fit in weights.fits:
        assert any(fnmatchcase(name, fit) for name in names), fit
    assert all(file.url.startswith(("http://", "https://")) for file in weights.files)
    assert len(weights.files) in (1, 2) or weights.packaged is not None


def test_torch_hub_script_of_csail_says_the_same():
    """The pairs and epochs that the public script lists."""
    stated = {"hrnetv2-c1": 30, "mobilenetv2dilated-c1_deepsup": 20, "resnet18dilated-c1_deepsup": 20}
    stated |= {"resnet18dilated-ppm_deepsup": 20, "resnet50-upernet": 30, "resnet50dilated-ppm_deepsup": 20}
    stated |= {"resnet101-upernet": 50, "resnet101dilated-ppm_deepsup": 25}
    urls = {
        tuple(
            f"http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-{name}/{part}_epoch_{epoch}.pth"
            for part in ("encoder", "decoder")
        )
        for name, epoch in stated.items()
    }
    assert {tuple(f.url for f in w.files) for w in PUBLISHED if any("/ade20k-" in f.url for f in w.files)} == urls
    for name in ("resnet18dilated_c1_deepsup", "resnet101dilated_ppm_deepsup"):
        assert weights_for(name)[0].name == f"ADE20K, CSAIL ade20k-{name.replace('d_', 'd-', 1)}"


def test_weights_for_a_network():
    mobile = [w.name for w in weights_for("deeplabv3plus_mobilenetv2_tv_edgeailite")]
    assert mobile[0].startswith("COCO 21 classes")
    assert len(mobile) == 3
    assert weights_for("deeplabv3plus_edgeailite_mobilenetv2_tv") == weights_for(
        "deeplabv3plus_mobilenetv2_tv_edgeailite"
    )
    assert [w.input[:3] for w in weights_for("resnet50dilated_ppm_deepsup")] == ["RGB", "BGR", "RGB"]
    assert weights_for("deeplabv3plus_resnet50_p5_edgeailite") == []
    assert weights_for("no such network") == []


def test_the_page_has_the_table():
    assert table() in (ROOT / "docs/models.md").read_text(encoding="utf-8"), "print it: python tools/weights_table.py"


def test_record_of_an_address():
    record = record_of("https://download.pytorch.org/models/resnet50-0676ba61.pth")
    assert record is not None
    assert record.sha256 == "0676ba61"
    assert record_of("https://example.org/w.pth") is None
