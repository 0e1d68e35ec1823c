"""What is read from an ONNX file computes what onnxruntime computes, in the normal form."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from edgeailite.errors import EdgeailiteError, UsageError
from edgeailite.foreign.read_onnx import EVEN, ODD, read_onnx
from tests.foreign.onnx_models import SIZES, compare, kinds, model, numbers, weights

CONV = ("Conv", "image w b", "c", {"pads": [1, 1, 1, 1]})
PARTS = {"w": weights(8, 3, 3, 3), "b": weights(8)}
ROOT_HALF, SIX, THREE, HALF, ONE = (np.float32(v) for v in (0.5**0.5, 6, 3, 0.5, 1))
TO_LAST, TO_FIRST = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
NORM = {"g": weights(8) + 1, "o": weights(8), "m": weights(8), "v": weights(8) ** 2 + 0.1}


def up(mode, coordinates, scale=2.0, nearest="floor"):
    more = {"nearest_mode": nearest} if mode == "nearest" else {}
    return ("Resize", "c  s", "y", {"mode": mode, "coordinate_transformation_mode": coordinates, **more}), {
        "s": np.array([1, 1, scale, scale], np.float32)
    }


def resize(*args, **options):
    node, constants = up(*args, **options)
    kind, _, results, attributes = node
    return [(kind, "c none s", results, attributes)], constants | {"none": np.zeros(0, np.float32)}


# name -> (nodes after a convolution that makes `c`, constants, what the network then calls)
CASES = {
    "clip6": ([("Clip", "c lo hi", "y", {})], {"lo": np.float32(0), "hi": SIX}, ["Conv2d", "ReLU6"]),
    "clip": ([("Clip", "c lo hi", "y", {})], {"lo": np.float32(-1), "hi": ONE}, ["Conv2d", "Hardtanh"]),
    "max0": ([("Max", "c lo", "y", {})], {"lo": np.float32(0)}, ["Conv2d", "ReLU"]),
    "norm": ([("BatchNormalization", "c g o m v", "y", {})], NORM, ["Conv2d", "BatchNorm2d"]),
    "norm alone": (
        [("Relu", "c", "r", {}), ("BatchNormalization", "r g o m v", "y", {"epsilon": 1e-3})],
        NORM,
        ["Conv2d", "ReLU", "Conv2d"],
    ),
    "norm beside another reader": (
        [("BatchNormalization", "c g o m v", "n", {}), ("Add", "n c", "y", {})],
        NORM,
        ["Conv2d", "Conv2d", "add"],
    ),
    "silu": ([("Sigmoid", "c", "s", {}), ("Mul", "s c", "y", {})], {}, ["Conv2d", "SiLU"]),
    "twice a silu": (
        [("Mul", "c two", "d", {}), ("Sigmoid", "c", "s", {}), ("Mul", "d s", "y", {})],
        {"two": np.float32(2)},
        None,
    ),
    "nearly a mish": (
        [("Relu", "c", "r", {}), ("Softplus", "r", "s", {}), ("Tanh", "s", "t", {}), ("Mul", "c t", "y", {})],
        {},
        ["Conv2d", "ReLU", "Softplus", "Tanh", "mul"],
    ),
    "neutral": (
        [("Relu", "c", "r", {}), ("Mul", "r one", "p", {}), ("Add", "zero p", "q", {}), ("Sub", "q zero", "y", {})],
        {"one": ONE, "zero": np.float32(0)},
        ["Conv2d", "ReLU"],
    ),
    "nought minus": ([("Relu", "c", "r", {}), ("Sub", "zero r", "y", {})], {"zero": np.float32(0)}, None),
    "mish": (
        [("Softplus", "c", "s", {}), ("Tanh", "s", "t", {}), ("Mul", "c t", "y", {})],
        {},
        ["Conv2d", "Mish"],
    ),
    "hard-swish": ([("HardSwish", "c", "y", {})], {}, ["Conv2d", "Hardswish"]),
    "hard-swish of hard-sigmoid": (
        [("HardSigmoid", "c", "s", {"alpha": 1 / 6}), ("Mul", "c s", "y", {})],
        {},
        ["Conv2d", "Hardswish"],
    ),
    "hard-swish by parts": (
        [
            ("Add", "c three", "a", {}),
            ("Clip", "a zero six", "k", {}),
            ("Mul", "c k", "p", {}),
            ("Div", "p six", "y", {}),
        ],
        {"zero": np.float32(0), "three": THREE, "six": SIX},
        ["Conv2d", "Hardswish"],
    ),
    "hard-swish by parts, in another order": (
        [
            ("Add", "three c", "a", {}),
            ("Clip", "a zero six", "k", {}),
            ("Div", "k six", "d", {}),
            ("Mul", "d c", "y", {}),
        ],
        {"zero": np.float32(0), "three": THREE, "six": SIX},
        ["Conv2d", "Hardswish"],
    ),
    "hard-sigmoid of Keras": (
        [("Relu", "c", "r", {}), ("HardSigmoid", "r", "y", {})],
        {},
        ["Conv2d", "ReLU", "mul", "add", "Hardtanh"],
    ),
    "hard-sigmoid that is moved": (
        [("HardSigmoid", "c", "y", {"alpha": 1 / 6, "beta": 0.3})],
        {},
        ["Conv2d", "Hardtanh"],
    ),
    "gelu by parts": (
        [
            ("Mul", "c root", "k", {}),
            ("Erf", "k", "e", {}),
            ("Add", "e one", "f", {}),
            ("Mul", "c f", "p", {}),
            ("Mul", "p half", "y", {}),
        ],
        {"root": ROOT_HALF, "one": ONE, "half": HALF},
        ["Conv2d", "GELU"],
    ),
    "gelu by parts, divided": (
        [
            ("Div", "c root", "k", {}),
            ("Erf", "k", "e", {}),
            ("Add", "e one", "f", {}),
            ("Mul", "c half", "p", {}),
            ("Mul", "p f", "y", {}),
        ],
        {"root": np.float32(2**0.5), "one": ONE, "half": HALF},
        ["Conv2d", "GELU"],
    ),
    "leaky": ([("LeakyRelu", "c", "y", {"alpha": 0.1})], {}, ["Conv2d", "LeakyReLU"]),
    "prelu": ([("PRelu", "c s", "y", {})], {"s": weights(8, 1, 1)}, ["Conv2d", "PReLU"]),
    "elu": ([("Elu", "c", "y", {"alpha": 0.7})], {}, ["Conv2d", "ELU"]),
    "transposed 2 2": (
        [("ConvTranspose", "c u", "y", {"strides": [2, 2]})],
        {"u": weights(8, 5, 2, 2)},
        ["Conv2d", "Conv2d", "PixelShuffle"],
    ),
    "transposed 3 2 1 1": (
        [("ConvTranspose", "c u k", "y", {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]})],
        {"u": weights(8, 5, 3, 3), "k": weights(5)},
        ["Conv2d", "pad", "Conv2d", "PixelShuffle"],
    ),
    "transposed 4 2 1": (
        [("ConvTranspose", "c u", "y", {"strides": [2, 2], "pads": [1] * 4})],
        {"u": weights(8, 5, 4, 4)},
        ["Conv2d", "Conv2d", "PixelShuffle"],
    ),
    "transposed 3 2, cut": (
        [("ConvTranspose", "c u", "y", {"strides": [2, 2]})],
        {"u": weights(8, 5, 3, 3)},
        None,
    ),
    "transposed 3x2 2, cut": (
        [("ConvTranspose", "c u", "y", {"strides": [2, 2]})],
        {"u": weights(8, 5, 3, 2)},
        None,
    ),
    "transposed 5 3 in groups, dilated": (
        [("ConvTranspose", "c u", "y", {"strides": [3, 3], "pads": [2, 1, 1, 2], "group": 4, "dilations": [2, 1]})],
        {"u": weights(8, 2, 3, 5)},
        None,
    ),
    "transposed 3 1": (
        [("ConvTranspose", "c u", "y", {"pads": [1] * 4})],
        {"u": weights(8, 5, 3, 3)},
        ["Conv2d", "Conv2d"],
    ),
    "transposed, then norm and ReLU": (
        [
            ("ConvTranspose", "c u", "t", {"strides": [2, 2]}),
            ("BatchNormalization", "t g o m v", "n", {}),
            ("Relu", "n", "y", {}),
        ],
        {"u": weights(8, 8, 2, 2), **NORM},
        ["Conv2d", "Conv2d", "BatchNorm2d", "ReLU", "PixelShuffle"],
    ),
    "uneven padding": (
        [("Conv", "c u", "y", {"strides": [2, 2], "pads": [0, 0, 1, 1]})],
        {"u": weights(4, 8, 3, 3)},
        ["Conv2d", "pad", "Conv2d"],
    ),
    "SAME": (
        [("Conv", "c u", "y", {"auto_pad": "SAME_UPPER"})],
        {"u": weights(4, 8, 3, 3)},
        ["Conv2d", "Conv2d"],
    ),
    "SAME of an even kernel": (
        [("Conv", "c u", "y", {"auto_pad": "SAME_UPPER"})],
        {"u": weights(4, 8, 2, 4)},
        ["Conv2d", "pad", "Conv2d"],
    ),
    "pad": (
        [("Pad", "c p", "y", {})],
        {"p": numbers(0, 0, 1, 2, 0, 0, 3, 0)},
        ["Conv2d", "pad"],
    ),
    "pad by less than nothing": (
        [("Pad", "c p", "y", {})],
        {"p": numbers(0, 0, -1, 2, 0, 0, 3, -4)},
        ["Conv2d", "pad"],
    ),
    "pad to a tensor's size": (
        [
            ("MaxPool", "c", "d", {"kernel_shape": [4, 4], "strides": [4, 4]}),
            ("ConvTranspose", "d u", "e", {"strides": [4, 4]}),
            *[("Shape", f"{name}", f"{name}s", {"start": 2}) for name in "ce"],
            ("Sub", "cs es", "t", {}),
            ("Div", "t two", "half", {}),
            ("Sub", "t half", "rest", {}),
            ("Concat", "half rest", "p", {"axis": 0}),
            ("Pad", "e p none a", "f", {}),
            ("Concat", "f c", "y", {"axis": 1}),
        ],
        {"u": weights(8, 8, 4, 4), "two": numbers(2), "none": np.float32(0), "a": numbers(2, 3)},
        None,
    ),
    "max pool up": (
        [("MaxPool", "c", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})],
        {},
        ["Conv2d", "MaxPool2d"],
    ),
    "max pool, uneven, of values from 0": (
        [
            ("Relu", "c", "r", {}),
            ("MaxPool", "r", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
        ],
        {},
        ["Conv2d", "ReLU", "pad", "MaxPool2d"],
    ),
    "average pool": (
        [("AveragePool", "c", "y", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4})],
        {},
        ["Conv2d", "AvgPool2d"],
    ),
    "average pool with its border": (
        [("AveragePool", "c", "y", {"kernel_shape": [3, 3], "pads": [0, 1, 1, 1], "count_include_pad": 1})],
        {},
        ["Conv2d", "pad", "AvgPool2d"],
    ),
    "mean of the picture": (
        [("ReduceMean", "c a", "y", {"keepdims": 1})],
        {"a": numbers(-1, 2)},
        ["Conv2d", "AdaptiveAvgPool2d"],
    ),
    "mean, flat, linear": (
        [("ReduceMean", "c a", "p", {"keepdims": 0}), ("Gemm", "p f k", "y", {"transB": 1})],
        {"a": numbers(2, 3), "f": weights(5, 8), "k": weights(5)},
        ["Conv2d", "AdaptiveAvgPool2d", "flatten", "Linear"],
    ),
    "linear layer with factors": (
        [
            ("GlobalAveragePool", "c", "p", {}),
            ("Flatten", "p", "q", {}),
            ("Gemm", "q f k", "y", {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ],
        {"f": weights(5, 8), "k": weights(5)},
        ["Conv2d", "AdaptiveAvgPool2d", "flatten", "Linear"],
    ),
    "pool, reshape, matrix product and bias": (
        [
            ("GlobalAveragePool", "c", "p", {}),
            ("Shape", "p", "s", {}),
            ("Gather", "s i", "n", {"axis": 0}),
            ("Concat", "n rest", "t", {"axis": 0}),
            ("Reshape", "p t", "q", {}),
            ("MatMul", "q f", "r", {}),
            ("Add", "r k", "y", {}),
        ],
        {"i": numbers(0), "rest": numbers(-1), "f": weights(8, 5), "k": weights(5)},
        ["Conv2d", "AdaptiveAvgPool2d", "flatten", "Linear"],
    ),
    "squeeze": (
        [("GlobalMaxPool", "c", "p", {}), ("Squeeze", "p a", "y", {})],
        {"a": numbers(2, 3)},
        ["Conv2d", "amax", "flatten"],
    ),
    "squeeze and excite": (
        [
            ("GlobalAveragePool", "c", "p", {}),
            ("Conv", "p u", "q", {}),
            ("HardSigmoid", "q", "r", {"alpha": 1 / 6}),
            ("Mul", "c r", "y", {}),
        ],
        {"u": weights(8, 8, 1, 1)},
        ["Conv2d", "AdaptiveAvgPool2d", "Conv2d", "Hardsigmoid", "mul"],
    ),
    "one minus": (
        [("Sigmoid", "c", "s", {}), ("Sub", "one s", "y", {})],
        {"one": ONE},
        ["Conv2d", "Sigmoid", "sub"],
    ),
    "a number per channel": (
        [("Relu", "c", "r", {}), ("Mul", "r s", "t", {}), ("Sub", "t o", "y", {})],
        {"s": weights(8, 1, 1), "o": weights(1, 8, 1, 1)},
        ["Conv2d", "ReLU", "mul", "sub"],
    ),
    "a number per column": (
        [("Transpose", "c", "t", TO_LAST), ("Sub", "t o", "u", {}), ("Transpose", "u", "y", TO_FIRST)],
        {"o": weights(8)},
        ["Conv2d"],
    ),
    "a number per place behind a layer": (
        [
            ("GlobalAveragePool", "c", "p", {}),
            ("Conv", "p u", "q", {}),
            ("Add", "q o", "y", {}),
        ],
        {"u": weights(4, 8, 1, 1), "o": weights(1, 1, 1, 4)},
        ["Conv2d", "AdaptiveAvgPool2d", "Conv2d", "add"],
    ),
    "layer norm": (
        [
            ("Transpose", "c", "t", TO_LAST),
            ("LayerNormalization", "t g o", "u", {"epsilon": 1e-3}),
            ("Transpose", "u", "y", TO_FIRST),
        ],
        {"g": weights(8) + 1, "o": weights(8)},
        ["Conv2d", "permute", "LayerNorm", "permute"],
    ),
    "layer norm by parts": (
        [
            ("Transpose", "c", "t", TO_LAST),
            ("ReduceMean", "t last", "m", {}),
            ("Sub", "t m", "d", {}),
            ("Pow", "d two", "q", {}),
            ("ReduceMean", "q last", "v", {}),
            ("Add", "v eps", "e", {}),
            ("Sqrt", "e", "r", {}),
            ("Div", "d r", "n", {}),
            ("Mul", "n g", "h", {}),
            ("Add", "h o", "k", {}),
            ("Transpose", "k", "y", TO_FIRST),
        ],
        {"g": weights(8) + 1, "o": weights(8), "last": numbers(-1), "two": np.float32(2), "eps": np.float32(1e-3)},
        ["Conv2d", "permute", "LayerNorm", "permute"],
    ),
    "group norm": (
        [("GroupNormalization", "c g o", "y", {"num_groups": 2})],
        {"g": weights(2) + 1, "o": weights(2)},
        ["Conv2d", "GroupNorm"],
    ),
    "group norm by parts": (
        [
            ("Reshape", "c groups", "a", {}),
            ("InstanceNormalization", "a i z", "n", {}),
            ("Shape", "c", "s", {}),
            ("Reshape", "n s", "d", {}),
            ("Mul", "d g", "e", {}),
            ("Add", "e o", "y", {}),
        ],
        {
            "groups": numbers(0, 2, -1),
            "i": np.ones(2, np.float32),
            "z": weights(2),
            "g": weights(8, 1, 1) + 1,
            "o": weights(8, 1, 1),
        },
        ["Conv2d", "GroupNorm"],
    ),
    "instance norm": (
        [("InstanceNormalization", "c g o", "y", {})],
        {"g": weights(8) + 1, "o": weights(8)},
        ["Conv2d", "InstanceNorm2d"],
    ),
    "linear layer at each place": (
        [
            ("Transpose", "c", "t", TO_LAST),
            ("MatMul", "t u", "v", {}),
            ("Add", "v o", "w_", {}),
            ("Transpose", "w_", "y", TO_FIRST),
        ],
        {"u": weights(8, 4), "o": weights(4)},
        ["Conv2d", "permute", *["getattr", *["getitem"] * 3], "reshape", "Linear", "reshape", "permute"],
    ),
    "product of tensors": (
        [("Transpose", "c", "t", {"perm": [0, 1, 3, 2]}), ("MatMul", "c t", "m", {}), ("Softmax", "m", "y", {})],
        {},
        ["Conv2d", "permute", "matmul", "softmax"],
    ),
    "bias by itself": (
        [("Conv", "c u", "d", {}), ("Add", "d o", "y", {})],
        {"u": weights(4, 8, 1, 1), "o": weights(4, 1, 1)},
        ["Conv2d", "Conv2d"],
    ),
    "factor and offset by themselves": (
        [("Conv", "c u k", "d", {}), ("Mul", "d o", "e", {}), ("Sub", "e q", "y", {})],
        {"u": weights(4, 8, 1, 1), "k": weights(4), "o": weights(4, 1, 1), "q": weights(1, 4, 1, 1)},
        ["Conv2d", "Conv2d"],
    ),
    "a bias beside its layer": (
        [("Conv", "c u", "d", {}), ("Add", "d o", "e", {}), ("Mul", "d e", "y", {})],
        {"u": weights(4, 8, 1, 1), "o": weights(4, 1, 1)},
        ["Conv2d", "Conv2d", "add", "mul"],
    ),
    "a factor behind weights that are shared": (
        [("Conv", "c u", "d", {}), ("Mul", "d two", "e", {}), ("Conv", "c u", "f", {}), ("Add", "e f", "y", {})],
        {"u": weights(4, 8, 1, 1), "two": np.float32(2)},
        ["Conv2d", "Conv2d", "mul", "Conv2d", "add"],
    ),
    "resize by a factor": (*resize("linear", "half_pixel"), None),
    "resize by pytorch_half_pixel": (*resize("linear", "pytorch_half_pixel", 3.0), None),
    "resize with corners": (*resize("linear", "align_corners"), None),
    "resize nearest": (*resize("nearest", "asymmetric"), None),
    "resize nearest, half pixel": (*resize("nearest", "half_pixel", nearest="round_prefer_floor"), None),
    "resize to a tensor's size": (
        [
            ("MaxPool", "c", "d", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Shape", "c", "s", {}),
            ("Slice", "s two four", "t", {}),
            ("Resize", "d none none t", "e", {"mode": "linear", "axes": [2, 3]}),
            ("Concat", "e c", "y", {"axis": 1}),
        ],
        {"two": numbers(2), "four": numbers(4), "none": np.zeros(0, np.float32)},
        ["Conv2d", "MaxPool2d", "getattr", "getitem", "interpolate", "cat"],
    ),
    "channel shuffle": (
        [
            ("Reshape", "c a", "r", {}),
            ("Transpose", "r", "t", {"perm": [0, 2, 1, 3, 4]}),
            ("Shape", "c", "s", {}),
            ("Reshape", "t s", "y", {}),
        ],
        {"a": numbers(2, 2, 4, 0, -1)},
        None,
    ),
    "pixel shuffle by reshapes": (
        [
            ("Reshape", "c a", "r", {}),
            ("Transpose", "r", "t", {"perm": [0, 1, 4, 2, 5, 3]}),
            ("Reshape", "t again", "y", {}),
        ],
        {"a": numbers(2, 2, 2, 2, 48, 64), "again": numbers(2, 2, 96, 128)},
        ["Conv2d", "PixelShuffle"],
    ),
    "nearly a pixel shuffle": (
        [
            ("Conv", "c u", "d", {}),
            ("Reshape", "d a", "r", {}),
            ("Transpose", "r", "t", {"perm": [0, 1, 4, 2, 5, 3]}),
            ("Reshape", "t again", "y", {}),
        ],
        {"u": weights(12, 8, 1, 1), "a": numbers(2, 2, 2, 3, 48, 64), "again": numbers(2, 2, 96, 192)},
        None,
    ),
    "space to depth": ([("SpaceToDepth", "c", "y", {"blocksize": 2})], {}, None),
    "depth to space": ([("DepthToSpace", "c", "y", {"blocksize": 2, "mode": "CRD"})], {}, ["Conv2d", "PixelShuffle"]),
    "depth to space, depth first": ([("DepthToSpace", "c", "y", {"blocksize": 2})], {}, None),
    "split": (
        [("Split", "c", "a1 a2", {"axis": 1, "num_outputs": 2}), ("Concat", "a2 a1", "y", {"axis": -3})],
        {},
        ["Conv2d", "getitem", "getitem", "cat"],
    ),
    "split in three": (
        [("Split", "c k", "a1 a2 a3", {"axis": 1}), ("Concat", "a3 a1 a2", "y", {"axis": 1})],
        {"k": numbers(1, 2, 5)},
        ["Conv2d", "getitem", "getitem", "getitem", "cat"],
    ),
    "slice": (
        [("Slice", "c s e a", "y", {})],
        {"s": numbers(1, -20), "e": numbers(5, 1000), "a": numbers(1, 3)},
        ["Conv2d", "getitem", "getitem"],
    ),
    "crop": (
        [("Slice", "c s e a", "y", {})],
        {"s": numbers(2, 2), "e": numbers(-2, -2), "a": numbers(2, 3)},
        ["Conv2d", "getitem", "getitem"],
    ),
    "pick": ([("Gather", "c i", "y", {"axis": 1})], {"i": numbers(2, 3)}, ["Conv2d", "getitem"]),
    "torch's as_strided of a mean": (
        [
            ("ReduceMean", "c a", "m", {"keepdims": 1}),
            ("Reshape", "m flat", "v", {}),
            ("Gather", "v i", "y", {}),
        ],
        {"a": numbers(2, 3), "flat": numbers(-1), "i": np.arange(16).reshape(2, 8, 1, 1)},
        ["Conv2d", "AdaptiveAvgPool2d"],
    ),
    "largest of channels": (
        [("ReduceMax", "c a", "y", {"keepdims": 1})],
        {"a": numbers(1)},
        ["Conv2d", "amax"],
    ),
    "softmax": ([("Softmax", "c", "y", {"axis": 1})], {}, ["Conv2d", "softmax"]),
    "square": ([("Pow", "c two", "y", {})], {"two": np.float32(2)}, ["Conv2d", "mul"]),
    "nothing": (
        [("Identity", "c", "d", {}), ("Dropout", "d", "e", {}), ("Cast", "e", "y", {"to": 1})],
        {},
        ["Conv2d"],
    ),
    "permuted twice": (
        [("Transpose", "c", "d", TO_LAST), ("Transpose", "d", "y", {"perm": [0, 1, 3, 2]})],
        {},
        ["Conv2d", "permute"],
    ),
    "permuted and back": (
        [
            ("Transpose", "c", "d", {"perm": [0, 2, 3, 1]}),
            ("Transpose", "d", "e", {"perm": [0, 3, 1, 2]}),
            ("Relu", "e", "y", {}),
        ],
        {},
        ["Conv2d", "ReLU"],
    ),
    "channels of zeros in front and behind": (
        [("Concat", "z c zz", "y", {"axis": 1})],
        {"z": np.zeros((2, 2, 48, 64), np.float32), "zz": np.zeros((2, 3, 48, 64), np.float32)},
        ["Conv2d", "pad"],
    ),
    "channels of zeros of any size": (
        [
            ("Shape", "c", "n", {"end": 1}),
            ("Shape", "c", "hw", {"start": 2}),
            ("Concat", "n few hw", "s", {"axis": 0}),
            ("Expand", "zero s", "z", {}),
            ("ConstantOfShape", "s", "zz", {}),
            ("Relu", "c", "r", {}),
            ("Concat", "c r z zz", "y", {"axis": 1}),
        ],
        {"few": numbers(4), "zero": np.float32(0)},
        ["Conv2d", "ReLU", "cat", "pad"],
    ),
    "a token beside values, repeated for every picture": (
        [
            ("Reshape", "c flat", "d", {}),
            ("Transpose", "d", "t", {"perm": [0, 2, 1]}),
            ("Shape", "c", "n", {"end": 1}),
            ("Concat", "n few", "s", {"axis": 0}),
            ("Expand", "token s", "k", {}),
            ("Concat", "k t", "y", {"axis": 1}),
        ],
        {"flat": numbers(0, 8, -1), "few": numbers(1, 8), "token": weights(1, 1, 8)},
        None,
    ),
    "constants in front and behind": (
        [("Concat", "one c two zz", "y", {"axis": 2})],
        {
            "one": np.repeat(weights(1, 8, 1, 64), 2, 0),
            "two": np.repeat(weights(1, 8, 3, 64), 2, 0),
            "zz": np.zeros((2, 8, 2, 64), "f"),
        },
        ["Conv2d", "pad", "add"],
    ),
    "length of vectors": (
        [("ReduceL2", "c a", "n", {"keepdims": 1}), ("Clip", "n lo", "d", {}), ("Div", "c d", "y", {})],
        {"a": numbers(1), "lo": np.float32(0.01)},
        None,
    ),
    "a mean beside every value": (
        [("ReduceMean", "c a", "m", {"keepdims": 1}), ("Expand", "m s", "k", {}), ("Add", "k c", "y", {})],
        {"a": numbers(1, 2), "s": numbers(1, 8, 1, 1)},
        ["Conv2d", "mean", "broadcast_to", "add"],
    ),
    "padding with a number": (
        [("Pad", "c p v", "y", {})],
        {"p": numbers(0, 0, 1, 2, 0, 0, 3, 4), "v": np.float32(1.5)},
        ["Conv2d", "pad"],
    ),
    "what TensorFlow leaves between permutations": (
        [
            ("Transpose", "c", "t", TO_LAST),
            ("Relu", "t", "r", {}),
            ("Transpose", "r", "f", TO_FIRST),
            ("Sigmoid", "f", "s", {}),
            ("Transpose", "s", "l", TO_LAST),
            ("Mul", "l r", "m", {}),
            ("Mul", "m o", "n", {}),
            ("Concat", "n l", "k", {"axis": 3}),
            ("Transpose", "k", "y", TO_FIRST),
        ],
        {"o": weights(8)},
        ["Conv2d", "ReLU", "Sigmoid", "mul", "mul", "cat"],
    ),
    "a gate of TensorFlow's": (
        [
            ("Transpose", "c", "t", TO_LAST),
            ("ReduceMean", "t a", "g", {"keepdims": 1}),
            ("Sigmoid", "g", "s", {}),
            ("Mul", "t s", "m", {}),
            ("Softmax", "m", "z", {"axis": 3}),
            ("Transpose", "z", "y", TO_FIRST),
        ],
        {"a": numbers(1, 2)},
        ["Conv2d", "AdaptiveAvgPool2d", "Sigmoid", "mul", "softmax"],
    ),
    "sums of TensorFlow's": (
        [
            ("Transpose", "c", "t", TO_LAST),
            ("ReduceSum", "t a", "g", {"keepdims": 0}),
            ("ReduceMax", "t rows", "h", {"keepdims": 0}),
            ("ReduceMean", "t a", "i", {"keepdims": 0}),
            ("Add", "g i", "j", {}),
            ("Unsqueeze", "j one", "k", {}),
            ("ReduceMean", "h d", "l", {"keepdims": 0}),
            ("Unsqueeze", "l one", "m", {}),
            ("Concat", "k m", "y", {"axis": 1}),
        ],
        {"a": numbers(1, 2), "rows": numbers(1), "d": numbers(1), "one": numbers(1)},
        None,
    ),
    "padding with channels last": (
        [("Transpose", "c", "t", TO_LAST), ("Pad", "t p", "q", {}), ("Transpose", "q", "y", TO_FIRST)],
        {"p": numbers(0, 1, 2, 0, 0, 3, 4, 0)},
        ["Conv2d", "pad"],
    ),
    "a quotient": (
        [("Sigmoid", "c", "s", {}), ("Relu", "c", "r", {}), ("Div", "r s", "y", {})],
        {},
        ["Conv2d", "Sigmoid", "ReLU", "truediv"],
    ),
    "weights that are computed": (
        [
            ("Identity", "u", "u1", {}),
            ("Mul", "u1 k", "u2", {}),
            ("Transpose", "u2", "u3", {"perm": [1, 0, 2, 3]}),
            ("Conv", "c u3", "y", {}),
        ],
        {"u": weights(8, 4, 1, 1), "k": np.float32(2)},
        ["Conv2d", "Conv2d"],
    ),
}


FIXED = (  # of one size
    "torch's as_strided of a mean", "channel shuffle", "pixel shuffle by reshapes", "nearly a pixel shuffle",
    "space to depth", "channels of zeros in front and behind",
    "a token beside values, repeated for every picture", "constants in front and behind",
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_reads_an_operator_as_onnxruntime_computes_it(name):
    nodes, constants, expected = CASES[name]
    fixed = name in FIXED
    sizes = {"shape": (2, 3, 48, 64)} if fixed else {}
    network = compare(model([CONV, *nodes], PARTS | constants, **sizes), ((48, 64),) if fixed else SIZES)
    if expected is not None:
        assert kinds(network) == expected


@pytest.mark.parametrize(("node", "constants", "shape", "said"), [
    (("Concat", "k c", "y", {"axis": 0}), {"k": weights(2, 8, 48, 64)}, (2, 3, 48, 64), "between values"),
    (("Concat", "c k c", "y", {"axis": 1}), {"k": weights(2, 8, 48, 64)}, (2, 3, 48, 64), "between values"),
    (("Concat", "c k", "y", {"axis": 1}), {"k": weights(2, 8, 48, 64)}, (2, 3, 48, 64), "not alike for all pictures"),
    (("Expand", "c k", "y", {}), {"k": numbers(3, 2, 8, 48, 64)}, (2, 3, 48, 64), "repeats 2x8x48x64 to 3x2x8x48x64"),
    (("Pad", "c p v", "y", {}), {"p": numbers(*[0, 0, 1, 1] * 2), "v": np.float32(np.inf)}, ("N", 3, "H", "W"),
     "than with a number around the picture"),
    (("ReduceL2", "c k", "y", {"axes": [9]}), {"k": numbers(9)}, ("N", 3, "H", "W"), "side 9|cannot be computed"),
], ids=["beside the batch", "between", "not alike", "repeated", "padding with inf", "no such side"])  # fmt: skip
def test_what_stands_beside_values_is_refused_by_name(node, constants, shape, said):
    with pytest.raises(EdgeailiteError, match=said) as caught:
        read_onnx(model([CONV, node], PARTS | constants, shape=shape))
    assert "\n" not in str(caught.value)


def test_pictures_with_channels_last():
    """As tf2onnx writes them; the network takes channels first, and its outputs stay as the file has them."""
    nodes = [
        ("Sub", "image m", "n", {}),
        ("Transpose", "n", "f", TO_FIRST),
        ("Conv", "f w b", "c", {"pads": [1] * 4}),
        ("Relu", "c", "r", {}),
        ("Transpose", "r", "y", TO_LAST),
    ]
    file = model(nodes, PARTS | {"m": weights(3)}, shape=("N", "H", "W", 3))
    network = read_onnx(file)
    assert kinds(network) == ["sub", "Conv2d", "ReLU", "permute"]
    x = np.random.default_rng(5).normal(size=(2, 3, 33, 45)).astype(np.float32)
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": x.transpose(0, 2, 3, 1).copy()})
    with torch.no_grad():
        np.testing.assert_allclose(network(torch.from_numpy(x))["y"].numpy(), expected, atol=1e-5)


def test_nodes_that_no_output_needs_are_left_out():
    file = model([CONV, ("NoSuchOperator", "c", "z", {}), ("Relu", "c", "y", {})], PARTS)
    assert kinds(read_onnx(file)) == ["Conv2d", "ReLU"]


def test_layers_that_share_weights_are_two_modules_with_one_parameter():
    file = model(
        [("Conv", "image w", "a", {}), ("Relu", "a", "b", {}), ("Conv", "b w", "y", {})], {"w": weights(3, 3, 3, 3)}
    )
    network = compare(file)
    first, _, second = (node.target for node in network.graph.nodes if node.op == "call_module")
    assert first != second
    assert network.get_submodule(first).weight is network.get_submodule(second).weight


def test_names_of_the_file_stay_where_python_allows_them():
    names = ["encoder.0.conv.weight", "at/slash.weight", "class.weight", "forward.weight", "a.b.weight", "a.weight"]
    nodes = [("Conv", f"{'image' if i == 0 else f't{i}'} {name}", f"t{i + 1}", {}) for i, name in enumerate(names)]
    nodes[-1] = (nodes[-1][0], nodes[-1][1], "y", {})
    network = read_onnx(model(nodes, {name: weights(3, 3, 1, 1) for name in names}))
    assert list(network.state_dict()) == [
        "encoder.0.conv.weight", "at_slash.weight", "at_class.weight", "at_forward.weight", "a.b.weight", "a_2.weight"
    ]  # fmt: skip


def test_a_file_of_one_size_takes_batches_of_any():
    nodes = [CONV, ("GlobalAveragePool", "c", "p", {}), ("Reshape", "p s", "y", {})]
    network = read_onnx(model(nodes, PARTS | {"s": numbers(1, 8)}, shape=(1, 3, 48, 64)))
    with torch.no_grad():
        assert network(torch.zeros(5, 3, 48, 64))["y"].shape == (5, 8)


def test_a_file_of_one_picture_may_have_a_norm_of_single_values():
    nodes = [CONV, ("GlobalAveragePool", "c", "p", {}), ("BatchNormalization", "p s o m v", "y", {})]
    norm = {"s": weights(8), "o": weights(8), "m": weights(8), "v": abs(weights(8)) + 0.1}
    network = read_onnx(model(nodes, PARTS | norm, shape=(1, 3, 48, 64)))
    assert not network.training
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 48, 64))["y"].shape == (1, 8, 1, 1)


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_opsets_from_11_on(opset):
    axes = {"axes": [2, 3]} if opset < 13 else {}
    nodes = [
        CONV,
        ("Clip", "c lo hi", "d", {}),
        ("Squeeze", "p" if axes else "p a", "y", axes),
    ]
    nodes.insert(2, ("GlobalAveragePool", "d", "p", {}))
    constants = PARTS | {"lo": np.float32(0), "hi": SIX} | ({} if axes else {"a": numbers(2, 3)})
    assert kinds(compare(model(nodes, constants, opset=opset))) == ["Conv2d", "ReLU6", "AdaptiveAvgPool2d", "flatten"]


def test_an_amount_that_is_0_at_even_sides_is_no_constant():
    """Pooling, doubling and a padding to the old size, as U-Nets have them."""
    nodes = [
        CONV,
        ("MaxPool", "c", "d", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Resize", "d none two", "e", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                                       "nearest_mode": "floor"}),
        ("Shape", "c", "s", {"start": 2}),
        ("Shape", "e", "t", {"start": 2}),
        ("Sub", "s t", "missing", {}),
        ("Concat", "zeros missing", "pads", {"axis": 0}),
        ("Pad", "e pads nothing axes", "p", {}),
        ("Concat", "c p", "y", {"axis": 1}),
    ]  # fmt: skip
    constants = {
        "none": np.zeros(0, np.float32), "two": np.array([1, 1, 2, 2], np.float32), "zeros": numbers(0, 0),
        "axes": numbers(2, 3), "nothing": np.float32(0),
    }  # fmt: skip
    compare(model(nodes, PARTS | constants), ((48, 64), (33, 45), (34, 45), (33, 46)))


def test_same_padding_by_arithmetic_on_sizes():
    """As exporters write TensorFlow's: what is missing to a multiple of the stride, in halves."""
    nodes = [
        ("Shape", "image", "s", {"start": 2}),
        ("Add", "s one", "a", {}),
        ("Div", "a two", "h", {}),
        ("Mul", "h two", "up", {}),
        ("Add", "up one", "wanted", {}),
        ("Sub", "wanted s", "b", {}),
        ("Clip", "b nought", "missing", {}),
        ("Div", "missing two", "first", {}),
        ("Sub", "missing first", "last", {}),
        ("Concat", "first last", "pads", {"axis": 0}),
        ("Pad", "image pads nothing axes", "p", {}),
        ("Conv", "p w", "y", {"strides": [2, 2]}),
    ]
    constants = {
        "one": numbers(1), "two": numbers(2), "nought": np.int64(0), "axes": numbers(2, 3), "nothing": np.float32(0),
        "w": PARTS["w"],
    }  # fmt: skip
    compare(model(nodes, constants), ((48, 64), (33, 45), (34, 45)))


def test_samples_tell_apart_what_halving_leaves():
    for samples in (ODD, [(height // 64, width // 64) for height, width in EVEN]):
        for sides in zip(*samples, strict=True):
            for times in range(6 if samples is ODD else 2):
                assert len({(side >> times) % 2 for side in sides}) == 2
                assert len({(side - 1 >> times) % 2 for side in sides}) == 2


def test_a_size_that_nothing_was_concluded_from_is_tried(monkeypatch):
    """With samples whose widths are all odd, the padding of a column looks like a constant."""
    module = sys.modules[read_onnx.__module__]  # the package has a function of that name
    monkeypatch.setattr(module, "ODD", ((97, 161), (130, 199), (163, 233)))
    nodes = [
        ("Shape", "image", "s", {"start": 3}),
        ("Div", "s two", "half", {}),
        ("Mul", "half two", "even", {}),
        ("Sub", "s even", "one", {}),
        ("Concat", "zero one", "pads", {"axis": 0}),
        ("Pad", "image pads nothing axes", "y", {}),
    ]
    constants = {"two": numbers(2), "zero": numbers(0), "axes": numbers(3), "nothing": np.float32(0)}
    with pytest.raises(UsageError, match="its sizes at 112x144 do not follow"):
        read_onnx(model(nodes, constants))
