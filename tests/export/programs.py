"""Programs made by hand: small ones, with every operator that a .tflite file of ours may hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeailite.quantization.program import Operator, Program, Value

SIZE = (12, 20)


def scale(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def constant(name: str, values: Any) -> Value:
    data = np.array(values, np.int32)
    return Value(name, data.shape, "int32", data=data)


class Builder:
    """Appends operators to a program; a tensor's scale is its input's unless it is given."""

    def __init__(self, size: tuple[int, int] = SIZE, *, inputs: int = 1) -> None:
        names = ["image", *(f"image{index}" for index in range(1, inputs))]
        self.inputs = [Value(name, (1, *size, 3), scale=scale(1 / 64)) for name in names]
        self.operators: list[Operator] = []
        self.rng = np.random.default_rng(7)

    def add(self, kind: str, inputs: list[Value], name: str, shape: tuple[int, ...], **options: Any) -> Value:
        fields = {key: options.pop(key) for key in ("type", "scale", "zero_point") if key in options}
        same = {"scale": inputs[0].scale, "zero_point": inputs[0].zero_point, "type": inputs[0].type}
        value = Value(name, shape, **{**same, **fields})
        self.operators.append(Operator(kind, inputs, value, options))
        return value

    def convolution(self, x: Value, name: str, out: int, *, groups: int = 1, stride: int = 1, **options: Any) -> Value:
        """A 3x3 convolution with SAME padding; depthwise where every channel is a group."""
        channels, (height, width) = x.shape[3], (-(-side // stride) for side in x.shape[1:3])
        depthwise = groups == channels
        shape, axis = ((1, 3, 3, out), 3) if depthwise else ((out, 3, 3, channels // groups), 0)
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        of_weight = scale(*(0.002 + 0.001 * self.rng.random(out)))
        weight = Value(f"{name}.weight", shape, "int8", of_weight, axis=axis, data=codes)
        assert x.scale is not None
        wide = x.type == "int16"
        numbers = self.rng.integers(-500, 500, out).astype(np.int64 if wide else np.int32)
        bias = Value(f"{name}.bias", (out,), "int64" if wide else "int32", of_weight * x.scale, data=numbers)
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        options = {"stride": (stride, stride), "dilation": (1, 1), "padding": "SAME", **options}
        if depthwise:
            options["depth_multiplier"] = out // channels
        return self.add(kind, [x, weight, bias], name, (1, height, width, out), **options)

    def program(self, **outputs: Value) -> Program:
        return Program(self.inputs, outputs, self.operators)


def every_operator() -> Program:
    """Two inputs, three outputs (codes, values, classes), all operators, and 16 bits in between."""
    make = Builder(inputs=2)
    (image, other), (height, width) = make.inputs, SIZE
    x = make.convolution(image, "stem", 8, activation="RELU", scale=scale(0.05), zero_point=-128)
    beside = make.convolution(other, "beside", 8, activation="RELU6", scale=scale(0.04), zero_point=-128)
    x = make.add("ADD", [x, beside], "sum", x.shape, scale=scale(0.09), zero_point=-128)
    grouped = make.convolution(x, "grouped", 8, groups=2, scale=scale(0.1), zero_point=3)
    pads = constant("pads", [[0, 0], [1, 1], [1, 1], [0, 0]])
    padded = make.add("PAD", [grouped, pads], "padded", (1, height + 2, width + 2, 8))
    pool = {"kernel": (3, 3), "stride": (2, 2), "padding": "VALID"}
    small = make.add("MAX_POOL_2D", [padded], "pooled", (1, height // 2, width // 2, 8), **pool)
    deep = make.convolution(small, "depthwise", 16, groups=8, scale=scale(0.1), zero_point=5)
    part = make.add(
        "SLICE", [deep, constant("begin", [0, 1, 2, 0]), constant("size", [1, 3, 4, 16])], "part", (1, 3, 4, 16)
    )
    part = tables_and_copies(make, part)
    mean = make.add(
        "MEAN", [part, constant("axes", [1, 2])], "mean", (1, 1, 1, 16), keep_dims=True, scale=scale(0.08), zero_point=5
    )
    sides = constant("half", [height // 2, width // 2])
    resize = {"align_corners": False, "half_pixel_centers": True}
    spread = make.add("RESIZE_BILINEAR", [mean, sides], "spread", deep.shape, **resize)
    spread = make.add("QUANTIZE", [spread], "same_scale", deep.shape, scale=deep.scale)
    joined = make.add("CONCATENATION", [deep, spread], "joined", (1, height // 2, width // 2, 32), axis=3)
    whole = constant("whole", [height, width])
    nearest = {"align_corners": False, "half_pixel_centers": False}
    twice = make.add("RESIZE_NEAREST_NEIGHBOR", [joined, whole], "twice", (1, height, width, 32), **nearest)
    mirrored = make.add("MIRROR_PAD", [twice, pads], "mirrored", (1, height + 2, width + 2, 32), mode="SYMMETRIC")
    flat = (1, 1, (height + 2) * (width + 2), 32)
    mirrored = make.add("RESHAPE", [mirrored, constant("flat", flat)], "flattened", flat)
    mirrored = make.add(
        "RESHAPE",
        [mirrored, constant("back", (1, height + 2, width + 2, 32))],
        "unflattened",
        (1, height + 2, width + 2, 32),
    )
    rows = constant("rows", [0, *range(height), height])
    mirrored = make.add("GATHER", [mirrored, rows], "gathered", (1, height + 2, width + 2, 32), axis=1)
    head = make.convolution(mirrored, "head", 5, padding="SAME", scale=scale(0.2), zero_point=-7)
    wide = make.add("QUANTIZE", [head], "wide", head.shape, type="int16", scale=scale(0.001), zero_point=0)
    wide = make.convolution(wide, "wide_head", 5, scale=scale(0.0005), zero_point=0)
    depth = make.add("DEQUANTIZE", [wide], "depth", wide.shape, type="float32", scale=None, zero_point=0)
    labels = make.add(
        "ARG_MAX", [head, constant("axis", [3])], "label", head.shape[:3], type="int32", scale=None, zero_point=0
    )
    return make.program(codes=head, depth=depth, label=labels)


def tables_and_copies(make: Builder, x: Value) -> Value:
    """What operators of other people's networks become, on a tensor (1,3,4,16)."""
    turned = make.add("TRANSPOSE", [x, constant("order", [0, 3, 1, 2])], "turned", (1, 16, 3, 4))
    flat = make.add("RESHAPE", [turned, constant("sides", [1, 3, 4, 16])], "flat", x.shape)
    plain: dict[str, Any] = {"type": "int32", "scale": None, "zero_point": 0}
    numbers = make.add("CAST", [flat], "numbers", x.shape, **plain)
    places = make.add("ADD", [numbers, constant("start", [[[[128]]]])], "places", x.shape, **plain)
    codes = make.rng.integers(-128, 128, 256).astype(np.int8)
    table = Value("table", (256,), "int8", scale(0.03), 4, data=codes)
    found = make.add("GATHER", [table, places], "found", x.shape, axis=0)
    product = make.add("MUL", [found, x], "product", x.shape, scale=scale(0.2), zero_point=-3)
    x = make.add("SUB", [product, x], "difference", x.shape, scale=scale(0.25), zero_point=9)
    wide = make.add("DEPTH_TO_SPACE", [x], "wide_sides", (1, 6, 8, 4), block_size=2)
    back = make.add("SPACE_TO_DEPTH", [wide], "back", x.shape, block_size=2)
    axes = [constant(f"{name}_axes", [3]) for name in ("largest", "smallest")]
    largest = make.add("REDUCE_MAX", [back, axes[0]], "largest", (1, 3, 4, 1), keep_dims=True)
    smallest = make.add("REDUCE_MIN", [back, axes[1]], "smallest", (1, 3, 4, 1), keep_dims=True)
    ends = make.add("ADD", [largest, smallest], "ends", largest.shape, scale=scale(0.5))
    return make.add("ADD", [back, ends], "with_ends", x.shape, scale=scale(0.6))


def pictures(count: int = 1, size: tuple[int, int] = SIZE, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, (1, *size, 3)).astype(np.int8) for _ in range(count)]
