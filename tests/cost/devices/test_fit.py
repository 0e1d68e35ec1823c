"""A planted device is found again from its own times; the solver against an exhaustive one."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from edgeailite.cost.device_fit import blank_profile
from edgeailite.cost.devices import INT8_SUFFIX, Figure, MeasuredNetwork, Profile, estimate, fit
from edgeailite.cost.devices.fit import non_negative_least_squares
from edgeailite.cost.devices.roofline import estimate_layer
from edgeailite.errors import UsageError
from tests.cost.devices.layers import RATES, convolution, device, plain


def network(seed: int, profile: Profile, *, profiled: bool = True, noise: float = 0.0) -> MeasuredNetwork:
    """Random layers of every kind, with the times that a device would give."""
    rng = random.Random(seed)
    layers = []
    for index in range(60):
        wide, side, integer = rng.choice((30, 32, 64, 128, 250, 256)), rng.choice((16, 32, 64)), seed % 2 == 1
        options = {"side": side, "integer": integer}
        layers.append(
            rng.choice(
                (
                    lambda n, w, o: convolution(n, w, 64, **o),
                    lambda n, w, o: convolution(n, w, 64, kernel=3, **o),
                    lambda n, w, o: convolution(n, w, w, kernel=3, groups=w, **o),
                    lambda n, w, o: convolution(n, w, w, kernel=3, groups=2, **o),
                    lambda n, w, o: convolution(n, 3, 32, kernel=3, **o),
                    lambda n, w, o: plain(n, "add", w, **o),
                    lambda n, w, o: plain(n, "resize", w, **o),
                )
            )(f"l{index}", wide, options)
        )
    times = [estimate_layer(layer, profile).milliseconds * np.exp(rng.gauss(0, noise)) for layer in layers]
    return MeasuredNetwork(f"n{seed}", layers, times if profiled else [None] * len(layers), sum(times))


def test_a_planted_device_is_found_again():
    planted = device(bandwidth=20.0, overhead=5.0)
    found = fit([network(seed, planted) for seed in range(8)], blank_profile(8), "test")
    assert found.bandwidth.value == pytest.approx(20.0, rel=1e-3)
    assert found.overhead.value == pytest.approx(5.0, rel=1e-2)
    for element_type, row in RATES.items():
        for kind in ("dense", "pointwise", "grouped", "stem", "resize", "pointwise_unaligned", "resize_unaligned"):
            assert found.rate(element_type, kind) == pytest.approx(row[kind], rel=1e-3), (element_type, kind)
    held_out = network(100, planted)
    assert estimate(held_out.layers, found).milliseconds == pytest.approx(held_out.milliseconds, rel=1e-3)
    assert found.band == pytest.approx((0.9, 1.1))


def test_noise_is_averaged():
    planted = device(bandwidth=20.0)
    found = fit([network(seed, planted, noise=0.3) for seed in range(8)], blank_profile(8), "test")
    held_out = network(101, planted)
    assert estimate(held_out.layers, found).milliseconds == pytest.approx(held_out.milliseconds, rel=0.15)


def test_networks_that_contradict_each_other_widen_the_band():
    """Half of the networks take half as long again for the same layers."""
    planted = device(bandwidth=20.0)
    networks = []
    for seed in range(8):
        factor = 1.5 if seed >= 4 else 1.0
        made = network(seed, planted)
        slower = [factor * ms for ms in made.layer_milliseconds]
        networks.append(replace(made, layer_milliseconds=slower, milliseconds=factor * made.milliseconds))
    low, high = fit(networks, blank_profile(8), "test").band
    assert low < 0.85
    assert high > 1.15


def test_totals_alone_correct_a_wrong_base():
    """The base is twice as slow in all; eight totals move it most of the way."""
    planted = device(bandwidth=20.0)
    base = replace(
        planted,
        rates={t: {k: Figure(f.value / 2, "x") for k, f in row.items()} for t, row in planted.rates.items()},
        bandwidth=Figure(10.0, "x"),
        overhead=Figure(10.0, "x"),
    )
    found = fit([network(seed, planted, profiled=False) for seed in range(8)], base, "test")
    for seed in (100, 101):
        held_out = network(seed, planted)
        before, after = (estimate(held_out.layers, profile).milliseconds for profile in (base, found))
        assert before / held_out.milliseconds == pytest.approx(2.0, rel=0.05)
        assert after / held_out.milliseconds == pytest.approx(1.0, rel=0.1)


def test_on_chip_memory_and_host_of_the_base_are_kept():
    planted = replace(device(bandwidth=2.0, fallback=("resize",)), on_chip_memory=Figure(3e5, "x"))
    planted = replace(planted, on_chip_bandwidth=Figure(20.0, "x"))
    base = replace(planted, bandwidth=Figure(1.0, "x"), on_chip_bandwidth=Figure(10.0, "x"))
    found = fit([network(seed, planted) for seed in range(8)], base, "test")
    assert (found.fallback, found.on_chip_memory.value) == (("resize",), 3e5)
    assert found.bandwidth.value == pytest.approx(2.0, rel=1e-2)
    assert found.on_chip_bandwidth.value == pytest.approx(20.0, rel=1e-2)
    held_out = network(100, planted)
    assert estimate(held_out.layers, found).milliseconds == pytest.approx(held_out.milliseconds, rel=1e-2)


def test_operators_that_never_run_are_fused():
    planted = device()
    networks = [network(seed, planted) for seed in range(4)]
    silent = [
        replace(
            n,
            layer_milliseconds=[
                None if layer.operator == "add" else ms
                for layer, ms in zip(n.layers, n.layer_milliseconds, strict=True)
            ],
        )
        for n in networks
    ]
    assert fit(silent, blank_profile(8), "test").fused == ("float32 add", "int8 add")
    assert fit(networks, blank_profile(8), "test").fused == ()


def test_kinds_that_were_not_seen_say_so():
    layers = [convolution("a", 64, 64), convolution("b", 128, 64)]
    planted = device()
    times = [estimate_layer(layer, planted).milliseconds for layer in layers]
    found = fit([MeasuredNetwork("n", layers, times, sum(times))], blank_profile(8), "test")
    assert found.rates["float32"]["dense"].source == "not measured: as pointwise"
    assert set(found.rates) == {"float32"}
    assert found.band == (0.5, 2.0)


def test_both_files_of_a_network_are_held_out_together():
    """Every network's own pace is half as long again or not, in both of its files: from one the other would be told."""
    planted = device(bandwidth=20.0)
    networks = []
    for seed in range(8):
        made = network(seed, planted)
        factor, name = (1.5 if seed % 4 >= 2 else 1.0), f"n{seed // 2}" + (INT8_SUFFIX if seed % 2 else "")
        slower = [factor * ms for ms in made.layer_milliseconds]
        networks.append(replace(made, name=name, layer_milliseconds=slower, milliseconds=factor * made.milliseconds))
    found = fit(networks, blank_profile(8), "test")
    assert found.band_source == "4 networks, each estimated by a fit of the others"
    without = [n for n in networks if n.network != "n0"]
    ratios = [
        n.milliseconds / estimate(n.layers, fit(without, blank_profile(8), "x")).milliseconds for n in networks[:2]
    ]
    assert found.band[0] <= min(ratios)
    assert found.band[1] >= max(ratios)


def test_a_network_that_is_quicker_than_its_host_is_named():
    base = device(fallback=("resize",))
    layers = [plain("up", "resize", 64)]
    with pytest.raises(UsageError, match=r"n: 0\.001 ms, but the base's figures of the host give 0\.6243 ms"):
        fit([MeasuredNetwork("n", layers, [None], 0.001)], base, "test")


def test_nothing_to_fit():
    with pytest.raises(UsageError, match="no network was measured"):
        fit([], blank_profile(8), "test")


@pytest.mark.parametrize("seed", range(20))
def test_non_negative_least_squares_is_the_best_of_all_supports(seed):
    rng = np.random.default_rng(seed)
    matrix, result = rng.normal(size=(12, 5)), rng.normal(size=12)
    found = non_negative_least_squares(matrix, result)
    assert found.min() >= 0
    best = np.linalg.norm(result)
    for count in range(1, 6):
        for columns in itertools.combinations(range(5), count):
            x = np.linalg.lstsq(matrix[:, columns], result, rcond=None)[0]
            if x.min() >= 0:
                best = min(best, float(np.linalg.norm(matrix[:, columns] @ x - result)))
    assert np.linalg.norm(matrix @ found - result) == pytest.approx(best, abs=1e-9)
