"""What the published `infer_segmentation_main.py` does: the pictures of a data set labelled, and measured if it can be.

Below the folder: `Task0/NAME_label.png` (classes), `_color.png` and `_overlay.png` (published: blend) at `output_size`,
`Task0.mp4` of the overlays where OpenCV writes one, and `metric.txt`. mIoU is the mean over classes that occur.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeailite.commands.common import log, print_result, progress
from edgeailite.commands.infer import Task, label_picture, write_results
from edgeailite.commands.opening import Opened, classified, open_model
from edgeailite.commands.validate import dataset_of
from edgeailite.data import DataSource, open_dataset
from edgeailite.data.images import read_image
from edgeailite.data.source import Item
from edgeailite.data.transforms import Image, resize_image, resize_label
from edgeailite.engine import select_device
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import part_of
from edgeailite.metrics import confusion_matrix, scores
from edgeailite.plots import colorize, overlay
from edgeailite.published.weights import training_config

ALPHA = 0.5
FRAMES_PER_SECOND = 5.0
TASK = "Task0"
METRIC = "metric.txt"


def label_dataset(model: Path, options: Mapping[str, Sequence[str]], folder: Path) -> int:
    """Write results of every picture of the validation split below `folder`, and mIoU where there are labels."""
    config = training_config(options)
    opened = open_model(model, device=select_device(config.device), threads=config.threads)
    if not classified(opened.card):
        raise UsageError(f"{model}: the network has no output with classes, only {', '.join(opened.card.outputs)}")
    source = open_dataset(config.dataset_name, config.data_path, "val")
    given, taken = len(source.items[0].images), len(opened.card.inputs)
    if given != taken:
        raise UsageError(f"--dataset_name {source.name}: has {given} picture(s) per sample, but {model} takes {taken}")
    labelled = bool(source.items[0].labels)
    if labelled:
        source = dataset_of(opened.card, config.dataset_name, config.data_path, "val")
    chosen = [source.items[index] for index in part_of(len(source.items), config.epoch_size)]
    classes = opened.card.outputs[classified(opened.card)[0]]
    total = np.zeros((classes, classes), np.int64)
    with progress("infer", len(chosen)) as (bar, task), _video(folder / f"{TASK}.mp4") as show:
        for item in chosen:
            labels, picture = _labelled(opened, item, config.output_size)
            write_results(_task(item, folder), labels, picture, palette=opened.card.palette, alpha=ALPHA)
            show(overlay(picture, colorize(labels, opened.card.palette), ALPHA))
            if labelled:
                total += confusion_matrix(_target(source, item, opened, labels.shape[:2]), labels, classes)
            bar.advance(task)
    found = {"labelled": len(chosen), "folder": str(folder)}
    if labelled:
        found |= _metric(folder / METRIC, total)
    print_result("infer", found)
    return 0


def _labelled(opened: Opened, item: Item, size: tuple[int, int] | None) -> tuple[Image, Image]:
    """Class indices and the picture, both at `size` or the picture's own."""
    pictures = [read_image(path) for path in item.images]
    labels = label_picture(opened, *pictures, size=size)
    picture = pictures[item.camera]
    return labels, resize_image(picture, labels.shape[:2], opened.card.preprocessing.interpolation)


def _task(item: Item, folder: Path) -> Task:
    """Named after the folder and the file of a picture, as published."""
    return Task(item.image, folder / TASK / f"{item.image.parent.name}_{item.image.stem}")


def _target(source: DataSource, item: Item, opened: Opened, size: tuple[int, int]) -> Image:
    name = classified(opened.card)[0]
    target: Image = resize_label(source.targets[name].values(item.labels[name], source.name), size)
    return target


def _metric(path: Path, confusion: np.ndarray) -> dict[str, float]:
    """Write and give back mIoU and pixel accuracy, in per cent."""
    result = scores(confusion)
    values = {"miou": round(100 * result.miou, 3), "pixel_accuracy": round(100 * result.pixel_accuracy, 3)}
    with _written(path):
        path.write_text("".join(f"{name} {value}\n" for name, value in values.items()), encoding="utf-8")
    return values


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Raises DataError where this file cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --save_path") from None


class _Video:
    """Frames to a file; the first one's size is that of all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: cv2.VideoWriter | None = None

    def __call__(self, frame: Image) -> None:
        size = frame.shape[1], frame.shape[0]
        if self.writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self.writer = cv2.VideoWriter(str(self.path), code, FRAMES_PER_SECOND, size)
            if not self.writer.isOpened():
                log(f"no video: this OpenCV cannot write {self.path}")
        self.writer.write(np.ascontiguousarray(frame[..., ::-1]))


@contextlib.contextmanager
def _video(path: Path) -> Iterator[_Video]:
    with _written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    video = _Video(path)
    try:
        yield video
    finally:
        if video.writer is not None:
            video.writer.release()
