"""`tidl_pow2` against vectors of TI's xnn.quantize r8.2 (tests/reference/tidl_primitives.json), to the last bit.

The vectors name their inputs by numpy's generator and the CRC-32 of a key; those of the running range were found to be
(i + 1) x `qe<i>`, of 405 values or somewhat more, behind a ReLU where unsigned.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.quantization import constrain_weights, prepare, published_names, set_published_ranges
from edgeailite.quantization.graph import ACTIVATIONS, is_module, is_resize
from edgeailite.quantization.grids import ActivationGrid, WeightGrid
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.schemes import SCHEMES
from edgeailite.quantization.tidl import constrained
from edgeailite.quantization.tidl_ranges import histogram_range, update_rate
from tests.golden import MODEL, golden_model, random_state

REFERENCE = Path(__file__).parents[1] / "reference"
VECTORS = json.loads((REFERENCE / "tidl_primitives.json").read_text())
NETWORKS = (
    MODEL,
    "fpn_aspp_mobilenetv2_tv_edgeailite",
    "unet_aspp_mobilenetv2_tv_edgeailite",
    "fpn_aspp_regnetx800mf_edgeailite",
)
SCHEME = SCHEMES["tidl_pow2"]


def normal(key: str, *shape: int, factor: float = 1.0) -> Tensor:
    return torch.from_numpy((factor * random_state(key).standard_normal(shape)).astype(np.float32))


def first_and_sum(values: Tensor) -> tuple[list[float], float]:
    return values.flatten()[:20].tolist(), values.double().sum().item()


def test_weights():
    vector, grid = VECTORS["weight"], WeightGrid(SCHEME, 8)
    weight = normal("qw", 4, 3, 3, 3, factor=0.3)
    scale = grid.scale(weight)
    assert scale.tolist() == [1 / vector["scale"]] * 4
    values = grid.codes(weight, scale) * scale.view(-1, 1, 1, 1)
    assert first_and_sum(values) == (vector["first20"], vector["sum"])


@pytest.mark.parametrize("signed", [True, False])
def test_activations(signed):
    vector = VECTORS[f"act_signed_{signed}"]
    quantizer = ActivationQuantizer(ActivationGrid(SCHEME), [not signed], percentile=100.0)
    quantizer.set_range(-vector["clip"] if signed else 0.0, vector["clip"])
    assert quantizer.scale.item() == 1 / vector["scale"]
    assert first_and_sum(quantizer(normal("qa", 2, 5, 7, 9, factor=3), 0)) == (vector["first20"], vector["sum"])


@pytest.mark.parametrize(("name", "cut"), [("range_shrink_0p01", 0.01), ("range_shrink_1p0", 1.0)])
def test_the_ends_of_the_histogram_are_cut(name, cut):
    low, high = histogram_range(normal("qh", 1000), cut)
    assert (low.item(), high.item()) == (VECTORS[name]["shrunk_min"], VECTORS[name]["shrunk_max"])


def test_a_constant_has_a_range_of_nothing():
    assert [end.item() for end in histogram_range(torch.full((2, 3, 8, 8), 1.5))] == [1.5, 1.5]


def test_a_large_tensor_is_thinned_out():
    x = normal("large", 1, 8, 600, 600)
    low, high = histogram_range(x)
    assert x.min() < low < -3
    assert 3 < high < x.max()


@pytest.mark.parametrize("signed", [None, False])
def test_ranges_follow_the_batches(signed):
    quantizer = ActivationQuantizer(ActivationGrid(SCHEME), [signed is False], percentile=50.0)
    for index, step in enumerate(VECTORS[f"pact_ema_signed_{signed}"]):
        batch = normal(f"qe{index}", 405) * (index + 1)
        quantizer.observe(batch if signed is None else batch.relu(), 0)
        assert [quantizer.low.item(), quantizer.high.item()] == step["clips_act"]
        assert quantizer.count.item() - 1 == step["nbt"]
        low, high = step["used"]
        codes = 256 if low == 0 else 128
        assert quantizer.scale.item() * codes == high


def test_the_rate_of_updates_ends_at_a_thousandth():
    assert [update_rate(n) for n in (1, 2, 3, 4, 5000)] == [1, 1, 1 / 2, 1 / 3, 0.001]


def test_outliers_of_weights_are_clamped():
    vector, weight = VECTORS["constrain_weight"], normal("qc", 64, 1, 3, 3)
    weight[0, 0, 0, 0] = 40
    assert weight.abs().median().item() == vector["median_abs"]
    result = constrained(weight)
    assert result.max().item() == vector["max_after"]
    assert torch.equal(result.flatten()[1:], weight.flatten()[1:])
    ordinary = normal("qc", 64, 1, 3, 3)
    assert constrained(ordinary) is ordinary


def test_outliers_are_clamped_in_the_folded_weight_and_nothing_else_moves():
    network = golden_model()
    name = "encoder.features.1.conv.0.0"
    network.get_submodule(name).weight.data[3, 0, 1, 1] = 1000.0
    model = prepare(network, "tidl_pow2")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert constrain_weights(model) == [name]
    moved = {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
    assert moved == {f"{name}.weight"}
    norm = network.get_submodule("encoder.features.1.conv.0.1")
    factor = norm.weight[3] * torch.rsqrt(norm.running_var[3] + norm.eps)
    assert (model.get_submodule(name).weight[3, 0, 1, 1] * factor).item() == pytest.approx(15.0, rel=1e-5)


def range_keys(name: str) -> dict[str, bool | None]:
    """Keys of the published modules with a range -> whether they are signed; None: told by their data."""
    with gzip.open(REFERENCE / "tidl_range_keys.json.gz", "rt") as file:
        return dict(json.load(file)[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_ranges_stand_where_the_published_ones_do(name):
    model = prepare(create_model(name, 19), "tidl_pow2")
    names = published_names(model)
    assert sorted(names.values()) == sorted(range_keys(name))
    unsigned = {key for node, key in names.items() if is_module(node.args[0], ACTIVATIONS)}
    assert unsigned == {key for key, signed in range_keys(name).items() if signed is False}
    without = [node for node in model.graph.nodes if is_module(node, ActivationQuantizer) and node not in names]
    assert all(is_resize(node.args[0]) and node.args[1] == -1 for node in without)


def test_published_ranges_give_scales():
    model = prepare(golden_model(), "tidl_pow2")
    ranges = dict.fromkeys(range_keys(MODEL), (-3.0, 5.0, 9))
    ranges["encoder.features.0.2"] = (0.0, 0.7, 9)
    assert set_published_ranges(model, ranges) == ["decoders.0.aspp.cat.activation_q", "decoders.0.cat.activation_q"]
    scales = {name: module.scale.item() for name, module in model.ranges.named_children()}
    assert scales["image"] == 8 / 128
    assert scales["encoder_features_0_2"] == 1 / 256
    assert scales["encoder_features_1_conv_0_2"] == 8 / 256
    assert {int(module.count.min()) for _, module in model.ranges.named_children()} == {10}
    del ranges["encoder.features.0.2"]
    with pytest.raises(DataError, match=r"no range of encoder\.features\.0\.2"):
        set_published_ranges(model, ranges)
