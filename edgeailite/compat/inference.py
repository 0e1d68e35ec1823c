"""The published `infer_segmentation_main.py`: labels the pictures of a data set, and measures mIoU if there are labels.

Below the folder, for each output in the network's order: `Task0/NAME_label.png` (classes), `_color.png` and
`_overlay.png` (published: blend) at `output_size`, and `Task0.mp4` of the overlays. `metric.txt` holds mIoU and pixel
accuracy of `segmentation`, or of the first output with classes. mIoU is the mean over classes that occur.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeailite.cli import parse
from edgeailite.compat.weights import as_words, training_config
from edgeailite.config import InferConfig
from edgeailite.console import print_result, progress
from edgeailite.data import DataSource, open_dataset
from edgeailite.data.augment.transforms import Image, resize_image, resize_label
from edgeailite.data.files.images import read_image
from edgeailite.data.source import Item
from edgeailite.device import select_device
from edgeailite.errors import UsageError
from edgeailite.evaluation import part_of, results_at
from edgeailite.files import unwritable, write_atomic
from edgeailite.inference import ResultSettings, as_input, draw, outputs_of, write
from edgeailite.inference.labels import original_values
from edgeailite.inference.video import Writer
from edgeailite.metrics import confusion_matrix, scores
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.open import OpenModel, open_model

FRAMES_PER_SECOND = 5.0
METRIC = "metric.txt"
KINDS = ("labels", "colors", "overlay")
OF_TRAIN = ("dataset_name", "data_path", "save_path", "epoch_size", "output_size", "device", "threads")
OF_INFER = ("write", "alpha", "original_ids", "video", "video_format", "fps")  # with the meaning that they have there


def label_dataset(
    model: Path, options: Mapping[str, Sequence[str]], folder: Path, *, given: Mapping[str, Sequence[str]]
) -> int:
    """Label every picture of the validation split and write the results below `folder`, with mIoU if there are labels.

    `given` are the options that the user named; those in OF_INFER choose the files to write.
    """
    look = _look(given)
    config = training_config(options)
    opened = open_model(model, device=select_device(config.device), threads=config.threads)
    if not opened.card.classified:
        raise UsageError(
            f"{model}: the network has no map of classes, only {', '.join(opened.card.outputs)}", code="wrong-kind"
        )
    source = open_dataset(config.dataset_name, config.data_path, "val")
    offered, taken = len(source.items[0].images), len(opened.card.inputs)
    if offered != taken:
        raise UsageError(
            f"--dataset_name {source.name}: has {offered} picture(s) per sample, but {model} takes {taken}",
            code="no-fit",
        )
    labelled = bool(source.items[0].labels)
    if labelled:
        source = dataset_of(opened.card, config.dataset_name, config.data_path, "val")
    chosen = [source.items[index] for index in part_of(len(source.items), config.epoch_size)]
    main = opened.card.classified[0]
    total = np.zeros((opened.card.outputs[main], opened.card.outputs[main]), np.int64)
    tasks = _tasks(opened, folder, look, config.data_path)
    with progress("infer", len(chosen)) as (bar, task), contextlib.ExitStack() as stack:
        rate = look.fps or FRAMES_PER_SECOND
        videos = [stack.enter_context(_video(_beside(wanted.folder, look.video_format), rate)) for wanted in tasks]
        for item in chosen:
            found, picture = _labelled(opened, item, config.output_size)
            for wanted, video in zip(tasks, videos, strict=True):
                output = wanted.outputs[0]
                write(wanted, _target_path(item), picture, found)
                video.add(draw(output, found[output.key], picture, (look.video,), alpha=look.alpha)[look.video])
            if labelled:
                labels = found[main]
                total += confusion_matrix(_target(source, item, main, labels.shape[:2]), labels, len(total))
            bar.advance(task)
    values = {"labelled": len(chosen), "folder": str(folder)}
    if labelled:
        values |= _metric(folder / METRIC, total)
    print_result("infer", values)
    return 0


def _look(given: Mapping[str, Sequence[str]]) -> InferConfig:
    """Take from the user's options those of `edgeailite infer` that decide how results look."""
    named = {"write": KINDS} | {name: given[name] for name in OF_INFER if name in given}
    if "shares" in named["write"]:
        raise UsageError("--write shares: `edgeailite infer` writes them; here labels colors overlay side_by_side")
    words = as_words({"model": ["published"], "input": ["published"], **named})
    look: InferConfig = parse("infer", words, prog="published command")
    return look


def _tasks(opened: OpenModel, folder: Path, look: InferConfig, data: Path | None) -> list[ResultSettings]:
    """List what to write of each output: in a folder of its own, without the output in the files' names."""
    values = original_values(opened.card, data) if look.original_ids else {}
    outputs = [replace(output, name="") for output in outputs_of(opened.card, values)]
    return [
        ResultSettings(folder / f"Task{i}", (o,), look.write, look.alpha, shares=False) for i, o in enumerate(outputs)
    ]


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


def _labelled(opened: OpenModel, item: Item, size: tuple[int, int] | None) -> tuple[dict[str, Image], Image]:
    """Return the result of every output and the picture, all at `size` or the picture's own size."""
    pictures = [read_image(path) for path in item.images]
    picture = pictures[item.camera]
    shown = size or (picture.shape[0], picture.shape[1])
    outputs = opened.predict(tuple(as_input(each, opened.card.preprocessing) for each in pictures))
    maps = {name: outputs[name] for name in opened.card.maps}
    return results_at(maps, shown), resize_image(picture, shown, opened.card.preprocessing.interpolation)


def _target_path(item: Item) -> Path:
    """Named after the folder and the file of a picture, as published."""
    return Path(f"{item.image.parent.name}_{item.image.stem}")


def _target(source: DataSource, item: Item, name: str, size: tuple[int, int]) -> Image:
    target: Image = resize_label(source.targets[name].values(item.labels[name], source.name), size)
    return target


def _metric(path: Path, confusion: np.ndarray) -> dict[str, float]:
    """Write and give back mIoU and pixel accuracy, in per cent."""
    result = scores(confusion)
    values = {"miou": round(100 * result.miou, 3), "pixel_accuracy": round(100 * result.pixel_accuracy, 3)}
    with _written(path):
        write_atomic(path, "".join(f"{name} {value}\n" for name, value in values.items()))
    return values


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Raises DataError where this file cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, fix="choose another --save_path") from None


@contextlib.contextmanager
def _video(path: Path, rate: float) -> Iterator[Writer]:
    """A video that is finished with the block; nothing stays of it where that raises."""
    with _written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    video = Writer(path, rate)
    try:
        yield video
        video.finish()
    finally:
        video.discard()
