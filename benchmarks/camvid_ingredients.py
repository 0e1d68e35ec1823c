"""What each ingredient of the preset camvid_pretrained gives: the preset with one thing changed, at a small budget.

    python benchmarks/camvid_ingredients.py CAMVID_FOLDER RUNS_FOLDER

Trained on two drives of the train split (0001TP and 0016E5, 266 pictures) and scored on the third (0006R0, 101
pictures): the split val is of the drive that gives most training pictures, so it does not tell how a network does in
another street, which is what test asks (three of four of its pictures are of a drive that train does not have).

12 epochs, a quarter of the preset's, one seed, one thread, scored with the last weights: six to ten minutes a row. So
the rows tell what helps a short training; small differences are noise, of which --seeds 1 2 3 tells the size. A row
that is finished stays as it is, one that was cut off goes on; --only names the rows to train, --print trains nothing.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

QUIET = "--evaluate_every 1000 --overlays 0 --tensorboard off"
OF_8 = "--batch_size 8"
WEIGHTED = f"{OF_8} --class_weights enet"
ROWS: dict[str, str] = {
    "the preset": "",
    "batches of 8": OF_8,
    "batches of 8, Lovasz loss": f"{OF_8} --lovasz 1",
    "batches of 8, encoder at half its rate": f"{OF_8} --lr_encoder 3e-4",
    "class weights": "--class_weights enet",
    "batches of 8, class weights": WEIGHTED,
    "batches of 8, class weights, scale 0.5 to 2": f"{WEIGHTED} --rand_scale 0.5 2",
    "batches of 8, class weights, BatchNorm kept still": f"{WEIGHTED} --freeze_bn True",
    "batches of 8, class weights, rotation, jitter, blur": f"{WEIGHTED} --rotation 5 --color_jitter 0.5 --blur 1",
    "from scratch": "--pretrained none",
    "encoder at the decoder's rate": "--lr_encoder 3e-3",
    "no moving average": "--ema 0",
    "class-balanced crops": "--balanced_crops 4",
    "OHEM": "--loss ohem",
    "label smoothing 0.1": "--label_smoothing 0.1",
    "Dice loss": "--dice 1",
    "cutout": "--cutout 0.4",
    "FPN of depthwise convolutions": "--model_name fpn_aspp_efficientnet_lite0_edgeailite",
    "DeepLabV3+": "--model_name deeplabv3plus_efficientnet_lite0_edgeailite",
    "UNet": "--model_name unet_aspp_efficientnet_lite0_edgeailite",
    "EfficientNet-Lite1": "--model_name fpn128full_aspp_efficientnet_lite1_edgeailite",
    "EfficientNet-Lite2": "--model_name fpn128full_aspp_efficientnet_lite2_edgeailite",
}
HELD_OUT = "0006R0"  # the drive that the rows are scored on


def hold_out(camvid: Path, folder: Path) -> Path:
    """Make a data set of links in `folder`: the train split without one drive, and that drive as val; return it."""
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for picture in sorted((camvid / kind / "train").iterdir()):
            split = "val" if picture.name.startswith(HELD_OUT) else "train"
            link = folder / kind / split / picture.name
            if not link.is_symlink():
                link.symlink_to(picture.resolve())
    return folder


def folder(runs: Path, row: str, seed: int) -> Path:
    """Return the run folder of a row."""
    return runs / f"{row.replace(' ', '_').replace(',', '').replace(chr(39), '')}_{seed}"


def train(row: str, run: Path, data: Path, options: argparse.Namespace, seed: int) -> None:
    """Train a row, or go on with it."""
    if (run / "last.pt").is_file():
        words = ["train", "--resume", str(run)]
    else:
        flags = (
            *QUIET.split(),
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
        words = ["preset", "camvid_pretrained", *flags, "--data_path", str(data), "--save_path", str(run)]
        words += changed
    subprocess.run([sys.executable, "-m", "edgeailite", *words], check=True, stdout=subprocess.DEVNULL)


def miou(run: Path, epochs: int) -> float | None:
    """Return the run's last mIoU on the held-out drive in per cent, or None if it has not come to its end."""
    path = run / "metrics.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []
    done = [row for row in rows if int(row["epoch"]) == epochs and row["miou"]]
    return 100 * float(done[0]["miou"]) if done else None


def table(options: argparse.Namespace) -> str:
    """Return the rows that are finished, as Markdown."""
    lines = [f"| the preset, but | mIoU on the held-out drive, % ({options.epochs} epochs) |", "|---|---|"]
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
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--print", action="store_true", help="train nothing")
    options = parser.parse_args()
    data = options.camvid if options.print else hold_out(options.camvid, options.runs / f"without_{HELD_OUT}")
    for seed in () if options.print else options.seeds:
        for row in options.only:
            run = folder(options.runs, row, seed)
            if miou(run, options.epochs) is None:
                train(row, run, data, options, seed)
    print(table(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
