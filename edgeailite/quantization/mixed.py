"""Mixed precision under a budget: chooses the parts that get 16 bits (or 4), as a `Plan`.

Cost is bits x MACs: over all convolutions MACs x bits of the weight x bits of the input (van Baalen et al., 2020,
https://arxiv.org/abs/2005.07093, count bit operations so), as a ratio to the network at its scheme's own bits. Parts
are taken greedily by noise at the outputs per cost (from `sensitivity`). The noise of independent parts adds up well
enough to order them. Drops of accuracy do not: a single drop is smaller than the effect of one picture more or less,
and together they can exceed their sum. So drops are never added up: every candidate plan is quantized as a whole and
measured. Bisection finds how many parts to take, assuming that each further part lowers the drop; the plan that is
returned has itself been measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx

from edgeailite.errors import ParityError, UsageError, option
from edgeailite.quantization.graph import is_module
from edgeailite.quantization.modules import QuantConv2d
from edgeailite.quantization.partial import ACTIVATIONS, RANGES, WEIGHTS, Part, parts_of
from edgeailite.quantization.prepare import scheme_of
from edgeailite.quantization.schemes import Plan

WIDE, NARROW = 16, 4
LEAST_COST = 1e-3  # of the whole: what a wide part costs beside multiplications (it leaves the integer kernels)
Noise = Mapping[Part, float]
Measure = Callable[[Plan], float]


@dataclass(frozen=True)
class Costs:
    """MACs of each convolution, and the range that it reads; `own_bits` of weights in the scheme."""

    macs: Mapping[str, int]
    reads: Mapping[str, str]
    own_bits: int

    def of(self, plan: Plan) -> float:
        """Bits x MACs of a plan, as a ratio to no plan."""
        own = sum(8 * self.own_bits * macs for macs in self.macs.values())
        return sum(self._bits(name, plan) * macs for name, macs in self.macs.items()) / own if own else 1.0

    def _bits(self, conv: str, plan: Plan) -> int:
        return plan.weights.get(conv, self.own_bits) * plan.activations.get(self.reads[conv], 8)


@dataclass(frozen=True)
class Choice:
    """A plan, its cost, the drop that was measured with it, and how many plans were measured for it."""

    plan: Plan
    cost: float
    drop: float
    measured: int = 1
    order: tuple[Part, ...] = field(default=())


def costs_of(model: fx.GraphModule, macs: Mapping[str, int]) -> Costs:
    """`macs` by module name, as `edgeailite.cost.layer_macs` counts them."""
    reads = {
        str(node.target): str(node.args[0].target).removeprefix(RANGES)
        for node in model.graph.nodes
        if is_module(node, QuantConv2d)
    }
    return Costs({name: macs.get(name, 0) for name in reads}, reads, scheme_of(model).weight_bits)


def under_drop(costs: Costs, noise: Noise, measure: Measure, *, limit: float, narrow: Noise | None = None) -> Choice:
    """Return the cheapest plan of the greedy order whose measured drop is at most `limit`.

    Parts are widened to 16 bits until it is met. If it is met without, weights are narrowed to 4 bits while it stays
    met, where `narrow` gives the noise of each at 4 bits. Raises ParityError if 16 bits everywhere do not meet it.
    """
    start = measure(Plan())
    if start > limit:
        order = widening(costs, noise)
        count, drop, measured = _least(order, measure, limit=limit)
        plan = planned(order[:count], WIDE)
    else:
        order = narrowing(costs, narrow or {})
        count, drop, measured = _most(order, measure, limit=limit, start=start)
        plan = planned(order[:count], NARROW)
    return Choice(plan, costs.of(plan), drop, measured + 1, tuple(order))


def under_cost(costs: Costs, noise: Noise, measure: Measure, *, ratio: float, narrow: Noise | None = None) -> Choice:
    """Return the plan of the greedy order that costs at most `ratio` of the scheme's own bits.

    Above 1 parts are widened, most noise for its cost first, each that still fits; below 1 weights are narrowed.
    Raises UsageError where the ratio cannot be had.
    """
    if ratio >= 1:
        order, bits = widening(costs, noise), WIDE
        taken: list[Part] = []
        for part in order:
            if costs.of(planned([*taken, part], bits)) <= ratio:
                taken.append(part)
    else:
        order, bits = narrowing(costs, narrow or {}), NARROW
        taken = list(order)
        for count in range(len(order) + 1):
            if costs.of(planned(order[:count], bits)) <= ratio:
                taken = list(order[:count])
                break
    plan = planned(taken, bits)
    if costs.of(plan) > ratio:
        least = f"allow 4-bit weights: {option('weight_bits')} 4 8 16"
        if narrow:
            least = f"{costs.of(plan):.3f} is the least"
        raise UsageError(f"{option('bits_macs_budget')} {ratio:g}: no plan costs that little", value=ratio, fix=least)
    return Choice(plan, costs.of(plan), measure(plan), 1, tuple(order))


def planned(parts: Sequence[Part], bits: int) -> Plan:
    """Make a plan that gives these parts `bits`."""
    by_kind: dict[str, dict[str, int]] = defaultdict(dict)
    for part in parts:
        by_kind[part.kind][part.name] = bits
    return Plan(weights=by_kind[WEIGHTS], activations=by_kind[ACTIVATIONS])


def widening(costs: Costs, noise: Noise) -> list[Part]:
    """Order the parts that cause noise by their noise per cost of 16 bits, largest first."""
    noisy = [part for part, value in noise.items() if value > 0]
    return sorted(noisy, key=lambda part: -noise[part] / _extra(costs, part, WIDE))


def narrowing(costs: Costs, noise: Noise) -> list[Part]:
    """Order the weights that can be narrowed by their noise per saved cost, smallest first."""
    saving = [part for part in noise if part.kind == WEIGHTS and costs.macs.get(part.name, 0) > 0]
    return sorted(saving, key=lambda part: noise[part] / -(costs.of(planned([part], NARROW)) - 1))


def _extra(costs: Costs, part: Part, bits: int) -> float:
    return max(costs.of(planned([part], bits)) - 1, LEAST_COST)


def _least(order: Sequence[Part], measure: Measure, *, limit: float) -> tuple[int, float, int]:
    """The smallest count of widened parts that meets the limit, its drop, and how many plans were measured."""
    low, high = 0, len(order)
    drop, measured = measure(planned(order, WIDE)), 1
    if drop > limit:
        raise ParityError(
            f"{option('max_drop')} {limit:g}: even with 16 bits in every part that makes noise the drop is "
            f"{drop:.2f} points",
            value=limit,
            fix="calibrate on more pictures, train with `edgeailite quantize`, or allow more",
        )
    while high - low > 1:  # `low` fails, `high` meets it
        middle = (low + high) // 2
        found, measured = measure(planned(order[:middle], WIDE)), measured + 1
        if found <= limit:
            high, drop = middle, found
        else:
            low = middle
    return high, drop, measured


def _most(order: Sequence[Part], measure: Measure, *, limit: float, start: float) -> tuple[int, float, int]:
    """The largest count of narrowed parts that still meets the limit, its drop, and how many plans were measured."""
    low, high, drop, measured = 0, len(order) + 1, start, 0
    while high - low > 1:
        middle = (low + high) // 2
        found, measured = measure(planned(order[:middle], NARROW)), measured + 1
        if found <= limit:
            low, drop = middle, found
        else:
            high = middle
    return low, drop, measured


def noise_of(model: fx.GraphModule, effects: Mapping[str, Mapping[str, float]], *, kind: str | None = None) -> Noise:
    """Return each part's noise (of `kind` alone if given), the largest over outputs, by labels of `single_parts`."""
    found = {}
    for part in parts_of(model):
        outputs = effects.get(f"{part.kind}:{part.name}", {})
        if outputs and kind in (None, part.kind):
            found[part] = max(outputs.values())
    return found
