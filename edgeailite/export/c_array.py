"""A .tflite file as C source for firmware without files: its bytes, its operators, and golden cases to check a board.

A golden case is a picture made from a seed, as the input codes, with the output's bytes in the arithmetic
`tflite_reference`, which is that of TensorFlow Lite Micro. A program that runs the picture and finds other bytes shows
that its kernels round otherwise, or that something was built wrong; no real picture is needed for that.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite import __version__
from edgeailite.errors import UsageError, option
from edgeailite.export.tflite_file import little_endian
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.files import sha256_of
from edgeailite.quantization.program import Program, Value
from edgeailite.quantization.tflite_rules import run_program

Array = NDArray[Any]
GOLDEN_CASES = 2
PATCH = 8  # pixels of a golden picture's patches of one colour
NOISE = 24  # codes by which a pixel departs from its patch, at most
BYTES_A_LINE = 32
BYTE_TEXTS = [f"{byte}," for byte in range(256)]
METHODS = {
    "ADD": "Add",
    "ARG_MAX": "ArgMax",
    "CAST": "Cast",
    "CONCATENATION": "Concatenation",
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "DEPTH_TO_SPACE": "DepthToSpace",
    "DEQUANTIZE": "Dequantize",
    "GATHER": "Gather",
    "MAX_POOL_2D": "MaxPool2D",
    "MEAN": "Mean",
    "MIRROR_PAD": "MirrorPad",
    "MUL": "Mul",
    "PAD": "Pad",
    "QUANTIZE": "Quantize",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "RESHAPE": "Reshape",
    "RESIZE_BILINEAR": "ResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
    "SLICE": "Slice",
    "SPACE_TO_DEPTH": "SpaceToDepth",
    "SUB": "Sub",
    "TRANSPOSE": "Transpose",
}
"""Operators by the methods `Add...` of TensorFlow Lite Micro's MicroMutableOpResolver."""

HEADER = """\
/* {stem}.tflite for programs without files, written by edgeailite {version}.
 * {size} bytes, sha256 {sha256}
 * Tensors that are alive at once take {live} bytes; an arena needs more, for the interpreter's own records. */
#ifndef {upper}_H
#define {upper}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

extern const unsigned char {name}[]; /* begins at a multiple of 16 bytes */
#define {upper}_SIZE {size}
#define {upper}_LIVE_BYTES {live}

/* Each operator once, as the method of MicroMutableOpResolver that adds it is called. */
#define {upper}_OPERATORS(ADD) {operators}
#define {upper}_OPERATOR_COUNT {operator_count}

/* Bytes of one input or output, as the tensor has them; crc32 is that of zlib and of IEEE 802.3. */
struct {name}_tensor {{
    const char *name;
    const unsigned char *data;
    size_t size;
    uint32_t crc32;
}};

/* What TensorFlow Lite's reference kernels answer, bit for bit. */
#define {upper}_GOLDEN {cases}
#define {upper}_INPUTS {inputs}
#define {upper}_OUTPUTS {outputs}
extern const struct {name}_tensor {name}_golden_inputs[{upper}_GOLDEN][{upper}_INPUTS];
extern const struct {name}_tensor {name}_golden_outputs[{upper}_GOLDEN][{upper}_OUTPUTS];

#ifdef __cplusplus
}}
#endif

#endif
"""


def c_files(written: WrittenProgram, stem: str) -> tuple[str, str]:
    """Return the texts of `stem`.h and `stem`.c (C11): the file `written` as an array, and golden cases.

    Names in them begin with `stem`, so that one firmware may hold several networks. The same file gives the same text.
    Raises UsageError if `stem` is no name in C.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", stem, re.ASCII):
        raise UsageError(
            f"{option('c_array')}: {stem!r} is no name in C", fix=f"give {option('output')} letters, digits and _ only"
        )
    program = written.program
    kinds = sorted({operator.kind for operator in program.operators})
    header = HEADER.format(
        stem=stem,
        name=stem.lower(),
        upper=stem.upper(),
        version=__version__,
        size=len(written.data),
        sha256=sha256_of(written.data),
        live=live_bytes(program),
        operators=" ".join(f"ADD({METHODS[kind]})" for kind in kinds),
        operator_count=len(kinds),
        cases=GOLDEN_CASES,
        inputs=len(program.inputs),
        outputs=len(program.outputs),
    )
    return header, "\n".join(_source(written, stem))


def live_bytes(program: Program) -> int:
    """Return the most bytes of tensors that a program keeps at once: what it needs of an arena at least."""
    last = {value: step for step, operator in enumerate(program.operators) for value in operator.inputs}
    last |= dict.fromkeys(program.outputs.values(), len(program.operators))
    alive = set(program.inputs)
    most = 0
    for step, operator in enumerate(program.operators):
        alive.add(operator.output)
        most = max(most, sum(_bytes_of(value) for value in alive))
        alive = {value for value in alive if last.get(value, -1) > step}
    return most


def golden_picture(value: Value, seed: int) -> Array:
    """Return int8 codes for an input: patches of random colours with noise on them, so that most codes occur."""
    rng = np.random.default_rng(seed)
    _, height, width, channels = value.shape
    patches = rng.integers(-128, 128, (-(-height // PATCH), -(-width // PATCH), channels))
    picture = patches.repeat(PATCH, 0).repeat(PATCH, 1)[:height, :width]
    picture = picture + rng.integers(-NOISE, NOISE + 1, picture.shape)
    return picture.clip(-128, 127).astype(np.int8)[None]


def _bytes_of(value: Value) -> int:
    return int(np.prod(value.shape)) * np.dtype(value.type).itemsize


def _source(written: WrittenProgram, stem: str) -> Iterator[str]:
    """Yield the lines of the C source."""
    program, name, cases = written.program, stem.lower(), list[tuple[dict[str, bytes], dict[str, bytes]]]()
    for case in range(GOLDEN_CASES):
        pictures = [
            golden_picture(value, case * len(program.inputs) + index) for index, value in enumerate(program.inputs)
        ]
        found = run_program(program, pictures, "tflite_reference")
        inputs = {value.name: picture.tobytes() for value, picture in zip(program.inputs, pictures, strict=True)}
        cases.append((inputs, {output: little_endian(array) for output, array in found.items()}))
    yield f'#include "{stem}.h"\n'
    yield from _array(f"_Alignas(16) const unsigned char {name}[{stem.upper()}_SIZE]", written.data)
    for side, kind in enumerate(("input", "output")):
        for case, sides in enumerate(cases):
            for index, data in enumerate(sides[side].values()):
                yield from _array(f"static const unsigned char {kind}_{case}_{index}[{len(data)}]", data)
    for side, kind in enumerate(("input", "output")):
        count = f"[{stem.upper()}_GOLDEN][{stem.upper()}_{kind.upper()}S]"
        yield f"const struct {name}_tensor {name}_golden_{kind}s{count} = {{"
        for case, sides in enumerate(cases):
            rows = [
                f'{{"{tensor}", {kind}_{case}_{index}, {len(data)}, 0x{zlib.crc32(data):08x}u}}'
                for index, (tensor, data) in enumerate(sides[side].items())
            ]
            yield f"    {{{', '.join(rows)}}},"
        yield "};\n"


def _array(declaration: str, data: bytes) -> Iterator[str]:
    yield f"{declaration} = {{"
    for start in range(0, len(data), BYTES_A_LINE):
        yield "".join(map(BYTE_TEXTS.__getitem__, data[start : start + BYTES_A_LINE]))
    yield "};\n"
