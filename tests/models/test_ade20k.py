"""The ADE20K family against the reference's facts, its goldens. Lists itself from them and from MODELS.

`reference/csail/networks.json.gz`: keys, convolutions, parameters, GigaMACs of CSAIL's networks at 512x512 (`v1_` is
2017, `x_` what it never shipped). The goldens were computed with its code, weights filled from their keys.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from edgeailite.cost import complexity, layer_macs
from edgeailite.models import ALIASES, DEEP_SUPERVISION, MODELS, Pixel2Pixel, create_model, list_models
from edgeailite.models.ade20k import OLDER_DECODERS
from edgeailite.models.decoders.c1 import C1DeepSup
from edgeailite.models.decoders.upernet import UPerNet
from edgeailite.models.encoders.hrnet import hrnetv2

REFERENCE = Path(__file__).parents[1] / "reference" / "csail"
PUBLISHED = json.loads(gzip.decompress((REFERENCE / "networks.json.gz").read_bytes()))
GOLDEN = sorted(path.stem.removeprefix("golden_") for path in REFERENCE.glob("golden_*.npz"))
INPUTS = {"": ((128, 128), (128, 128)), "alt_": ((104, 152), (97, 150))}  # picture, and where `prob` was resized to

ROWS = {name: row for name, row in MODELS.items() if row.family == "ade20k"}
HEAVY = re.compile("101|vgg|hrnet|upernet$")
# an encoder whose deepest feature has these channels, on which a reference decoder can be built
WITH_CHANNELS = {320: "mobilenetv2dilated", 512: "resnet18", 720: "hrnetv2", 2048: "resnet50"}
V1_WITH_CHANNELS = {512: "v1_resnet34", 2048: "v1_resnet50", 4096: "v1_vgg16_dilated8"}


def one_of_each() -> list[str]:
    """The first network with each encoder, and with each decoder."""
    chosen = {row.encoder: name for name, row in reversed(ROWS.items())}
    chosen |= {row.decoder: name for name, row in reversed(ROWS.items())}
    return [name for name in ROWS if name in chosen.values()]


CHOSEN = one_of_each()


def slow_where(heavy: Any, names: Any) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if heavy(name) else name for name in names]


REAL = slow_where(lambda name: name not in CHOSEN or HEAVY.search(name), ROWS)
SHAPES = slow_where(lambda name: name not in CHOSEN, ROWS)


def our_encoder(name: str) -> str:
    """Our name of a reference encoder."""
    return name.removeprefix("x_").replace("_dilated8", "dilated") if name.startswith("x_") else name


def on_meta(name: str, num_classes: int = 150, **options: Any) -> Pixel2Pixel:
    """The network's shapes, without values."""
    with torch.device("meta"):
        return create_model(name, num_classes, **options)


def keys_of(model: nn.Module) -> dict[str, list[int]]:
    state = model.state_dict()
    return {key: list(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}


def convolutions(model: nn.Module) -> list[list[Any]]:
    """Rows as in the reference: name, in, out, kernel, stride, dilation, padding, groups, bias."""
    return [
        [name, m.in_channels, m.out_channels]
        + [size[0] for size in (m.kernel_size, m.stride, m.dilation, m.padding)]
        + [m.groups, int(m.bias is not None)]
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d)
    ]


@pytest.mark.parametrize("name", PUBLISHED["encoders"])
def test_encoder_equals_the_reference(name):
    published = PUBLISHED["encoders"][name]
    decoder = "c1_bilinear" if name.startswith("v1_") else "c1"
    model = on_meta(f"{our_encoder(name)}_{decoder}")
    assert keys_of(model.encoder) == published["keys"]
    assert sorted(convolutions(model.encoder)) == sorted(published["convs"])
    assert sum(p.numel() for p in model.encoder.parameters()) == published["params"]
    assert list(model.encoder.channels) == published["channels"]
    assert list(model.encoder.strides) == published["strides"]
    macs = sum(macs for name, macs in layer_macs(model, (512, 512)) if name.startswith("encoder."))
    assert macs / 1e9 == pytest.approx(published["gmacs_512"], abs=5.01e-4)


@pytest.mark.parametrize("name", PUBLISHED["decoders"])
def test_decoder_equals_the_reference(name):
    published = PUBLISHED["decoders"][name]
    encoder = (V1_WITH_CHANNELS if name.startswith("v1_") else WITH_CHANNELS)[published["fc_dim"]]
    decoder = on_meta(f"{encoder}_{name.removeprefix('v1_').rpartition('_')[0]}").decoders[0]
    assert keys_of(decoder) == published["keys"]
    assert sum(p.numel() for p in decoder.parameters()) == published["params"]
    inference = [p.numel() for key, p in decoder.named_parameters() if "deepsup" not in key]
    assert sum(inference) == published["params_inference"]


@pytest.mark.parametrize("pair", slow_where(HEAVY.search, PUBLISHED["pairs"]))
def test_parameters_and_giga_macs_equal_the_reference(pair):
    published = PUBLISHED["pairs"][pair]
    encoder, decoder = pair.split("+")
    model = on_meta(f"{our_encoder(encoder)}_{decoder.removeprefix('v1_')}")
    cost = complexity(model, (512, 512))
    assert cost.parameters == published["params_train"]
    # the reference added the rounded numbers of encoder and decoder
    assert cost.giga_macs == pytest.approx(published["gmacs_512_inference"], abs=1.01e-3)


def golden_fill(key: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The reference's rule: every tensor from its key, without `encoder.` and `decoders.0.`."""
    state, parts = np.random.RandomState(zlib.crc32(key.encode())), key.split(".")
    if len(shape) == 4:
        return state.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    if parts[-1] == "running_var":
        return state.uniform(0.5, 1.5, shape)
    if parts[-1] == "weight":
        return state.uniform(0.5, 1.0, shape) * (0.4 if parts[-2] in ("bn2", "bn3") or "fuse_layers" in parts else 1)
    return state.standard_normal(shape) * 0.1


def golden_network(name: str, **options: Any) -> Pixel2Pixel:
    """In training mode for the sake of deep supervision, BatchNorm and dropout in eval mode."""
    model = create_model(name, **options)
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            plain = key.removeprefix("encoder.").removeprefix("decoders.0.")
            value.copy_(torch.from_numpy(golden_fill(plain, tuple(value.shape))))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout | nn.Dropout2d):
            module.eval()
    return model


def golden_picture(height: int, width: int) -> torch.Tensor:
    state = np.random.RandomState(20200131)
    coarse = np.kron(state.standard_normal((1, 3, height // 8, width // 8)), np.ones((8, 8)))
    return torch.from_numpy((2 * coarse + 0.5 * state.standard_normal((1, 3, height, width))).astype(np.float32))


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_equal_the_reference(name):
    golden, model = np.load(REFERENCE / f"golden_{name}.npz"), golden_network(name)
    for prefix, (size, target) in INPUTS.items():
        x = golden_picture(*size)
        with torch.inference_mode():
            features, decoded = model.encoder(x), model.decode(x)
        for i, feature in enumerate(features):
            assert feature.shape == tuple(golden[f"{prefix}feat{i}_shape"])
            values = feature.numpy().ravel()[golden[f"{prefix}feat{i}_idx"]]
            np.testing.assert_allclose(values, golden[f"{prefix}feat{i}_val"], rtol=1e-5, atol=1e-4)
        logits = decoded["segmentation"]
        logp = F.log_softmax(logits, 1)[0].numpy()
        assert np.abs(logp[::10] - golden[f"{prefix}logp"]).max() <= 1e-4
        assert (logp.argmax(0) != golden[f"{prefix}logp_argmax"]).sum() <= 2
        prob = F.interpolate(logits, size=target, mode="bilinear", align_corners=False).softmax(1)[0].numpy()
        assert np.abs(prob[::10, ::8, ::8] - golden[f"{prefix}prob"]).max() <= 1e-5
        assert (prob.argmax(0) != golden[f"{prefix}argmax"]).sum() <= 4
        assert ("segmentation" + DEEP_SUPERVISION in decoded) == name.endswith("_deepsup")
        if name.endswith("_deepsup"):
            second = F.log_softmax(decoded["segmentation" + DEEP_SUPERVISION], 1)[0, ::10].numpy()
            assert np.abs(second - golden[f"{prefix}logp_deepsup"]).max() <= 1e-4


@pytest.mark.parametrize("name", REAL)
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    model = create_model(name, 5)
    outputs = model(torch.randn(2, 3, 49, 65))
    expected = {"segmentation"} | ({"segmentation" + DEEP_SUPERVISION} if name.endswith("_deepsup") else set())
    assert set(outputs) == expected
    torch.stack([(y * torch.randn_like(y)).mean() for y in outputs.values()]).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", SHAPES)
def test_odd_sizes_and_two_inputs_in_train_and_eval(name):
    model = on_meta(name, 5, inputs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyramid pooling of one picture: one value per channel
        training = model(*[torch.empty(1, 3, 33, 65, device="meta") for _ in range(2)])
    assert {tuple(y.shape) for y in training.values()} == {(1, 5, 33, 65)}
    assert ("segmentation" + DEEP_SUPERVISION in training) == name.endswith("_deepsup")
    evaluated = model.eval()(*[torch.empty(1, 3, 32, 47, device="meta") for _ in range(2)])
    assert {k: tuple(y.shape) for k, y in evaluated.items()} == {"segmentation": (1, 5, 32, 47)}


@pytest.mark.parametrize("name", SHAPES)
def test_traced_graph_calls_every_module_once(name):
    model = on_meta(name, 5)
    for mode in (True, False):
        nodes = list(torch.fx.symbolic_trace(model.train(mode)).graph.nodes)
        called = [node.target for node in nodes if node.op == "call_module"]
        assert len(called) == len(set(called))
        functions = {node.target.__name__ for node in nodes if node.op == "call_function"}
        assert functions <= {"add", "cat", "interpolate", "getattr", "getitem"}


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize(
    "name", ["mobilenetv2dilated_ppm_deepsup", "resnet18_upernet_lite", "v1_resnet34_psp_bilinear"]
)
def test_traced_graph_gives_the_same(name, mode):
    model = create_model(name, 5).train(mode)
    traced, x = torch.fx.symbolic_trace(model), torch.randn(2, 3, 47, 81)
    with torch.inference_mode():
        torch.manual_seed(1)  # the same channels are dropped
        expected = model(x)
        torch.manual_seed(1)
        torch.testing.assert_close(traced(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("align_corners", [True, False])
def test_align_corners_reaches_inner_and_last_resize(align_corners):
    model = create_model("v1_resnet34_dilated8_psp_bilinear", 5, align_corners=align_corners).eval()
    x = torch.randn(1, 3, 65, 97)
    decoder = model.decoders[0]
    with torch.inference_mode():
        feature = model.encoder(x)[-1]
        levels = [decoder.psp[i](feature) for i in range(4)]
        size, options = feature.shape[-2:], {"mode": "bilinear", "align_corners": align_corners}
        merged = torch.cat([feature, *[F.interpolate(level, size=size, **options) for level in levels]], 1)
        logits = decoder.conv_last(merged)
        out = model(x)["segmentation"]
    torch.testing.assert_close(model.decode(x)["segmentation"], logits)
    torch.testing.assert_close(out, F.interpolate(logits, size=(65, 97), **options))
    corners = (..., [0, 0, -1, -1], [0, -1, 0, -1])
    # both ways keep the corners (half-pixel centres are clamped there), and differ one pixel further
    torch.testing.assert_close(out[corners], logits[corners])
    step = (size[0] - 1) / 64 if align_corners else max(0, 1.5 * size[0] / 65 - 0.5)
    torch.testing.assert_close(out[..., 1, 0], logits[..., 0, 0] + step * (logits[..., 1, 0] - logits[..., 0, 0]))


@pytest.mark.parametrize("name", ["mobilenetv2dilated_ppm_deepsup", "resnet18_upernet_lite"])
def test_align_corners_matters_inside_the_decoder(name):
    x = golden_picture(64, 96)
    with torch.inference_mode():
        one, other = (golden_network(name, align_corners=flag).decode(x)["segmentation"] for flag in (True, False))
    assert (one - other).abs().max() > 1e-3


def test_older_spellings_resolve():
    for name, meant in {
        "resnet50_dilated8_ppm_bilinear_deepsup": "resnet50dilated_ppm_deepsup",
        "resnet50dilated_c1_bilinear_deepsup": "resnet50dilated_c1_deepsup",
        "resnet101_dilated8_ppm_bilinear": "resnet101dilated_ppm",
        "resnext101_dilated8_c1": "resnext101dilated_c1",
        "mobilenetv2_dilated8_c1_deepsup": "mobilenetv2dilated_c1_deepsup",
        "resnet50_dilated16_c1_bilinear": "resnet50_dilated16_c1",
        "resnet50_dilated8_upernet": "resnet50dilated_upernet",
        "hrnetv2_c1_bilinear": "hrnetv2_c1",
    }.items():
        assert ALIASES[name] == meant
    assert on_meta("resnet18_dilated8_ppm_bilinear_deepsup").name == "resnet18dilated_ppm_deepsup"


def test_every_mixed_spelling_resolves_and_shadows_nothing():
    for name, row in ROWS.items():
        if name.startswith(("v1_", "resnet34")):  # ResNet34 of 2017 is another network under the older spelling
            continue
        for encoder in {row.encoder, row.encoder.replace("dilated", "_dilated8").replace("__dilated816", "_dilated16")}:
            for decoder in {row.decoder, OLDER_DECODERS.get(row.decoder, row.decoder)}:
                spelled = f"{encoder}_{decoder}"
                assert ALIASES.get(spelled, spelled) == name
    assert not set(ALIASES) & set(list_models())
    assert not any(name.startswith("v1_") for name, meant in ALIASES.items() if meant in ROWS)


def test_one_feature_is_too_few_for_deep_supervision_and_upernet():
    assert list_models("hrnetv2_*") == ["hrnetv2_c1", "hrnetv2_ppm"]
    encoder = hrnetv2(width=4)
    for decoder in (C1DeepSup, UPerNet):
        with pytest.raises(ValueError, match="two features or more"):
            decoder(5, encoder)


def test_initial_values_are_the_published():
    torch.manual_seed(0)
    model = create_model("resnet18dilated_c1_deepsup")
    state = model.state_dict()
    assert state["encoder.layer3.0.conv2.weight"].std() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)
    assert state["decoders.0.cbr.0.weight"].std() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.01)
    assert (state["decoders.0.cbr_deepsup.1.bias"] == 1e-4).all()
    assert (state["encoder.bn1.weight"] == 1).all()
    assert (state["encoder.bn1.bias"] == 0).all()


def test_clamped_output_starts_inside_its_limits():
    for name in ("mobilenetv2dilated_c1_deepsup", "resnet18_ppm", "v1_resnet34_c1_bilinear"):
        outputs = create_model(name, outputs={"depth": 1}).eval()(torch.randn(1, 3, 64, 64))
        assert all((y > 0).all() and (y < 128).all() for y in outputs.values())
