"""Files of the ADE20K toolkit: encoder and decoder pairs, deep-stem, MobileNetV2 and HRNet backbones."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgeailite.errors import DataError
from edgeailite.models import Pixel2Pixel, create_model
from edgeailite.pretrained import load_pretrained
from tests.golden import golden_model
from tests.pretrained.test_loading import copy_of, same, unchanged

MOBILE, RESNET18 = "mobilenetv2dilated_c1_deepsup", "resnet18dilated_ppm_deepsup"
V1 = "v1_resnet34_dilated8_c1_bilinear"
EXTRA = ("_tmp_running_mean", "_tmp_running_var", "_running_iter")


def part_of(model: Pixel2Pixel, name: str, *, extra: bool = True) -> dict[str, Tensor]:
    """A part as the toolkit's training saves it: three more buffers for each synchronised BatchNorm."""
    part = model.encoder if name == "encoder" else model.decoders[0]
    weights = dict(part.state_dict())
    if extra:
        for key in [k for k in weights if k.endswith("running_var")]:
            weights |= {key.replace("running_var", name): torch.ones(3) for name in EXTRA}
    return weights


def pair_of(model: Pixel2Pixel, folder: Path, *, suffix: str = "epoch_20", extra: bool = True) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"encoder_{suffix}.pth", folder / f"decoder_{suffix}.pth"
    for path in paths:
        torch.save(part_of(model, path.name.split("_")[0], extra=extra), path)
    return paths


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A network and its two files, to read only."""
    model = golden_model(MOBILE)
    return model, pair_of(model, tmp_path_factory.mktemp("ade20k-mobilenetv2dilated-c1_deepsup"))


def test_pair_loads_without_its_extra_buffers(published):
    source, paths = published
    model = create_model(MOBILE)
    report = load_pretrained(model, paths)
    assert same(model, source)
    assert report.kind == "ADE20K encoder and decoder"
    assert report.source == f"{paths[0]} + {paths[1]}"
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in source.modules())
    assert report.notes == (f"{3 * norms} buffers of synchronised BatchNorm left out",)
    assert report.missing == report.unexpected == report.mismatched == ()


def test_pair_as_text_with_wrapped_names(published, tmp_path):
    source, _ = published
    paths = pair_of(source, tmp_path, extra=False)
    for path in paths:
        torch.save({"state_dict": {f"module.{k}": v for k, v in torch.load(path).items()}}, path)
    model = create_model(MOBILE)
    assert load_pretrained(model, [str(path) for path in paths]).notes == ()
    assert same(model, source)


@pytest.mark.parametrize("prefix", ["decoder.", "decoders.0.", "module.decoder."])
def test_pair_with_the_names_of_the_parts(published, tmp_path, prefix):
    source, paths = published
    for path, name in zip(paths, ("encoder.", prefix), strict=True):
        torch.save({f"{name}{key}": value for key, value in torch.load(path).items()}, tmp_path / path.name)
    encoder, decoder = (tmp_path / path.name for path in paths)
    model = create_model(MOBILE)
    assert load_pretrained(model, (encoder, decoder)).kind == "ADE20K encoder and decoder"
    assert same(model, source)
    with pytest.raises(DataError, match="holds a decoder; give the encoder's file first"):
        load_pretrained(model, (decoder, encoder))
    with pytest.raises(DataError, match="a decoder alone; give both files"):
        load_pretrained(model, decoder)


@pytest.mark.parametrize("name", [MOBILE, RESNET18, "mobilenetv2dilated_upernet"])
def test_decoder_without_its_last_layer_is_still_one(tmp_path, name):
    source = golden_model(name)
    encoder, decoder = pair_of(source, tmp_path)
    weights = {key: value for key, value in torch.load(decoder).items() if not key.startswith("conv_last")}
    torch.save(weights, decoder)
    with pytest.raises(DataError, match="a decoder alone; give both files"):
        load_pretrained(source, decoder)
    with pytest.raises(
        DataError, match=r"ADE20K encoder and decoder, does not fit .* missing \(decoders\.0\.conv_last"
    ):
        load_pretrained(create_model(name), (encoder, decoder), allow_head_mismatch=True)


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_nothing_else_is_ignored(published, tmp_path, change):
    _, paths = published
    weights = torch.load(paths[1])
    if change == "missing":
        del weights["cbr.1.running_mean"]
    else:
        weights["cbr.1._tmp_running_median"] = torch.ones(3)
    torch.save(weights, tmp_path / "decoder.pth")
    model = create_model(MOBILE)
    before = copy_of(model)
    named = "running_mean" if change == "missing" else "_tmp_running_median"
    count = "missing" if change == "missing" else "unexpected"
    with pytest.raises(DataError, match=rf"1 {count} \(decoders\.0\.cbr\.1\.{named}\)"):
        load_pretrained(model, (paths[0], tmp_path / "decoder.pth"))
    assert unchanged(model, before)


def test_files_in_the_wrong_order_or_alone(published):
    _, (encoder, decoder) = published
    model = create_model(MOBILE)
    with pytest.raises(DataError, match=r"decoder_epoch_20\.pth: holds a decoder; give the encoder's file first"):
        load_pretrained(model, (decoder, encoder))
    with pytest.raises(DataError, match=r"encoder_epoch_20\.pth: holds no ADE20K decoder"):
        load_pretrained(model, (encoder, encoder))
    with pytest.raises(DataError, match=r"decoder_epoch_20\.pth: a decoder alone; give both files"):
        load_pretrained(model, decoder)


def test_encoder_alone_is_a_backbone(published):
    source, (encoder, _) = published
    model = create_model(MOBILE)
    report = load_pretrained(model, encoder)
    assert same(model.encoder, source.encoder)
    assert all(key.startswith("decoders.") for key in report.missing)
    assert report.notes[-1].startswith("the file holds a backbone only")


def test_pair_of_another_network_or_class_count(published):
    _, paths = published
    with pytest.raises(DataError, match="has 150 classes in segmentation, this network 19"):
        load_pretrained(create_model(MOBILE, 19), paths)
    report = load_pretrained(create_model(MOBILE, 19), paths, allow_head_mismatch=True)
    layers = ("conv_last", "conv_last_deepsup")
    assert {*report.mismatched} == {f"decoders.0.{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")}
    with pytest.raises(DataError, match="does not fit mobilenetv2dilated_ppm"):
        load_pretrained(create_model("mobilenetv2dilated_ppm", 19), paths, allow_head_mismatch=True)


def test_pair_goes_to_all_inputs_and_decoders(published):
    source, paths = published
    model = create_model(MOBILE, inputs=2, outputs={"segmentation": 150, "depth": 1})
    report = load_pretrained(model, paths)
    assert {key for key in report.missing if "streamfuse" not in key} == set()
    assert all(key.startswith("decoders.1.conv_last") for key in report.mismatched)
    assert same(model.decoders[0], source.decoders[0])
    assert same(model.decoders[1].cbr, source.decoders[0].cbr)


def test_pair_of_2017_needs_align_corners(tmp_path):
    source = golden_model(V1)
    paths = pair_of(source, tmp_path / "baseline-resnet34_dilated8-c1_bilinear", suffix="best", extra=False)
    notes = load_pretrained(create_model(V1), paths).notes
    assert notes == ("the published numbers need --align_corners True",)
    model = create_model(V1, align_corners=True)
    assert load_pretrained(model, paths).notes == ()
    assert same(model, source)


def test_pair_of_2018_expects_bgr(published, tmp_path):
    source, _ = published
    paths = pair_of(source, tmp_path / "baseline-mobilenetv2dilated-c1_deepsup", extra=False)
    (note,) = load_pretrained(create_model(MOBILE), paths).notes
    assert "BGR input of 0..255 minus mean (102.9801, 115.9465, 122.7717)" in note


# name: network, kind, what the file has beside the encoder's tensors
BACKBONES = {
    "deep stem": (RESNET18, "ADE20K ResNet backbone (deep stem)", ["fc.weight", "fc.bias"]),
    "MobileNetV2": (
        "mobilenetv2dilated_c1",
        "ADE20K MobileNetV2 backbone",
        ["features.18.0.weight", "features.18.1.running_var", "classifier.1.weight"],
    ),
    "Places365 of 2017": (V1, "ADE20K ResNet backbone (deep stem)", ["fc.weight"]),
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones(tmp_path, backbone):
    name, kind, unused = BACKBONES[backbone]
    source = golden_model(name)
    torch.save(part_of(source, "encoder", extra=False) | {key: torch.zeros(2) for key in unused}, tmp_path / "w.pth")
    model = create_model(name)
    report = load_pretrained(model, tmp_path / "w.pth")
    assert report.kind == kind
    assert same(model.encoder, source.encoder)
    assert f"({len(unused)} tensors)" in report.notes[0]
    assert all(key.startswith("decoders.") for key in report.missing)


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_hrnet_backbone(tmp_path):
    """Told from shapes alone: the network has 66 million parameters."""
    with torch.device("meta"):
        model = create_model("hrnetv2_c1")
    unused = ["incre_modules.0.0.conv1.weight", "downsamp_modules.0.0.bias", "final_layer.0.weight", "classifier.bias"]
    shapes = {key: value.shape for key, value in model.encoder.state_dict().items()}
    small = {key: torch.zeros(shape, dtype=torch.bool) for key, shape in shapes.items()}
    small |= {k: torch.zeros(2) for k in unused}
    torch.save(small, tmp_path / "hrnetv2_w48-imagenet.pth")
    report = load_pretrained(model, tmp_path / "hrnetv2_w48-imagenet.pth")
    assert report.kind == "ADE20K HRNet backbone"
    assert report.notes[0] == "not used: incre_modules, downsamp_modules, final_layer, classifier (4 tensors)"
    assert {key.split(".")[0] for key in report.missing} == {"decoders"}
    assert report.unexpected == report.mismatched == ()


def test_deep_stem_of_2018_is_not_that_of_2017(tmp_path):
    torch.save(part_of(golden_model("resnet34dilated_c1"), "encoder"), tmp_path / "w.pth")
    with pytest.raises(
        DataError, match=r"does not fit v1_resnet34.*encoder\.conv3\.weight: file 128x64x3x3, network 64x64x3x3"
    ):
        load_pretrained(create_model(V1), tmp_path / "w.pth")
