"""Forty labelled pictures, with and without ImageNet weights: the same training, twice.

    python benchmarks/few_pictures.py FOLDER

Writes 40 pictures to train on and 100 to validate with (generated street scenes, 14 classes) to FOLDER/streets, trains
FPN on EfficientNet-Lite0 from the weights and from random values, and prints the validation mIoU of the last epoch. A
run that is finished stays as it is, one that was cut off goes on. --epochs and --seeds set the budget.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from edgeailite.data.streets.dataset import write_streets

PICTURES, HELD_OUT = 40, 100
TRAINING = (
    "--dataset_name streets --model_name fpn_aspp_efficientnet_lite0_edgeailite --img_resize 96 192 "
    "--rand_scale 1.0 1.5 --rotation 0 --batch_size 8 --optimizer adamw --lr 3e-3 --lr_encoder 6e-4 "
    "--weight_decay 1e-2 --class_weights enet --evaluate_every 1000 --overlays 0 --tensorboard off --threads 1 "
    "--workers 0"
)


def train(run: Path, data: Path, *, weights: str, epochs: int, seed: int) -> float:
    """Train to the end; return the last validation mIoU in per cent."""
    new = f"train {TRAINING} --epochs {epochs} --seed {seed} --pretrained {weights} --data_path".split()
    words = [*new, str(data), "--save_path", str(run)]
    if (run / "last.pt").is_file():
        words = ["train", "--resume", str(run), "--epochs", str(epochs)]
    subprocess.run([sys.executable, "-m", "edgeailite", *words], check=True, stdout=subprocess.DEVNULL)
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return 100 * float(list(csv.DictReader(file))[-1]["miou"])


def main() -> int:
    """Write the pictures, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    data = write_streets(options.folder / "streets", train=PICTURES, val=HELD_OUT)
    print(f"| {PICTURES} pictures, {options.epochs} epochs, from | val mIoU, % |\n|---|---|")
    for weights, words in (("imagenet", "ImageNet weights"), ("none", "random values")):
        found = []
        for seed in options.seeds:
            run = options.folder / f"{weights}_{options.epochs}_{seed}"
            found.append(train(run, data, weights=weights, epochs=options.epochs, seed=seed))
        print(f"| {words} | {', '.join(f'{miou:.2f}' for miou in found)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
