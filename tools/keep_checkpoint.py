"""Weights of a finished run as one small file, float16, that `validate`, `calibrate`, `quantize` and `export` open.

    python tools/keep_checkpoint.py RUN_FOLDER FILE.pt

They are those of the last epoch (`last.pt`), because published runs fix the number of epochs beforehand. What a resumed
training would need is left out, and so is the folder of the data set. Loading widens to float32 again.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST, find_checkpoint


def main() -> None:
    """Write the file and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    save_checkpoint(args.file, small(load_checkpoint(find_checkpoint(args.run, prefer=(LAST,)))))
    print(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB")


def small(checkpoint: Checkpoint) -> Checkpoint:
    """Float16 weights, their card and how they were trained."""
    weights = {name: halved(value) for name, value in checkpoint.state_dict.items()}
    card = dataclasses.replace(checkpoint.card, data_path=None)
    places = ("data_path", "save_path", "pretrained", "cache", "resume")
    config = {name: value for name, value in checkpoint.config.items() if name not in places}
    return Checkpoint(card, weights, config, checkpoint.quantization)


def halved(value: torch.Tensor) -> torch.Tensor:
    """Float16 where that holds the values (BatchNorm's variances may be too large or too small for it)."""
    if not value.is_floating_point():
        return value
    half = value.half()
    kept = torch.isclose(half.float(), value, rtol=2e-3, atol=1e-6).all()
    return half if bool(kept) else value


if __name__ == "__main__":
    main()
