"""Rules of the operators that compute."""

from __future__ import annotations

from math import prod

from edgeailite.onnxfile.call import Call, Rule, RuleResult, Shape, as_text, joined, one


def _same(call: Call) -> RuleResult:
    return one(call.shape(0))


def _twice(call: Call) -> RuleResult:
    """Dropout: the value and its mask."""
    return [call.shape(0), call.shape(0)], prod(call.shape(0))


def _broadcast(call: Call) -> RuleResult:
    shape: Shape = ()
    for other in call.shapes:
        if other is not None:
            shape = joined(shape, other)
    return one(shape)


def _window(call: Call, sides: Shape, kernel: Shape) -> Shape:
    """Return the number of positions that a window takes as it moves over `sides`."""
    strides, dilations, pads = _moves(call, kernel)
    if len(sides) != len(kernel):
        raise ValueError(f"a window of {as_text(kernel)} for {as_text(sides)}")
    auto = call.attribute("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        return tuple(-(-side // step) for side, step in zip(sides, strides, strict=True))
    places = []
    for index, side in enumerate(sides):
        pad = 0 if auto == b"VALID" else pads[index] + pads[index + len(sides)]
        room = side + pad - (kernel[index] - 1) * dilations[index] - 1
        up = call.attribute("ceil_mode", 0) and auto != b"VALID"
        places.append((-(-room // strides[index]) if up else room // strides[index]) + 1)
    return tuple(places)


def same_padding(auto: bytes, side: int, *, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the places before and behind a side that SAME_UPPER or SAME_LOWER adds for a window.

    >>> same_padding(b"SAME_UPPER", 8, kernel=3, stride=2, dilation=1)
    (0, 1)
    """
    total = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
    less, more = total // 2, total - total // 2
    return (more, less) if auto == b"SAME_LOWER" else (less, more)


def _moves(call: Call, kernel: Shape) -> tuple[Shape, Shape, Shape]:
    """Strides, dilations and pads of a window."""
    count = len(kernel)
    strides = tuple(call.attribute("strides", (1,) * count))
    dilations = tuple(call.attribute("dilations", (1,) * count))
    pads = tuple(call.attribute("pads", (0,) * 2 * count))
    if not len(strides) == len(dilations) == count or len(pads) != 2 * count:
        raise ValueError("kernel, strides, dilations and pads of different length")
    if min((*strides, *dilations, *kernel), default=0) < 1 or min(pads) < 0:
        raise ValueError("kernel, strides and dilations are at least 1, pads at least 0")
    return strides, dilations, pads


def _conv(call: Call) -> RuleResult:
    data, weight = call.shape(0), call.shape(1)
    kernel = weight[2:]
    if tuple(call.attribute("kernel_shape", kernel)) != kernel or len(data) != len(weight):
        raise ValueError(f"a kernel of {as_text(weight)} for {as_text(data)}")
    if data[1] != weight[1] * call.attribute("group", 1):
        raise ValueError(f"{data[1]} channels for a kernel of {as_text(weight)}")
    shape = (data[0], weight[0], *_window(call, data[2:], kernel))
    return one(shape, prod(shape) * prod(weight[1:]))


def _conv_transpose(call: Call) -> RuleResult:
    data, weight = call.shape(0), call.shape(1)
    kernel = weight[2:]
    if tuple(call.attribute("kernel_shape", kernel)) != kernel or len(data) != len(weight) or data[1] != weight[0]:
        raise ValueError(f"a kernel of {as_text(weight)} for {as_text(data)}")
    strides, dilations, pads = _moves(call, kernel)
    more = tuple(call.attribute("output_padding", (0,) * len(kernel)))
    count = len(kernel)
    sides = tuple(call.attribute("output_shape", ())) or tuple(
        strides[i] * (data[2 + i] - 1) + more[i] + (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[i + count]
        for i in range(count)
    )
    shape = (data[0], weight[1] * call.attribute("group", 1), *sides)
    return one(shape, prod(data) * prod(weight[1:]) + prod(shape))


def _pool(call: Call) -> RuleResult:
    data, kernel = call.shape(0), tuple(call.node.attributes["kernel_shape"])
    shape = (*data[:2], *_window(call, data[2:], kernel))
    return [shape, shape], prod(shape) * prod(kernel)


def _unpool(call: Call) -> RuleResult:
    data, kernel = call.shape(0), tuple(call.node.attributes["kernel_shape"])
    strides, _, pads = _moves(call, kernel)
    given = call.numbers(2, "output_shape")
    if call.shape(1) != data or len(data) != 2 + len(kernel):
        raise ValueError(f"places of {as_text(call.shape(1))} for values of {as_text(data)}")
    sides = tuple(
        step * (side - 1) + width - sum(pads[axis :: len(kernel)])
        for axis, (side, step, width) in enumerate(zip(data[2:], strides, kernel, strict=True))
    )
    shape = tuple(given) if given is not None else (*data[:2], *sides)
    if len(shape) != len(data) or min(shape) < 1:
        raise ValueError(f"a result of {as_text(shape)}")
    return one(shape, prod(shape))


def _global_pool(call: Call) -> RuleResult:
    data = call.shape(0)
    return one((*data[:2], *(1 for _ in data[2:])), prod(data))


def _matmul(call: Call) -> RuleResult:
    a, b = call.shape(0), call.shape(1)
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise ValueError(f"{as_text(a)} times {as_text(b)}")
    shape = (*joined(a[:-2], b[:-2]), a[-2], b[-1])
    return one(shape, prod(shape) * a[-1])


def _gemm(call: Call) -> RuleResult:
    a = call.shape(0)[::-1] if call.attribute("transA", 0) else call.shape(0)
    b = call.shape(1)[::-1] if call.attribute("transB", 0) else call.shape(1)
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        raise ValueError(f"{as_text(a)} times {as_text(b)}")
    return one((a[0], b[1]), a[0] * b[1] * a[1])


def _resize(call: Call) -> RuleResult:
    """Opset 11 and newer: data, roi, scales, sizes."""
    data = call.shape(0)
    if call.attribute("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise ValueError("keep_aspect_ratio_policy is not stretch")
    axes = [axis % len(data) for axis in call.attribute("axes", range(len(data)))]
    shape = list(data)
    sizes = call.numbers(3, "sizes")
    if sizes:
        for axis, side in zip(axes, sizes, strict=True):
            shape[axis] = side
    else:
        scales = call.values[2]
        if scales is None:
            raise ValueError("its scales cannot be known before it runs")
        for axis, factor in zip(axes, scales.astype(float).tolist(), strict=True):
            shape[axis] = int(data[axis] * factor)
    return one(tuple(shape), 8 * max(prod(shape), prod(data)))


ALIKE = (
    "Abs", "BatchNormalization", "Cast", "CastLike", "Ceil", "Clip", "DequantizeLinear", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Not", "QuantizeLinear", "Reciprocal",
    "Relu", "Round", "Sigmoid", "Sign", "Softmax", "Softplus", "Sqrt", "Swish", "Tanh",
)  # results have the shape of the first input  # fmt: skip
BROADCAST = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod",
    "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
LAYERS: dict[str, Rule] = {
    **dict.fromkeys(ALIKE, _same),
    **dict.fromkeys(BROADCAST, _broadcast),
    "AveragePool": _pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Dropout": _twice,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "MaxUnpool": _unpool,
    "Resize": _resize,
}
