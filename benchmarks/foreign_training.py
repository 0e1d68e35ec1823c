"""A network of torchvision, trained by a plain torch loop, then calibrated and trained in int8 here: accuracy of each.

    python -m benchmarks.foreign_training FOLDER [--epochs 30] [--qat_epochs 3]

LRASPP on MobileNetV3 (hard-swish, squeeze-and-excitation) learns the generated street scenes from random values, in a
loop that knows nothing of this package but where the pictures are. Its ONNX file gets a card, and goes through
`calibrate` and `quantize`; `validate` scores the files that `export` writes, and `verify` proves them. Parts that
FOLDER already holds are not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from edgeailite.data import open_dataset
from edgeailite.data.source import DataSource
from edgeailite.data.streets.dataset import write_streets
from edgeailite.environment import machine_facts, machine_title

PICTURES, HELD_OUT = 300, 100
SIZE = (96, 192)
BATCH = 8
MEAN, SCALE = (123.675, 116.28, 103.53), (0.017125, 0.017507, 0.017429)
MACHINE = ("--device", "cpu", "--threads", "1")


class Network(nn.Module):
    """LRASPP as torchvision has it; the maps of classes alone."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (N,C,H,W)."""
        found: Tensor = self.network(pictures)["out"]
        return found


def tensors(source: DataSource) -> tuple[Tensor, Tensor]:
    """Return all pictures, normalised, and their labels."""
    height, width = SIZE
    images, labels = [], []
    for item in source.items:
        picture = cv2.cvtColor(cv2.imread(str(item.image)), cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        images.append(((picture - np.array(MEAN)) * np.array(SCALE)).transpose(2, 0, 1).astype(np.float32))
        label = source.targets["segmentation"].values(item.label, source.name)
        labels.append(cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int64))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def trained(source: DataSource, classes: int, epochs: int) -> Network:
    """Train from random values; pictures are mirrored half of the time."""
    torch.manual_seed(0)
    network = Network(classes)
    images, labels = tensors(source)
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            x, y = images[chosen], labels[chosen]
            if torch.rand(()) < 0.5:
                x, y = x.flip(3), y.flip(2)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y, ignore_index=255).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def write_file(data: Path, file: Path, classes: int, epochs: int) -> None:
    """Train, and write the float ONNX file with open sizes."""
    network = trained(open_dataset("streets", data, "train"), classes, epochs)
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    example = (torch.zeros(2, 3, *SIZE),)
    torch.onnx.export(
        network, example, file, dynamo=True, verbose=False, external_data=False, dynamic_shapes=(dynamic,)
    )


def edgeailite(*words: object) -> str:
    """Run a verb; return what it prints."""
    called = [sys.executable, "-m", "edgeailite", *map(str, words)]
    return subprocess.run(called, check=True, capture_output=True, text=True).stdout


def score(model: Path, data: Path) -> str:
    """Return the mIoU on the validation split, in per cent."""
    words = ("validate", model, "--data_path", data, "--split", "val", "--json", "True", *MACHINE)
    return f"{json.loads(edgeailite(*words).splitlines()[-1])['miou']:.2f}"


def main() -> int:
    """Make what is missing; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--qat_epochs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, file = options.folder / "streets", options.folder / "theirs.onnx"
    card, ptq, qat = (options.folder / name for name in ("theirs_card.onnx", "ptq", "qat"))
    write_streets(data, train=PICTURES, val=HELD_OUT)
    classes = open_dataset("streets", data, "val").targets["segmentation"].classes
    if not file.exists():
        write_file(data, file, len(classes), options.epochs)
    if not card.exists():
        value = ("--mean", *MEAN, "--scale", *SCALE, "--img_resize", *SIZE, "--dataset_name", "streets")
        edgeailite("card", file, "--classes", *classes, *value, "--interpolation", "area", "--save_path", card)
    if not ptq.exists():
        edgeailite("calibrate", card, "--data_path", data, "--save_path", ptq, "--workers", 0, *MACHINE)
    if not qat.exists():
        words = ("--epochs", options.qat_epochs, "--batch_size", BATCH, "--seed", 1, "--workers", 0)
        edgeailite("quantize", card, "--data_path", data, "--save_path", qat, *words, *MACHINE)
    rows = [("float, the file as it came", card)]
    for run, words in ((ptq, "calibrated"), (qat, f"trained, {options.qat_epochs} epochs")):
        edgeailite("export", run)
        print(edgeailite("verify", run, "--images", 4, "--threads", 1).splitlines()[-1], flush=True)
        rows.append((f"int8, {words}", run / "model_int8.onnx"))
    print(f"\n{machine_title(machine_facts(1))}, {HELD_OUT} pictures of val, {SIZE[0]}x{SIZE[1]}, one seed\n")
    print("| file, in onnxruntime | mIoU, % |\n|---|---|")
    for name, model in rows:
        print(f"| {name} | {score(model, data)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
