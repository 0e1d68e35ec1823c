"""A contract as one C header: preprocessing, golden pictures, and the SHA-256 of what must come of them.

    python examples/unpack_contract.py contract_int8.json golden.h

Needs numpy, not edgeailite; the device needs no JSON parser: the header holds everything `check.c` compares with.
It is no part of the proof; `edgeailite verify FILE contract.json` is that.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SAMPLE = 64  # values kept of each tensor, at positions that its size alone decides
SUMS = 64  # sums over all values of an output, with random factors
FLOAT_TOLERANCE = 1e-4  # of a tensor's standard deviation


def main(arguments: list[str]) -> int:
    """Write the header; 2 with a usage line, 3 for a contract that the examples cannot reproduce."""
    if len(arguments) != 2:
        print("usage: unpack_contract.py CONTRACT.json OUT.h", file=sys.stderr)
        return 2
    contract = json.loads(Path(arguments[0]).read_text())
    interpolation = contract["preprocessing"]["interpolation"]
    outputs = [name for case in contract["golden"] for name in case["outputs"]]
    if (
        contract["format"] not in (2, 3)
        or interpolation != "linear_exact"
        or any(name.endswith("_label") for name in outputs)
    ):
        print(
            f"error: {arguments[0]}: format {contract['format']}, interpolation {interpolation}, outputs {outputs}; "
            "the examples reproduce format 2 with --interpolation linear_exact (train) and --argmax none (export), 3",
            file=sys.stderr,
        )
        return 3
    Path(arguments[1]).write_text(header(contract))
    return 0


def header(contract: Mapping[str, Any]) -> str:
    """The C header of a contract."""
    pre, golden = contract["preprocessing"], contract["golden"]
    lines = [
        f"/* {contract['file']}, {contract['kind']}, sha256 {contract['sha256']}; made by unpack_contract.py */",
        "#ifndef GOLDEN_H",
        "#define GOLDEN_H",
        '#include "golden_case.h"',
        f"enum {{ GOLDEN_CASES = {len(golden)}, GOLDEN_INT8 = {int(contract['kind'] == 'int8')} }};",
        "static const struct preprocessing GOLDEN_PREPROCESSING = {",
        f"    {pre['height']}, {pre['width']}, {{{_floats(pre['mean'])}}}, {{{_floats(pre['scale'])}}}, "
        f"{int(pre['channel_order'] == 'BGR')}}};",
    ]
    for index, case in enumerate(golden):
        lines += _case(index, case)
    rows = (
        f"    {{{len(case['pictures'])}, inputs_{index}, {len(case['outputs'])}, outputs_{index}}},"
        for index, case in enumerate(golden)
    )
    return "\n".join([*lines, "static const struct golden_case GOLDEN[GOLDEN_CASES] = {", *rows, "};", "#endif", ""])


def _case(index: int, case: Mapping[str, Any]) -> list[str]:
    lines, inputs, outputs = [], [], []
    for number, (picture, image) in enumerate(zip(case["pictures"], case["images"], strict=True)):
        name = f"picture_{index}_{number}"
        data = zlib.decompress(base64.b64decode(picture["zlib_base64"]))
        height, width, _ = picture["shape"]
        lines += [f"static const unsigned char {name}[{len(data)}] = {{", *_rows(data, 24), "};"]
        inputs.append(f'    {{{name}, {height}, {width}, "{image["sha256"]}"}},')
    for name, output in case["outputs"].items():
        size = int(np.prod(output["shape"]))
        where = np.random.default_rng(size).integers(0, size, min(size, SAMPLE))
        sample = f"sample_{index}_{len(outputs)}"
        rows = _rows((f"{{{at}, {_float(v)}}}" for at, v in zip(where, output["sample"], strict=True)), 4)
        lines += [f"static const struct golden_value {sample}[{len(where)}] = {{", *rows, "};"]
        sums = f"sums_{index}_{len(outputs)}"
        lines += [f"static const double {sums}[{SUMS}] = {{", *_rows(map(repr, output.get("sums", [0.0])), 4), "};"]
        gap = _float(FLOAT_TOLERANCE * output["std"] + 1e-6 * max(1, *map(abs, output["sample"])))
        kept = f"{len(where)}, {sample}, {SUMS if 'sums' in output else 0}, {sums}, 0x{output['sha256'][:16]}ull, {gap}"
        outputs.append(f'    {{"{name}", {size}, "{output["sha256"]}", {kept}}},')
    lines += [f"static const struct golden_input inputs_{index}[{len(inputs)}] = {{", *inputs, "};"]
    return [*lines, f"static const struct golden_output outputs_{index}[{len(outputs)}] = {{", *outputs, "};"]


def _rows(values: Iterable[object], length: int) -> list[str]:
    words = list(map(str, values))
    return ["    " + ", ".join(words[at : at + length]) + "," for at in range(0, len(words), length)]


def _floats(values: Iterable[float]) -> str:
    return ", ".join(map(_float, values))


def _float(value: float) -> str:
    """A literal that is the nearest float32."""
    return f"{float(np.float32(value)):.9e}f"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
