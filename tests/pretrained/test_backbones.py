"""Backbones of torchvision and pycls through the key maps: our features equal those of their own networks.

torchvision's and pycls' networks are independent oracles: random weights and BatchNorm statistics are saved as their
training does and loaded here.
"""

import pytest
import torch
import torchvision
from pycls.core import config as pycls_config
from pycls.models.regnet import RegNet
from torch import Tensor, nn

from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.pretrained import load_pretrained
from edgeailite.pretrained.recognise import recognise
from edgeailite.pretrained.replicate import place

MOBILENET, RESNET = "fpn_aspp_mobilenetv2_tv_edgeailite", "unet_aspp_resnet50_edgeailite"
REGNET = "fpn_aspp_regnetx400mf_edgeailite"


def randomized(model: nn.Module) -> nn.Module:
    """Weights that keep activations at about one, and statistics that are not those of a fresh BatchNorm."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.0),
                (module.bias.data, -0.1, 0.1),
            ):
                tensor.uniform_(low, high, generator=generator)
    return model.eval()


def picture() -> Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def assert_features(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert their.std() > 1e-3
        torch.testing.assert_close(our, their, rtol=1e-4, atol=1e-5 * float(their.abs().max()))


def relu_for_relu6(model: nn.Module) -> nn.Module:
    """As in the MobileNetV2 of width 1.0 of edgeailite."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())
    return model


def each(layers: nn.Module, x: Tensor) -> list[Tensor]:
    results = []
    for layer in layers:
        x = layer(x)
        results.append(x)
    return results


@torch.no_grad()
def test_torchvision_mobilenet(tmp_path):
    theirs = relu_for_relu6(randomized(torchvision.models.mobilenet_v2(weights=None)))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    model = create_model(MOBILENET).eval()
    before = {key: value.clone() for key, value in model.decoders.state_dict().items()}
    report = load_pretrained(model, tmp_path / "w.pth")
    results = each(theirs.features, picture())
    assert_features(model.encoder(picture()), [results[index] for index in (1, 3, 6, 13, 17)])
    assert report.kind == "torchvision MobileNetV2 backbone"
    assert report.unexpected == report.mismatched == ()
    assert report.missing
    assert all(key.startswith("decoders.") for key in report.missing)
    assert all(torch.equal(value, before[key]) for key, value in model.decoders.state_dict().items())
    assert report.notes == (
        "not used: features.18, classifier (8 tensors)",
        f"the file holds a backbone only: {len(report.missing)} tensors keep their initial values "
        f"({', '.join(report.missing[:3])}, ...)",
    )


@torch.no_grad()
def test_torchvision_resnet(tmp_path):
    theirs = randomized(torchvision.models.resnet50(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    model = create_model(RESNET).eval()
    report = load_pretrained(model, tmp_path / "w.pth")
    x = theirs.relu(theirs.bn1(theirs.conv1(picture())))
    stages = each([theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4], theirs.maxpool(x))
    assert_features(model.encoder(picture()), [x, *stages])
    assert report.kind == "torchvision ResNet backbone"
    assert report.notes[0] == "not used: fc (2 tensors)"


# published configurations: WA, W0, WM, DEPTH, GROUP_W
REGNETS = {
    "400mf": (24.48, 24, 2.54, 22, 16),
    "800mf": (35.73, 56, 2.28, 16, 16),
    "1p6gf": (34.01, 80, 2.25, 18, 24),
    "3p2gf": (26.31, 88, 2.25, 25, 48),
}


@pytest.fixture
def pycls_regnet():
    """Built from pycls' global configuration, which is as before afterwards."""
    values = pycls_config.cfg.clone()

    def build(size: str) -> RegNet:
        names = ("WA", "W0", "WM", "DEPTH", "GROUP_W")
        pairs = [part for name, value in zip(names, REGNETS[size], strict=True) for part in (f"REGNET.{name}", value)]
        pycls_config.cfg.merge_from_list(pairs)
        return randomized(RegNet())

    yield build
    pycls_config.cfg.merge_from_other_cfg(values)


@torch.no_grad()
@pytest.mark.parametrize("size", REGNETS)
def test_pycls_regnet_takes_bgr_and_ours_rgb(tmp_path, pycls_regnet, size):
    theirs = pycls_regnet(size)
    values = {"epoch": 99, "model_state": theirs.state_dict(), "optimizer_state": {"state": {}}, "cfg": "MODEL:\n"}
    torch.save(values, tmp_path / "RegNetX_dds_8gpu.pyth")
    model = create_model(f"fpn_aspp_regnetx{size}_edgeailite").eval()
    report = load_pretrained(model, tmp_path / "RegNetX_dds_8gpu.pyth")
    results = each([theirs.stem, theirs.s1, theirs.s2, theirs.s3, theirs.s4], picture().flip(1))
    assert_features(model.encoder(picture()), results)
    assert report.kind == "pycls RegNet backbone"
    assert report.notes[:2] == (
        "not used: head (2 tensors)",
        "input channels of the first convolution flipped from BGR to RGB",
    )


def test_backbone_goes_to_all_inputs(tmp_path):
    theirs = randomized(torchvision.models.mobilenet_v2(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    model = create_model(MOBILENET, inputs=3)
    report = load_pretrained(model, tmp_path / "w.pth")
    assert {key.split(".")[0] for key in report.missing} == {"decoders", "encoder"}
    assert all("streamfuse" in key for key in report.missing if key.startswith("encoder."))
    for stream in range(3):
        part = model.encoder.get_submodule(f"features.stream{stream}.3.conv.2")
        assert torch.equal(part.weight, theirs.features[3].conv[2].weight)
    assert len(report.notes) == 4


def lacking() -> dict[str, tuple[str, nn.Module]]:
    with torch.device("meta"):
        mobilenet, resnet50 = torchvision.models.mobilenet_v2(weights=None), torchvision.models.resnet50(weights=None)
        vgg = torchvision.models.vgg16(weights=None)
        deep, tonylins = create_model("resnet18dilated_c1").encoder, create_model("mobilenetv2dilated_c1").encoder
    return {
        "torchvision MobileNetV2 backbone": (MOBILENET, mobilenet),
        "torchvision ResNet backbone": (RESNET, resnet50),
        "torchvision VGG backbone": ("v1_vgg16_dilated8_c1_bilinear", vgg),
        "ADE20K ResNet backbone (deep stem)": ("resnet18dilated_c1", deep),
        "ADE20K MobileNetV2 backbone": ("mobilenetv2dilated_c1", tonylins),
    }


@pytest.mark.parametrize("kind", lacking())
def test_backbone_that_lacks_any_one_tensor_is_told_and_the_tensor_named(kind):
    """Whatever the tensor is: no single key tells the kind."""
    network, theirs = lacking()[kind]
    with torch.device("meta"):
        model = create_model(network)
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith(("fc.", "classifier.", "features.18."))}
    whole = set(place(recognise(weights, "w.pth"), model).weights)
    for key in weights:
        found = recognise({k: v for k, v in weights.items() if k != key}, "w.pth")
        assert found.kind == kind
        (missing,) = whole - set(place(found, model).weights)
        assert missing.endswith(key.rpartition(".")[2])


@pytest.mark.parametrize("key", ["stem.conv.weight", "s1.b1.f.a.weight", "s4.b1.proj.weight"])
def test_pycls_regnet_that_lacks_a_tensor(tmp_path, pycls_regnet, key):
    weights = pycls_regnet("400mf").state_dict()
    del weights[key]
    torch.save({"model_state": weights}, tmp_path / "w.pyth")
    with pytest.raises(
        DataError, match=rf"pycls RegNet backbone, does not fit .*: 1 missing \(encoder\.features\.{key}\)"
    ):
        load_pretrained(create_model(REGNET), tmp_path / "w.pyth")


def wrong_backbones():
    def tonylins(weights):
        return {key.replace(".conv.0.0.", ".conv.0."): value for key, value in weights.items()}

    with torch.device("meta"):
        mobilenet, resnet18 = torchvision.models.mobilenet_v2(weights=None), torchvision.models.resnet18(weights=None)
        resnet50, vgg = torchvision.models.resnet50(weights=None), torchvision.models.vgg11_bn(weights=None)
    weights = {
        "mobilenet": mobilenet.state_dict(),
        "tonylins": tonylins(mobilenet.state_dict()),
        "resnet18": resnet18.state_dict(),
        "resnet50": resnet50.state_dict(),
        "vgg11_bn": {k: v for k, v in vgg.state_dict().items() if not k.startswith("classifier")},
    }
    networks = {
        "mobilenet": ["deeplabv3plus_mobilenetv2_tv_1p4_edgeailite", REGNET, "mobilenetv2dilated_c1"],
        "tonylins": [MOBILENET],
        "resnet18": [RESNET, "resnet18dilated_c1"],
        "resnet50": ["resnet50_upernet_lite", "deeplabv3plus_resnet50_p5_edgeailite"],
        "vgg11_bn": ["v1_resnet34_dilated8_c1_bilinear", MOBILENET],
    }
    return [
        pytest.param(weights[name], network, id=f"{name}-{network}") for name in weights for network in networks[name]
    ]


@pytest.mark.parametrize(("weights", "network"), wrong_backbones())
def test_wrong_backbone_is_refused_even_without_its_head(tmp_path, weights, network):
    torch.save({key: torch.zeros(v.shape, dtype=v.dtype) for key, v in weights.items()}, tmp_path / "w.pth")
    with torch.device("meta"):
        model = create_model(network)
    with pytest.raises(DataError, match=rf"w\.pth: .*, does not fit {network}: .*; (take|use)"):
        load_pretrained(model, tmp_path / "w.pth", allow_head_mismatch=True)


def test_regnet_of_another_size_is_refused(tmp_path, pycls_regnet):
    torch.save({"model_state": pycls_regnet("800mf").state_dict()}, tmp_path / "w.pyth")
    expected = r"pycls RegNet backbone, does not fit .* of another shape \(encoder\.features\.s1\.b1\."
    with pytest.raises(DataError, match=expected):
        load_pretrained(create_model(REGNET), tmp_path / "w.pyth", allow_head_mismatch=True)


@pytest.mark.parametrize(("name", "last"), [("vgg16", 28), ("vgg19", 34)])
def test_vgg_convolutions_are_renumbered(name, last):
    """Shapes repeat, so that the tensors themselves are followed."""
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)(weights=None)
        model = create_model(f"v1_{name}_dilated8_c1_bilinear")
    weights = dict(theirs.state_dict())
    found = recognise(weights, "w.pth")
    placed = place(found, model)
    ours = [module for module in model.encoder.modules() if isinstance(module, nn.Conv2d)]
    their = [module for module in theirs.features if isinstance(module, nn.Conv2d)]
    names = {id(module): key for key, module in model.encoder.named_modules()}
    old = {id(module): key for key, module in theirs.features.named_modules()}
    for our, one in zip(ours[:-2], their, strict=True):
        for leaf in ("weight", "bias"):
            assert placed.weights[f"encoder.{names[id(our)]}.{leaf}"] is weights[f"features.{old[id(one)]}.{leaf}"]
    assert len(placed.weights) == 2 * len(their)
    assert f"features.{last}.weight" in weights
    assert f"encoder.features.{last - 1}.weight" in placed.weights
    assert set(placed.explained) == {"decoders.", "encoder.conv6.", "encoder.conv7."}
    assert found.notes[0].startswith("not used: classifier")
    assert "renumbered" in found.notes[1]


def test_vgg_of_another_depth_is_refused():
    with torch.device("meta"):
        theirs, model = torchvision.models.vgg19(weights=None), create_model("v1_vgg16_dilated8_c1_bilinear")
    placed = place(recognise(theirs.state_dict(), "w.pth"), model)
    assert not set(placed.weights) <= set(model.state_dict())
