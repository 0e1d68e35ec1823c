"""The edgeailite family against the published facts: keys, parameters, GigaMACs, logits. Lists itself from them."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeailite.cost import complexity
from edgeailite.models import ALIASES, MODELS, create_model, list_models
from edgeailite.models.edgeailite import BACKBONES
from tests.golden import golden_model, random_state
from tests.markdown import ROOT

REFERENCE = Path(__file__).parents[1] / "reference"
PUBLISHED = json.loads(gzip.decompress((REFERENCE / "edgeailite_keys.json.gz").read_bytes()))
LAYERS = json.loads(gzip.decompress((REFERENCE / "edgeailite_layers.json.gz").read_bytes()))
COSTS = [row for row in csv.DictReader((REFERENCE / "gmacs.csv").read_text().splitlines()) if row["conv_only_GMACs"]]
GOLDEN = sorted(path.stem.removeprefix("golden_") for path in REFERENCE.glob("golden_*.npz"))


def options(name: str) -> dict[str, Any]:
    """What create_model needs for a reference file: the `extra_*` ones have two inputs, two decoders or 21 classes."""
    if name.endswith("_2in"):
        return {"inputs": 2}
    if name.endswith("_2dec_seg19_depth1"):
        return {"outputs": {"segmentation": 19, "depth": 1}}
    return {"num_classes": PUBLISHED[name]["num_classes"]}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_parameters_equal_the_published_network(name):
    published = PUBLISHED[name]
    with torch.device("meta"):
        model = create_model(published["model"], **options(name))
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == published["keys"]
    assert sum(p.numel() for p in model.parameters()) == published["num_params"]


def layers(model: nn.Module, height: int, width: int) -> list[list[Any]]:
    """[name (convolutions), kind, output shape, geometry (convolutions)] of every layer that is run, sorted."""
    names, rows = {module: name for name, module in model.named_modules()}, []

    def record(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        shape = "x".join(map(str, output.shape[1:]))
        if isinstance(module, nn.Conv2d):
            per_axis = (module.kernel_size, module.stride, module.padding, module.dilation)
            geometry = [*(value[0] for value in per_axis), module.groups]
            rows.append([names[module], "Conv2d", shape, geometry])
        else:
            rows.append(["", type(module).__name__, shape, []])

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU | nn.ReLU6 | nn.MaxPool2d | nn.Dropout2d):
            module.register_forward_hook(record)
    model(torch.empty(1, 3, height, width, device="meta"))
    return sorted(rows)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_of_the_published_network(name):
    with torch.device("meta"):
        model = create_model(name).eval()
    assert layers(model, 256, 512) == LAYERS[name]


def test_all_published_networks_are_there():
    names = {published["model"] for published in PUBLISHED.values()}
    assert len(names) == 24
    assert all(name in MODELS or name in ALIASES for name in names)


@pytest.mark.parametrize("row", COSTS, ids=lambda row: f"{row['model']}-{row['WxH']}-{row['num_classes']}")
def test_parameters_and_giga_macs_equal_the_published_table(row):
    width, height = map(int, row["WxH"].split("x"))
    with torch.device("meta"):
        model = create_model(row["model"], int(row["num_classes"]))
    cost = complexity(model, (height, width))
    assert cost.parameters == int(row["params_total(=torch params)"])
    assert cost.giga_macs == pytest.approx(float(row["conv_only_GMACs"]), abs=5e-5)


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_equal_the_published_network(name):
    golden = np.load(REFERENCE / f"golden_{name}.npz")
    x = torch.from_numpy(random_state("input").standard_normal(size=(1, 3, 256, 512)).astype(np.float32))
    with torch.inference_mode():
        outputs = golden_model(PUBLISHED[name]["model"], **options(name))(x)
    for index, (output, values) in enumerate(outputs.items()):
        suffix = str(index or "")
        mean, std, low, high = golden[f"stats{suffix}"]
        ours = values.numpy()
        assert np.abs(ours[:, :, ::8, ::8] - golden[f"logits{suffix}"]).max() <= 1e-4 * std
        moments = [ours.mean(), ours.std(), ours.min(), ours.max()]
        np.testing.assert_allclose(moments, [mean, std, low, high], rtol=1e-4, atol=1e-4 * std)
        if output == "segmentation":
            assert (ours.argmax(1)[:, None, ::8, ::8] == golden["argmax"]).all()


def test_every_backbone_has_every_decoder_in_both_forms():
    names = set(list_models("*_edgeailite"))
    for backbone in BACKBONES:
        for decoder in ("deeplabv3plus", "fpn_aspp", "unet_aspp"):
            assert {f"{decoder}_{backbone}_edgeailite", f"{decoder}_{backbone}_fd_edgeailite"} <= names


PAGE = (ROOT / "docs/models.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| (`[a-z].*?) \| ([0-9]+@2(?:, [0-9]+@[0-9]+)+) \| ([0-9]+) \| ([0-9]+)[^|]* \|")
NUMBERS = ("twenty", "twenty-one", "twenty-two", "twenty-three", "twenty-four", "twenty-five", "twenty-six")


def backbones_of_page() -> dict[str, tuple[str, int, int]]:
    """Rows of the page: name -> features, decoder width, group width. "`lite0`, `1`" are two names."""
    rows = {}
    for cell, features, width, group in ROW.findall(PAGE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        for name in (first, *(first[: -len(end)] + end for end in others)):
            rows[name] = (features, int(width), int(group))
    return rows


def test_the_page_counts_and_describes_every_backbone():
    assert f"three decoders on {NUMBERS[len(BACKBONES) - 20]} backbones" in PAGE
    rows = {}
    for name, backbone in BACKBONES.items():
        with torch.device("meta"):
            encoder = backbone.encoder()
        features = ", ".join(f"{c}@{s}" for c, s in zip(encoder.channels, encoder.strides, strict=True))
        rows[name] = (features, backbone.width, encoder.group_size)
    assert backbones_of_page() == rows


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("deeplabv3plus_edgeailite_mobilenetv2_tv", "deeplabv3plus_mobilenetv2_tv_edgeailite"),
        ("unet_edgeailite_pixel2pixel_aspp_mobilenetv2_tv", "unet_aspp_mobilenetv2_tv_edgeailite"),
        ("fpn_edgeailite_aspp_regnetx800mf", "fpn_aspp_regnetx800mf_edgeailite"),
        ("fpn_aspp_mobilenetv2_1p4_tv_edgeailite", "fpn_aspp_mobilenetv2_tv_1p4_edgeailite"),
    ],
)
def test_older_spellings(old, name):
    assert ALIASES[old] == name
    with torch.device("meta"):
        assert create_model(old).name == name


def regnetx_head_groups(num_classes: int) -> tuple[int, int]:
    with torch.device("meta"):
        conv = create_model("unet_aspp_regnetx800mf_edgeailite", num_classes).get_submodule("decoders.0.pred.0.0")
    return conv.in_channels, conv.groups


def test_group_width_is_kept_where_it_divides_and_nearly_kept_elsewhere():
    assert regnetx_head_groups(19) == (38, 2)  # published: 38 // 16 groups
    assert regnetx_head_groups(25) == (50, 2)  # 50 // 16 = 3 does not divide: the published code crashes
    for name in list_models("*regnetx1p6gf*"):
        with torch.device("meta"):
            model = create_model(name)
        grouped = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
        widths = {m.in_channels // m.groups for n, m in zip(range(len(grouped)), grouped, strict=True) if n > 0}
        if not name.startswith("unet"):
            assert widths == {24}, name
