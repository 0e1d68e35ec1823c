"""The published `test.py`: writes a picture beside its prediction, and a list of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeailite.cli import parse
from edgeailite.compat.ade20k_reading import Ade20kCommand
from edgeailite.compat.ade20k_weights import model_options
from edgeailite.compat.weights import as_model, as_words
from edgeailite.config import ValidateConfig
from edgeailite.data.augment.transforms import Image
from edgeailite.data.files.images import read_image, write_png
from edgeailite.device import select_device
from edgeailite.drawing.plots import colorize
from edgeailite.errors import UsageError
from edgeailite.evaluation import Views
from edgeailite.files import unwritable
from edgeailite.inference import find_pictures, label_picture, result_names
from edgeailite.runs.open import OpenModel, open_model

LEAST_SHARE = 0.001  # of the pixels: smaller classes are not printed


def test(command: Ade20kCommand) -> int:
    """Write picture and prediction side by side, and print the classes of each picture."""
    name = next((name for name in ("imgs", "test_imgs", "test_img") if name in command.settings), None)
    if name is None:
        raise UsageError("--imgs is missing: a picture, or a folder of pictures")
    result = Path(command.setting("TEST.result") or ".")
    source = Path(command.setting(name))
    earlier = result if source.resolve() in result.resolve().parents else source
    pictures = find_pictures(source, apart_from=earlier)
    outputs = result_paths(pictures, source, result)
    lost = {picture.resolve() for picture in pictures} & {output.resolve() for output in outputs}
    if lost:
        raise UsageError(
            f"TEST.result {result}: would overwrite the input {lost.pop()}; choose another folder", code="not-ours"
        )
    with as_model(model_options(command, "TEST.checkpoint"), {}) as model:
        config: ValidateConfig = parse("validate", _view_words(command, model), prog="published command")
        opened = open_model(model, device=select_device(config.device), threads=config.threads)
        views = Views(
            short_edges=config.short_edges,
            padding=config.padding,
            max_size=config.max_size,
            interpolation=opened.card.preprocessing.interpolation,
        )
        for picture, output in zip(pictures, outputs, strict=True):
            _test(opened, picture, output, views)
    return 0


def result_paths(pictures: Sequence[Path], source: Path, result: Path) -> list[Path]:
    """Return STEM.png in the folder for each picture, as published. Where stems occur twice, return the paths below
    `source`, as `edgeailite infer` names them.
    """
    if len({picture.stem.casefold() for picture in pictures}) == len(pictures):
        return [result / f"{picture.stem}.png" for picture in pictures]
    names = zip(pictures, result_names(pictures), strict=True)
    return [result / picture.relative_to(source).with_name(f"{name}.png") for picture, name in names]


def _view_words(command: Ade20kCommand, model: Path) -> list[str]:
    names = ("short_edges", "max_size", "padding", "device", "threads")
    return [
        "--model",
        str(model),
        *as_words({name: command.options[name] for name in names if name in command.options}),
    ]


def _test(opened: OpenModel, picture: Path, output: Path, views: Views) -> None:
    image = read_image(picture)
    labels = label_picture(opened, image, views=views)
    print(f"{picture}:")
    for name, share in shares(labels, opened.card.classes):
        print(f"  {name}: {100 * share:.2f}%")
    try:
        write_png(output, np.concatenate([image, colorize(labels, opened.card.palette)], axis=1))
    except OSError as error:
        raise unwritable(output, error, fix="choose another TEST.result") from None


def shares(labels: Image, classes: Sequence[str]) -> list[tuple[str, float]]:
    """Return the classes with more than 0.1 % of the pixels and their shares, largest first."""
    counts = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    found = [(classes[index], float(counts[index])) for index in np.argsort(-counts, kind="stable")]
    return [(name, share) for name, share in found if share > LEAST_SHARE]
