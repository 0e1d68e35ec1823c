"""Runs behind single parts give what whole runs give, execute less, and hold one picture."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from edgeailite.quantization import Plan, set_state, wide_parts
from edgeailite.quantization.modules import QuantConv2d
from edgeailite.quantization.partial import ACTIVATIONS, WEIGHTS, Part, PartialRuns, parts_of, set_bits
from tests.quantization.tiny import WITH_TIES, pixels, quantized, tiny

MODEL = quantized(tiny())
PARTS = parts_of(MODEL)


def whole_run(model: fx.GraphModule, parts: list[Part], image: torch.Tensor) -> dict[str, torch.Tensor]:
    """The oracle: everything switched off but these, all of the network run."""
    set_state(model, enabled=False)
    for part in parts:
        model.get_submodule(part.target).enabled = True
    with torch.no_grad():
        result = model(image)
    set_state(model, enabled=True)
    return result


def test_the_parts_are_all_convolutions_and_ranges():
    weights = [part.name for part in PARTS if part.kind == WEIGHTS]
    assert weights == ["encoder.0.0", "encoder.1.0", "encoder.2.0", "decoders.0", "decoders.1"]
    ranges = {part.name for part in PARTS if part.kind == ACTIVATIONS}
    assert ranges == {name for name, _ in MODEL.ranges.named_children()}


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_partial_run_is_a_whole_run(part):
    runs = PartialRuns(MODEL, [[part]])
    for (image,) in pixels(2, seed=3):
        for name, value in runs.float_pass(image).items():
            assert torch.equal(value, whole_run(MODEL, [], image)[name])
        for name, value in runs.quantized([part]).items():
            assert torch.equal(value, whole_run(MODEL, [part], image)[name])
        assert not any(torch.equal(runs.noisy[name], runs.values[name]) for name in runs.noisy if part.kind == WEIGHTS)


def test_runs_follow_one_another_and_all_parts_are_the_quantized_network():
    subjects = [[part] for part in PARTS] + [list(PARTS)]
    runs = PartialRuns(MODEL, subjects)
    (image,) = pixels(1, seed=4)[0]
    runs.float_pass(image)
    for parts in subjects * 2:
        for name, value in runs.quantized(parts).items():
            assert torch.equal(value, whole_run(MODEL, parts, image)[name])
    assert torch.equal(runs.quantized(list(PARTS))["depth"], MODEL(image)["depth"].detach())


def test_only_what_lies_behind_is_executed():
    last = next(part for part in PARTS if part.name == "decoders.1")
    runs = PartialRuns(MODEL, [[part] for part in PARTS])
    runs.float_pass(*pixels(1)[0])
    runs.quantized([last])
    assert runs.executed == 3  # the convolution, its quantizer, the resize
    assert set(runs.noisy) == {"ranges_decoders_1"}
    for part in PARTS:
        runs.quantized([part])
    assert runs.executed - 3 < 0.7 * runs.nodes * len(PARTS)


def test_memory_is_that_of_one_picture():
    runs, kept = PartialRuns(MODEL, [[part] for part in PARTS]), set()
    for images in pixels(4):
        runs.float_pass(*images)
        kept.add(runs.kept_bytes)
    assert len(kept) == 1
    assert kept.pop() < 40 * pixels(1)[0][0].nbytes


def test_the_network_that_is_analysed_stays_as_it_is():
    before = {name: value.clone() for name, value in MODEL.state_dict().items()}
    runs = PartialRuns(MODEL, [PARTS])
    runs.set_bits(Plan(weights={"encoder.0.0": 4}))
    runs.float_pass(*pixels(1)[0])
    assert all(torch.equal(before[name], value) for name, value in MODEL.state_dict().items())
    assert all(module.inplace for module in MODEL.modules() if isinstance(module, torch.nn.ReLU6))


@pytest.mark.parametrize("scheme", WITH_TIES)
def test_bits_set_afterwards_are_those_of_a_network_prepared_with_them(scheme):
    plan = Plan(weights={"encoder.1.0": 16, "encoder.2.0": 16, "decoders.0": 4}, activations={"encoder_0_2": 16})
    (image,) = pixels(1, seed=5)[0]
    expected, changed = quantized(tiny(), scheme, plan), quantized(tiny(), scheme)
    plain = changed(image)["segmentation"]
    set_bits(changed, plan)
    assert wide_parts(changed)
    integer = [
        {name: module.integer for name, module in model.named_modules() if isinstance(module, QuantConv2d)}
        for model in (changed, expected)
    ]
    assert integer[0] == integer[1]
    assert not all(integer[0].values())
    assert torch.equal(changed(image)["segmentation"], expected(image)["segmentation"])
    set_bits(changed, Plan())
    assert torch.equal(changed(image)["segmentation"], plain)
