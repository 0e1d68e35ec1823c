"""What each ingredient of the preset camvid_pretrained gives: the preset with one thing changed, at a small budget.

    python benchmarks/camvid_ingredients.py CAMVID_FOLDER RUNS_FOLDER

Pictures of half a side (192x256, crops of 128x160), 6 epochs, one seed, one thread, scored on the validation split with
the last weights: a quarter of the preset's cost per picture, and a ninth of its epochs. So the rows tell what helps a
short training; small differences are noise, of which --seeds 1 2 3 tells the size. A row that is finished stays as it
is, one that was cut off goes on; --only names the rows to train, --print trains nothing.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

SMALL = "--img_resize 192 256 --rand_crop 128 160 --evaluate_every 1000 --overlays 0 --tensorboard off"
ROWS: dict[str, str] = {
    "the preset": "",
    "from scratch": "--pretrained none",
    "encoder at the decoder's rate": "--lr_encoder 3e-3",
    "no moving average": "--ema 0",
    "no class weights": "--class_weights none",
    "first stages frozen": "--freeze_layers " + " ".join(f"encoder.features.{stage}." for stage in range(4)),
    "weaker jitter, no blur": "--color_jitter 0.3 --blur 0",
    "class-balanced crops": "--balanced_crops 4",
    "OHEM": "--loss ohem",
    "label smoothing 0.1": "--label_smoothing 0.1",
    "DeepLabV3+": "--model_name deeplabv3plus_efficientnet_lite0_edgeailite",
}


def folder(runs: Path, row: str, seed: int) -> Path:
    """Return the run folder of a row."""
    return runs / f"{row.replace(' ', '_').replace(chr(39), '')}_{seed}"


def train(row: str, run: Path, options: argparse.Namespace, seed: int) -> None:
    """Train a row, or go on with it."""
    if (run / "last.pt").is_file():
        words = ["train", "--resume", str(run)]
    else:
        flags = (
            *SMALL.split(),
            "--epochs",
            str(options.epochs),
            "--seed",
            str(seed),
            "--threads",
            "1",
            "--workers",
            "0",
        )
        changed = ROWS[row].split()
        words = ["preset", "camvid_pretrained", *flags, "--data_path", str(options.camvid), "--save_path", str(run)]
        words += changed
    subprocess.run([sys.executable, "-m", "edgeailite", *words], check=True, stdout=subprocess.DEVNULL)


def miou(run: Path, epochs: int) -> float | None:
    """Return the run's last validation mIoU in per cent, or None if it has not come to its end."""
    path = run / "metrics.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []
    done = [row for row in rows if int(row["epoch"]) == epochs and row["miou"]]
    return 100 * float(done[0]["miou"]) if done else None


def table(options: argparse.Namespace) -> str:
    """Return the rows that are finished, as Markdown."""
    lines = [f"| the preset, but | val mIoU, % ({options.epochs} epochs) |", "|---|---|"]
    for row in ROWS:
        found = [miou(folder(options.runs, row, seed), options.epochs) for seed in options.seeds]
        if any(found):
            lines.append(f"| {row} | {', '.join(f'{value:.2f}' for value in found if value is not None)} |")
    return "\n".join(lines)


def main() -> int:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--print", action="store_true", help="train nothing")
    options = parser.parse_args()
    for seed in () if options.print else options.seeds:
        for row in options.only:
            run = folder(options.runs, row, seed)
            if miou(run, options.epochs) is None:
                train(row, run, options, seed)
    print(table(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
