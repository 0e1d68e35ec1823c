"""Plans under a budget: against a search of all plans on a small network, and what they promise when measured."""

from __future__ import annotations

import itertools

import pytest
import torch

from edgeailite.errors import ParityError, UsageError
from edgeailite.quantization import Plan, scheme_of
from edgeailite.quantization.mixed import (
    NARROW,
    WIDE,
    costs_of,
    narrowing,
    noise_of,
    planned,
    under_cost,
    under_drop,
    widening,
)
from edgeailite.quantization.partial import Part, set_bits
from edgeailite.quantization.sensitivity import sensitivity, single_parts
from tests.quantization.tiny import chain, pixels, quantized

MACS = {f"layers.{index}": 9 * a * b for index, (a, b) in enumerate([(3, 12), (12, 12), (12, 12), (12, 12), (12, 6)])}


@pytest.fixture(scope="module")
def planted():
    """Model, costs, noise by part, and a measure of a plan: 10 times the noise-to-signal ratio of all of it, in %."""
    network, pictures = chain(plant=2), pixels(2, seed=7)
    model = quantized(network)
    found = sensitivity(model, pictures, single_parts(model))
    noise = noise_of(model, {name: effect.outputs for name, effect in found.effects.items()})
    assert scheme_of(model).name == "ort_u8s8"

    def measure(plan: Plan) -> float:
        set_bits(model, plan)
        total = signal = 0.0
        for (image,) in pictures:
            with torch.no_grad():
                exact, got = network(image)["segmentation"], model(image)["segmentation"]
            total, signal = total + (got - exact).square().sum().item(), signal + exact.square().sum().item()
        set_bits(model, Plan())
        return 1000 * total / signal

    return model, costs_of(model, MACS), noise, measure


def test_costs_are_bits_times_macs(planted):
    _, costs, _, _ = planted
    total = sum(MACS.values())
    assert costs.of(Plan()) == 1
    assert costs.of(Plan(weights={"layers.1": 16})) == pytest.approx(1 + MACS["layers.1"] / total)
    assert costs.of(Plan(activations={"image": 16})) == pytest.approx(1 + MACS["layers.0"] / total)
    both = Plan(weights={"layers.2": 4}, activations={"layers_1": 16})  # 4 x 16 = 8 x 8
    assert costs.of(both) == pytest.approx(1)


def test_the_outlier_is_widened_first_and_alone_if_that_is_enough(planted):
    _, costs, noise, measure = planted
    assert widening(costs, noise)[0] == Part("activations", "layers_2")
    before = measure(Plan())
    choice = under_drop(costs, noise, measure, limit=before / 4)
    assert choice.plan == Plan(activations={"layers_2": 16})
    assert choice.drop == measure(choice.plan) <= before / 4
    assert choice.cost == costs.of(choice.plan) > 1


def test_the_plan_is_near_the_cheapest_of_all(planted):
    """All 2^k plans over the parts that make noise, against the greedy one."""
    _, costs, noise, measure = planted
    parts = widening(costs, noise)[:6]
    plans = [planned(chosen, WIDE) for k in range(7) for chosen in itertools.combinations(parts, k)]
    limit = measure(planned(parts[:2], WIDE))
    choice = under_drop(costs, {part: noise[part] for part in parts}, measure, limit=limit)
    best = min(costs.of(plan) for plan in plans if measure(plan) <= limit)
    assert best <= choice.cost <= 1.2 * best


def test_nothing_departs_where_the_drop_is_met(planted):
    _, costs, noise, measure = planted
    choice = under_drop(costs, noise, measure, limit=1e6)
    assert (choice.plan, choice.cost, choice.measured) == (Plan(), 1, 1)


def test_weights_are_narrowed_while_the_drop_is_met(planted):
    model, costs, noise, measure = planted
    weights = {name: parts for name, parts in single_parts(model).items() if name.startswith("weights")}
    four = planned([parts[0] for parts in weights.values()], NARROW)
    found = sensitivity(model, pixels(2, seed=7), weights, plan=four)
    narrow = noise_of(model, {name: effect.outputs for name, effect in found.effects.items()}, kind="weights")
    order = narrowing(costs, narrow)
    limit = measure(planned(order[:2], NARROW)) * 1.001
    choice = under_drop(costs, noise, measure, limit=limit, narrow=narrow)
    assert choice.plan.weights
    assert set(choice.plan.weights.values()) == {NARROW}
    assert choice.cost < 1
    assert choice.drop <= limit
    assert under_drop(costs, noise, measure, limit=1e9, narrow=narrow).plan == four


def test_a_drop_that_16_bits_do_not_meet_is_refused(planted):
    _, costs, noise, _ = planted
    with pytest.raises(ParityError, match=r"--max_drop 0\.2: even with 16 bits .* 3\.50 points"):
        under_drop(costs, noise, lambda plan: 3.5, limit=0.2)


@pytest.mark.parametrize("ratio", [1.0, 1.1, 1.3, 2.0, 4.0])
def test_a_budget_is_kept_and_used(planted, ratio):
    _, costs, noise, measure = planted
    choice = under_cost(costs, noise, measure, ratio=ratio)
    assert choice.cost <= ratio
    left = [part for part in choice.order if part.name not in {**choice.plan.weights, **choice.plan.activations}]
    parts = [part for part in choice.order if part not in left]
    assert all(costs.of(planned([*parts, part], WIDE)) > ratio for part in left)
    assert choice.drop == measure(choice.plan)


def test_a_small_budget_narrows_the_least_harmful_weights_first(planted):
    _, costs, noise, measure = planted
    narrow = {Part("weights", name): 1.0 if name != "layers.3" else 1e-6 for name in MACS}
    choice = under_cost(costs, noise, measure, ratio=0.9, narrow=narrow)
    assert list(choice.plan.weights) == ["layers.3"]
    assert choice.cost <= 0.9
    with pytest.raises(UsageError, match="--weight_bits 4 8 16"):
        under_cost(costs, noise, measure, ratio=0.9)
    with pytest.raises(UsageError, match=r"0\.500 is the least"):
        under_cost(costs, noise, measure, ratio=0.3, narrow=narrow)
