"""Accuracy of one int8 run in every arithmetic, and of its files in their runtimes, as a Markdown table.

    edgeailite export RUN; edgeailite export RUN --target tflite
    python -m benchmarks.arithmetics RUN [RUN ...] --data_path FOLDER [--split test] [--epoch_size 0.2]

A row per arithmetic (the torch network with `validate --arithmetic`), and a row per file that lies in the run folder,
computed by its runtime: model_int8.onnx by onnxruntime, model_int8.tflite by LiteRT with its default kernels (XNNPACK).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from edgeailite.config import ValidateConfig
from edgeailite.environment import machine_facts, machine_title
from edgeailite.evaluation import validate
from edgeailite.evaluation.summary import headline
from edgeailite.quantization.arithmetic import ARITHMETICS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data_path", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--epoch_size", type=float, default=0.0, help="part of the split, or how many pictures; 0: all")
    parser.add_argument("--arithmetics", nargs="*", default=list(ARITHMETICS), choices=ARITHMETICS)
    args = parser.parse_args()
    rows: dict[str, list[str]] = {}
    for run in args.runs:
        for name, options in forms(run, args.arithmetics):
            config = ValidateConfig(data_path=args.data_path, split=args.split, epoch_size=args.epoch_size, **options)
            rows.setdefault(name, []).append(f"{100 * headline(validate(config).tally)['miou']:.2f}")
            print(name, rows[name][-1], flush=True)
    print(f"\n{machine_title(machine_facts(torch.get_num_threads()))}, {args.split}\n")
    print(f"| mIoU, % | {' | '.join(run.name for run in args.runs)} |\n|---|{'---|' * len(args.runs)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def forms(run: Path, arithmetics: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and the options of `validate` for each form of a run."""
    yield "fake-quantized, as trained", {"model": run}
    for name in arithmetics:
        yield f"`{name}`", {"model": run, "arithmetic": name}
    for file in sorted(run.glob("model_int8.*")):
        if file.suffix in (".onnx", ".tflite"):
            yield f"{file.name} in {'onnxruntime' if file.suffix == '.onnx' else 'LiteRT'}", {"model": file}


if __name__ == "__main__":
    main()
