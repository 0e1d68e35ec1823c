"""Inner resizes of .tflite files in LiteRT: RESIZE_BILINEAR, one convolution of repeated codes, and by phases.

    python -m benchmarks.resizes [--cases 24,48,256,2 24,48,256,4 ...] [--rounds 5]

A case is height, width, channels and factor. Milliseconds of processor time of one thread (XNNPACK), median of rounds
in turns; then in how many places the codes differ from those of the one convolution. Prints the table of
docs/quantization.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from edgeailite.export.tflite_file import write_tflite
from edgeailite.quantization import lowering
from edgeailite.quantization.convert import Quantize, mean_conv
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.program import Operator, Program, Value
from edgeailite.runtime.tflite_session import tflite_interpreter

CASES = ("24,48,256,2", "24,48,256,4", "12,24,64,8", "24,48,256,8", "12,24,64,16")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print("| channels, from, factor | RESIZE_BILINEAR | codes repeated, one convolution | by phases | other codes |")
    print("|---|---|---|---|---|")
    for case in args.cases:
        print(row(*map(int, case.split(",")), rounds=args.rounds), flush=True)


def row(height: int, width: int, channels: int, factor: int, *, rounds: int) -> str:
    """Time the three forms of one resize."""
    shape = (1, height, width, channels)
    programs = [bilinear(shape, factor), convolved(shape, factor, phases=False), convolved(shape, factor, phases=True)]
    forms = [opened(program) for program in programs]
    codes = np.random.default_rng(0).integers(-128, 128, shape, np.int8)
    results, times = [run(form, codes) for form in forms], [list[float]() for _ in forms]
    for _ in range(rounds):
        for form, taken in zip(forms, times, strict=True):
            begun = time.process_time()
            run(form, codes)
            taken.append(1e3 * (time.process_time() - begun))
    cells = [f"{statistics.median(taken):,.1f}" for taken in times]
    differing = [f"{int((result != results[1]).sum())}" for result in results]
    count = results[1].size
    return f"| {channels}, {height}x{width}, {factor} | {' | '.join(cells)} | {', '.join(differing)} of {count} |"


def bilinear(shape: tuple[int, ...], factor: int) -> Program:
    """The resize as TensorFlow Lite has it."""
    step = np.array([1 / 64], np.float32)
    size = np.array([shape[1] * factor, shape[2] * factor], np.int32)
    x, y = Value("x", shape, scale=step), Value("y", (1, *map(int, size), shape[3]), scale=step)
    options = {"align_corners": False, "half_pixel_centers": True}
    resize = Operator("RESIZE_BILINEAR", [x, Value("size", (2,), "int32", data=size)], y, options)
    return Program([x], {"y": y}, [resize])


def convolved(shape: tuple[int, ...], factor: int, *, phases: bool) -> Program:
    """The resize as files have it, by phases or by one convolution."""
    quantize = Quantize(torch.tensor(1 / 64), torch.tensor(128, dtype=torch.uint8), opset=21)
    modules = {"enlarge": EnlargeCodes(factor), "mean": mean_conv(factor, shape[3], quantize), "end": quantize}
    root, graph = nn.Module(), fx.Graph()
    node = graph.placeholder("image")
    for name, module in {"grid": quantize, **modules}.items():
        root.add_module(name, module)
        node = graph.call_module(name, (node,))
    graph.output({"y": node})
    with small_factor(1 if phases else factor), pictures_of(shape[3]):
        return lowering.lower(fx.GraphModule(root, graph), (shape[1], shape[2]), head="codes")


@contextmanager
def small_factor(factor: int) -> Iterator[None]:
    """Up to which factor one convolution is written."""
    kept, lowering.SMALL_FACTOR = lowering.SMALL_FACTOR, factor
    yield
    lowering.SMALL_FACTOR = kept


@contextmanager
def pictures_of(channels: int) -> Iterator[None]:
    """How many channels the input has."""
    kept, lowering.CHANNELS = lowering.CHANNELS, channels
    yield
    lowering.CHANNELS = kept


def opened(program: Program) -> Any:
    """Load a program into LiteRT."""
    return tflite_interpreter(write_tflite(program), name="resize", threads=1, kernels="xnnpack")


def run(interpreter: Any, codes: np.ndarray) -> np.ndarray:
    """The codes that it gives."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy()


if __name__ == "__main__":
    main()
