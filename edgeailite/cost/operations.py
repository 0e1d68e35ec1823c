"""The words for operators, and how many element operations each takes.

torch and ONNX call one thing by two names; here is the word for both. Element operations are what is not a MAC: one
addition, multiplication, comparison or rounding each. Moving elements (concatenation, pixel shuffle) takes none.
"""

from __future__ import annotations

CONVOLUTION, TRANSPOSED, LINEAR = "convolution", "transposed_convolution", "linear"
COUNTED = (CONVOLUTION, TRANSPOSED, LINEAR)

TORCH_WORDS = {
    "native_batch_norm": "batch_norm",
    "_native_batch_norm_legit_no_training": "batch_norm",
    "hardtanh": "clip",
    "clamp": "clip",
    "upsample_bilinear2d": "resize",
    "upsample_nearest2d": "resize_nearest",
    "cat": "concat",
    "max_pool2d_with_indices": "max_pool",
    "avg_pool2d": "average_pool",
    "_adaptive_avg_pool2d": "average_pool",
    "mean": "average_pool",
    "_softmax": "softmax",
}
ONNX_WORDS = {
    "BatchNormalization": "batch_norm",
    "Relu": "relu",
    "Clip": "clip",
    "Add": "add",
    "QLinearAdd": "add",
    "Concat": "concat",
    "QLinearConcat": "concat",
    "Resize": "resize",
    "MaxPool": "max_pool",
    "AveragePool": "average_pool",
    "GlobalAveragePool": "average_pool",
    "QLinearGlobalAveragePool": "average_pool",
    "ReduceMean": "average_pool",
    "ReduceSum": "sum",
    "DepthToSpace": "pixel_shuffle",
    "QuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize",
    "ArgMax": "argmax",
    "MatMul": "matmul",
    "LeakyRelu": "leaky_relu",
}
ACTIVATIONS = ("relu", "clip", "leaky_relu", "sigmoid", "hardsigmoid", "hardswish", "silu")

# Element operations per element of the result; what is not named takes one.
PER_OUTPUT = {
    "batch_norm": 2,  # x scale + offset
    "clip": 2,
    "quantize": 2,  # divide, round
    "dequantize": 2,  # subtract, multiply
    "resize": 7,  # between four neighbours: four products, three sums
    "softmax": 3,
    "resize_nearest": 0,
    "concat": 0,
    "copy": 0,
    "clone": 0,
    "pixel_shuffle": 0,
    "transpose": 0,
    "pad": 0,
}
PER_INPUT = ("average_pool", "sum", "argmax")  # every element taken is used once
REQUANTIZED = (*COUNTED, "add", "average_pool")  # integer results that get another scale: multiply, round


def onnx_word(operator: str) -> str:
    """Return the word for an ONNX operator; its own name in lower case if there is none."""
    return ONNX_WORDS.get(operator, operator.lower())


def element_operations(
    operator: str, taken: int, given: int, *, window: int = 1, bias: bool = False, integer: bool = False
) -> int:
    """Count the element operations of an operator from the number of elements that it takes and gives.

    `window` is the area of a pooling's kernel (1: all that it takes), `bias` says whether a layer with MACs adds one.
    """
    requantization = 2 * given if integer and operator in REQUANTIZED else 0
    if operator in COUNTED:
        return given * bias + requantization
    if operator == "max_pool" or (operator == "average_pool" and window > 1):
        return given * window + requantization
    if operator in PER_INPUT:
        return taken + requantization
    return given * PER_OUTPUT.get(operator, 1) + requantization
