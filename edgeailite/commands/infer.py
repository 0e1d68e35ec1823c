"""`edgeailite infer`: label pictures with a run, a checkpoint or an ONNX file.

For each picture NAME_label.png (class indices), NAME_color.png and NAME_overlay.png at the picture's own size, in the
same folders below `save_path` as below the input. NAME is the stem, or the whole file name where two pictures of a
folder share a stem. No input picture is ever written to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np

from edgeailite.commands.common import log, print_result, progress, set_threads
from edgeailite.commands.opening import Opened, classified, open_model
from edgeailite.config import InferConfig
from edgeailite.data.images import IMAGE_SUFFIXES, read_image, write_png
from edgeailite.data.tensors import picture_tensor
from edgeailite.data.transforms import Image, resize_image
from edgeailite.engine import select_device
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import PLAIN, Views, class_maps
from edgeailite.modelcard import ModelCard
from edgeailite.plots import colorize, overlay

KINDS = ("label", "color", "overlay")


@dataclass(frozen=True)
class Task:
    """A picture, and the path of its results without `_label.png` and the like."""

    picture: Path
    target: Path

    def outputs(self) -> dict[str, Path]:
        """The files to write, by kind."""
        return {kind: self.target.with_name(f"{self.target.name}_{kind}.png") for kind in KINDS}


def run(config: InferConfig) -> int:
    """Label every picture and print where; 1 if some were skipped. Raises DataError if none could be read."""
    tasks = plan(config.input, config.save_path)
    set_threads(config.threads)
    opened = open_model(config.model, device=select_device(config.device), threads=config.threads)
    _check_takes_pictures(opened.card, config.model)
    skipped = []
    with progress("infer", len(tasks)) as (bar, task):
        for step in tasks:
            try:
                image = read_image(step.picture)
            except DataError as error:
                log(f"skipped {error}")
                skipped.append(str(error))
            else:
                write_results(
                    step, label_picture(opened, image), image, palette=opened.card.palette, alpha=config.alpha
                )
            bar.advance(task)
    if len(skipped) == len(tasks):
        raise DataError(skipped[0] if len(tasks) == 1 else f"{config.input}: none of {len(tasks)} pictures can be read")
    counts = {"labelled": len(tasks) - len(skipped), "skipped": len(skipped)}
    print_result("infer", {"model": str(config.model), **counts, "folder": str(config.save_path)})
    return 1 if skipped else 0


def label_picture(opened: Opened, *pictures: Image, size: tuple[int, int] | None = None, views: Views = PLAIN) -> Image:
    """Class indices (H,W) uint8 of pictures (H,W,3) RGB of one size, one per input, preprocessed as in validation.

    They have the pictures' size or `size`. Of several outputs with classes, `segmentation` or the first. With `views`
    the pictures are looked at several times.
    """
    pre = opened.card.preprocessing
    own = pictures[0].shape[0], pictures[0].shape[1]
    shown = own if views.short_edges else (pre.height, pre.width)
    images = tuple(picture_tensor(resize_image(picture, shown, pre.interpolation))[None] for picture in pictures)
    output = classified(opened.card)[0]
    labels: Image = class_maps(opened.predict, images, size or own, output=output, views=views)[0]
    return labels.astype(np.uint8)


def _check_takes_pictures(card: ModelCard, source: Path) -> None:
    """Raises UsageError for networks whose result cannot be drawn, or that want more than a picture."""
    if len(card.inputs) > 1:
        raise UsageError(
            f"infer {source}: the network takes {len(card.inputs)} pictures at a time; infer has one, "
            "use `edgeailite validate` on its data set"
        )
    if not classified(card):
        raise UsageError(f"infer {source}: the network has no output with classes, only {', '.join(card.outputs)}")


def plan(source: Path, save_path: Path) -> list[Task]:
    """What is to be read and written. Raises DataError (nothing to read) or UsageError (an input would be lost)."""
    pictures = find_pictures(source, apart_from=save_path)
    root = source if source.is_dir() else source.parent
    tasks = [
        Task(picture, save_path / picture.relative_to(root).with_name(name))
        for picture, name in zip(pictures, result_names(pictures), strict=True)
    ]
    inputs = {picture.resolve() for picture in pictures}
    for task in tasks:
        for output in task.outputs().values():
            if output.resolve() in inputs:
                raise UsageError(f"--save_path {save_path}: would overwrite the input {output}; choose another folder")
    return tasks


def find_pictures(source: Path, *, apart_from: Path) -> list[Path]:
    """The picture, or all of a folder at any depth, sorted; without earlier results, `apart_from`, if inside it."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such picture or folder")
    results = apart_from.resolve()
    inside = results != source.resolve()
    pictures = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not (inside and results in path.resolve().parents)
    ]
    if not pictures:
        raise DataError(f"{source}: no pictures in this folder ({', '.join(IMAGE_SUFFIXES)})")
    return pictures


def result_names(pictures: Sequence[Path]) -> list[str]:
    """A name for each picture's results, unique in its folder also where case does not count."""
    stems = Counter(_key(picture, picture.stem) for picture in pictures)
    taken: set[str] = set()
    names = []
    for picture in pictures:
        alone = stems[_key(picture, picture.stem)] == 1
        choices = chain([picture.stem] if alone else [], [picture.name], (f"{picture.name}_{n}" for n in count(2)))
        name = next(choice for choice in choices if _key(picture, choice) not in taken)
        taken.add(_key(picture, name))
        names.append(name)
    return names


def _key(picture: Path, name: str) -> str:
    return str(picture.with_name(name)).casefold()


def write_results(
    task: Task, labels: Image, image: Image, *, palette: Sequence[tuple[int, int, int]], alpha: float
) -> None:
    """Write label map, colours and overlay of a picture. Raises DataError where they cannot be written."""
    colors = colorize(labels, palette)
    results = {"label": labels, "color": colors, "overlay": overlay(image, colors, alpha)}
    for kind, path in task.outputs().items():
        try:
            write_png(path, results[kind])
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --save_path") from None
