"""Every row of the table against formulations of its rules that share no code with it, and against onnxruntime here."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from edgeailite.environment import machine_arithmetic
from edgeailite.errors import UsageError
from edgeailite.quantization import arithmetic, convert, integer_exact
from edgeailite.quantization.arithmetic import ARITHMETICS, ONNXRUNTIME_ROWS, arithmetic_of, fixed_point_multipliers
from edgeailite.quantization.integer import Codes, IntegerExact, resize_bilinear
from tests.export.toy import image, toy_quantized
from tests.quantization.test_integer import MICROSOFT, added, codes_of, kernel, quantize, run_exact, scalars

Array = NDArray[Any]
ALL_CODES = np.arange(256, dtype=np.uint8)
ALL_PAIRS = [part[None, None] for part in np.meshgrid(ALL_CODES, ALL_CODES, indexing="ij")]
ROWS = [row for row in ARITHMETICS.values() if not row.lowered]


def ends(seed: int) -> list[Any]:
    """Quantizers of two inputs and their sum; of the second half of the seeds all scales are powers of two."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.01, 0.04, 3) if seed < 6 else 2.0 ** rng.integers(-7, -3, 3)
    scales[2] = max(scales[2], scales[:2].max() * rng.uniform(0.8, 1.6) if seed < 6 else scales[:2].max())
    return [quantize(scale, int(zero)) for scale, zero in zip(scales, rng.integers(0, 256, 3), strict=True)]


def numbers(quantizers: list[Any]) -> tuple[list[np.float32], list[int]]:
    return [quantizer.scale.numpy()[()] for quantizer in quantizers], [int(q.zero_point) for q in quantizers]


def wide_rounded(value: Array) -> Array:
    """80-bit numbers of the processor, rounded once to float32."""
    return value.astype(np.float32)


def fused_sums(a: Array, b: Array, quantizers: list[Any]) -> Array:
    (sa, sb, sy), (za, zb, zy) = numbers(quantizers)
    ra, rb = (np.longdouble(np.float32(s / sy)) for s in (sa, sb))
    fixed = np.float32(zy) - wide_rounded(np.array(ra * za + np.longdouble(np.float32(rb) * np.float32(zb))))
    inner = wide_rounded(b.astype(np.longdouble) * rb + np.longdouble(fixed))
    return np.rint(wide_rounded(a.astype(np.longdouble) * ra + inner.astype(np.longdouble)))


def unfused_sums(a: Array, b: Array, quantizers: list[Any]) -> Array:
    (sa, sb, sy), (za, zb, zy) = numbers(quantizers)
    ra, rb = np.float32(sa / sy), np.float32(sb / sy)
    fixed = np.float32(zy) - (ra * np.float32(za) + rb * np.float32(zb))
    sums = (fixed + a.astype(np.float32) * ra) + b.astype(np.float32) * rb
    assert sums.dtype == np.float32
    return np.rint(sums)


def fixed_point_sums(a: Array, b: Array, quantizers: list[Any]) -> Array:
    (sa, sb, sy), (za, zb, zy) = numbers(quantizers)
    ratios = [Fraction(float(np.float32(s / sy))) for s in (sa, sb)]
    shift = 0
    while max(ratios) * 2**shift < 2**21:
        shift += 1
    ma, mb = (round(ratio * 2**shift) for ratio in ratios)
    total = (a.astype(np.int64) - za) * ma + (b.astype(np.int64) - zb) * mb
    return np.sign(total) * ((abs(total) * 2 + 2**shift) // 2 ** (shift + 1)) + zy  # halves away from zero


ORACLES = {
    "onnxruntime_x86": fused_sums, "onnxruntime_sse2": unfused_sums, "onnxruntime_arm64": fixed_point_sums,
}  # fmt: skip


def sums_of(name: str, quantizers: list[Any]) -> Array:
    """Codes of the sums of all pairs, as `IntegerExact` has them."""
    given = [codes_of(value, end) for value, end in zip(ALL_PAIRS, quantizers, strict=False)]
    return run_exact(added, {"end": quantizers[2]}, *given, arithmetic=name).codes.numpy()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ORACLES)
def test_all_pairs_of_codes_are_added_by_the_rule(name, seed):
    quantizers = ends(seed)
    expected = ORACLES[name](*ALL_PAIRS, quantizers).clip(0, 255)
    np.testing.assert_array_equal(sums_of(name, quantizers), expected)


def test_the_rules_are_different_ones():
    """Fixed point and float differ in a quarter of the sums where all scales are powers of two, rarely elsewhere."""
    halves = [quantize(scale, 10) for scale in (0.25, 0.25, 0.5)]
    fused, arm = sums_of("onnxruntime_x86", halves), sums_of("onnxruntime_arm64", halves)
    assert 0.1 < (fused != arm).mean() < 0.5
    assert np.abs(fused - arm).max() == 1
    assert (fused == sums_of("onnxruntime_sse2", halves)).all()
    counts = dict.fromkeys(("onnxruntime_sse2", "onnxruntime_arm64"), 0)
    for seed in range(300, 360):
        rng = np.random.default_rng(seed)
        quantizers = [quantize(scale, int(zero)) for scale, zero in zip(rng.uniform(0.01, 0.04, 3), (7, 90, 60))]
        x86 = sums_of("onnxruntime_x86", quantizers)
        for name in counts:
            counts[name] += int((x86 != sums_of(name, quantizers)).sum())
    assert all(0 < count < 600 for count in counts.values()), counts


@pytest.mark.parametrize("seed", range(10))
def test_onnxruntime_here_adds_by_the_machine_s_row(seed):
    quantizers = ends(seed)
    parts = [ALL_PAIRS[0], *scalars(quantizers[0]), ALL_PAIRS[1], *scalars(quantizers[1]), *scalars(quantizers[2])]
    expected = kernel("QLinearAdd", parts, domain=MICROSOFT, output=TensorProto.UINT8)
    np.testing.assert_array_equal(sums_of(machine_arithmetic(), quantizers), expected)


@pytest.mark.parametrize(
    ("ratios", "found"),
    [
        ((1.0, 1.0), (21, 2**21, 2**21)),
        ((0.5, 0.25), (22, 2**21, 2**20)),
        ((1.5, 2.0**-14), (21, 3 * 2**20, 2**7)),
        ((255.9, 1.0), (14, round(255.9 * 2**14), 2**14)),
        ((1.0, 2.0**-15), None),
        ((256.0, 1.0), None),
        ((np.nextafter(np.float32(2), np.float32(0)), 1.0), None),  # 22 bits are not enough: it is rounded to 2^22
        ((2.0**-12, 2.0**-12), None),  # needs a shift of 33
    ],
)
def test_multipliers_of_22_bits(ratios, found):
    assert fixed_point_multipliers(*map(float, ratios)) == found


def test_ratios_beyond_fixed_point_are_added_in_float():
    quantizers = [quantize(1.0, 3), quantize(2.0**-15, 9), quantize(1.0, 5)]
    values = (ALL_PAIRS[0].astype(np.float32) - 3) + np.float32(2.0**-15) * (ALL_PAIRS[1].astype(np.float32) - 9)
    np.testing.assert_array_equal(sums_of("onnxruntime_arm64", quantizers), np.rint(values + 5).clip(0, 255))


def resized(x: Array, size: tuple[int, int]) -> Array:
    """The fused resize, pixel by pixel in 80-bit numbers."""
    result = np.zeros((*x.shape[:2], *size), np.float32)
    for i, j in np.ndindex(*size):
        (top, bottom, d_top, d_bottom), (left, right, d_left, d_right) = (
            neighbours(index, old, new) for index, old, new in zip((i, j), x.shape[2:], size, strict=True)
        )
        corner = {(r, c): x[:, :, r, c].astype(np.longdouble) for r in (top, bottom) for c in (left, right)}
        weights = [
            np.longdouble(a * b)
            for a, b in ((d_right, d_bottom), (d_left, d_bottom), (d_right, d_top), (d_left, d_top))
        ]
        total = wide_rounded(weights[1] * corner[top, right])
        for weight, place in ((weights[0], (top, left)), (weights[2], (bottom, left)), (weights[3], (bottom, right))):
            total = wide_rounded(weight * corner[place] + total.astype(np.longdouble))
        result[:, :, i, j] = total
    return result


def neighbours(index: int, old: int, new: int) -> tuple[int, int, np.float32, np.float32]:
    one, half = np.float32(1), np.float32(0.5)
    centre = (np.float32(index) + half) / (np.float32(new) / np.float32(old)) - half
    centre = min(max(centre, np.float32(0)), np.float32(old - 1))
    first = min(int(centre), old - 1)
    second = min(first + 1, old - 1)
    if first == second:
        return first, second, half, half
    return first, second, centre - np.float32(first), np.float32(second) * one - centre


@pytest.mark.parametrize("size", [(12, 20), (13, 29), (6, 11), (1, 7)])
def test_a_fused_resize_rounds_once_per_product(size):
    x = np.random.default_rng(0).normal(size=(1, 16, 6, 10)).astype(np.float32)
    got = resize_bilinear(torch.from_numpy(x), size, arithmetic.blend_fused).numpy()
    np.testing.assert_array_equal(got, resized(x, size))
    assert size == (6, 11) or (got != resize_bilinear(torch.from_numpy(x), size).numpy()).any()


@pytest.mark.parametrize("size", [(12, 20), (13, 29), (1, 7)])
def test_onnxruntime_here_resizes_by_the_machine_s_row(size):
    x = np.random.default_rng(0).normal(size=(1, 16, 6, 10)).astype(np.float32)
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    expected = kernel("Resize", [x, None, None, np.array([1, 16, *size])], output=TensorProto.FLOAT, **how)
    got = resize_bilinear(torch.from_numpy(x), size, arithmetic_of().blend).numpy()
    np.testing.assert_array_equal(got, expected)


def test_rows_say_where_their_rules_are_from():
    assert list(ARITHMETICS) == [row.name for row in ARITHMETICS.values()]
    for row in ARITHMETICS.values():
        assert row.about
        assert row.source
        assert f"`{row.name}`" in str(arithmetic.__doc__)
        assert (row.add is None) == (row.blend is None) == row.lowered
    assert set(ORACLES) == set(ONNXRUNTIME_ROWS) == {row.name for row in ROWS}


@pytest.mark.parametrize(
    ("machine", "features", "name"),
    [
        ("aarch64", [], "onnxruntime_arm64"),
        ("arm64", ["asimddp"], "onnxruntime_arm64"),
        ("x86_64", ["sse4_2", "avx2", "avx512f"], "onnxruntime_x86"),
        ("AMD64", [], "onnxruntime_x86"),
        ("x86_64", ["sse4_2"], "onnxruntime_sse2"),
        ("armv7l", ["neon"], "unknown"),
        ("riscv64", [], "unknown"),
        ("i686", ["avx2"], "unknown"),
    ],
)
def test_the_arithmetic_of_a_machine(machine, features, name):
    assert machine_arithmetic(machine, features) == name


def test_unknown_names_and_machines_are_told_the_rows(monkeypatch):
    with pytest.raises(
        UsageError, match=r"arithmetic neon: there is no such row; name one of onnxruntime_x86, .*xnnpack"
    ):
        arithmetic_of("neon")
    monkeypatch.setattr(arithmetic, "machine_arithmetic", lambda: "unknown")
    with pytest.raises(UsageError, match="arithmetic unknown: the kernels of this machine were never compared; name"):
        arithmetic_of()
    assert arithmetic_of("onnxruntime_sse2").name == "onnxruntime_sse2"


@pytest.mark.parametrize("scheme", ["ort_u8s7", "tidl_pow2"])
def test_a_network_is_computed_in_each_row(scheme):
    """By default in the machine's own; x86 and SSE2 agree here, Arm differs in single codes: of resizes, or of ties."""
    model = toy_quantized(scheme, exact_resizes=False)
    outputs = {row.name: integer_exact(model, row.name)(image())["segmentation"] for row in ROWS}
    own = integer_exact(model)(image())["segmentation"]
    assert torch.equal(own, outputs[machine_arithmetic()])
    assert torch.equal(outputs["onnxruntime_x86"], outputs["onnxruntime_sse2"])
    gap = (outputs["onnxruntime_x86"] - outputs["onnxruntime_arm64"]).abs()
    assert 0 < gap.max() < 0.2 * own.std()
    seen: dict[str, Codes] = {}
    IntegerExact(convert(model), lambda node, codes: seen.update({node.name: codes}), "onnxruntime_arm64").run(image())
    assert seen


@pytest.mark.parametrize("scheme", ["ort_u8s8", "ort_u8s7", "ort_u8s8_tensor", "s8s8"])
def test_a_calibrated_network_has_the_same_bits_in_all_rows(scheme):
    """Scales of resizes are exact, additions tie-safe; the size is one at which the inner resize doubles."""
    model = toy_quantized(scheme)
    first, *others = [integer_exact(model, row.name)(image())["segmentation"] for row in ROWS]
    assert all(torch.equal(other, first) for other in others)


def test_lowered_rows_have_no_inner_tensors_of_the_graph():
    with pytest.raises(UsageError, match="arithmetic xnnpack: computes a lowered network"):
        IntegerExact(convert(toy_quantized("ort_u8s7")), arithmetic="xnnpack")
