"""`edgeailite data show`: a contact sheet of a split, masks over pictures, as stored or as the training sees them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeailite.config import DataShowConfig
from edgeailite.console import log, print_result
from edgeailite.data import DataSource, open_dataset
from edgeailite.data.augment.transforms import Image, TrainTransform, resize_image, resize_label
from edgeailite.data.check.begin import locate
from edgeailite.data.check.survey import main_target
from edgeailite.data.files.images import write_png
from edgeailite.data.items import read_item
from edgeailite.drawing.plots import background, tint
from edgeailite.drawing.sheets import legend
from edgeailite.errors import DataError

GAP = 4  # pixels between pictures


def run(config: DataShowConfig) -> int:
    """Draw pictures, write the sheet and print its path; 1 if some could not be read."""
    name, root = locate(config.dataset_name, config.data_path)
    source = open_dataset(name, root, config.split)
    rng = np.random.default_rng(config.seed)
    chosen = sorted(rng.permutation(len(source.items))[: config.images].tolist())
    tiles, skipped = [], 0
    for index in chosen:
        try:
            tiles.append(tile(source, index, config))
        except DataError as error:
            log(f"skipped {error}")
            skipped += 1
    if not tiles:
        raise DataError(f"data set {name}: none of {skipped} pictures can be shown; run data check")
    page = sheet(tiles, config.columns)
    if main_target(source):
        page = np.concatenate(
            [page, legend(tuple(zip(source.classes, source.palette, strict=True)), width=page.shape[1])]
        )
    write(config.output, page)
    print_result("data show", {"sheet": str(config.output), "pictures": len(tiles), "skipped": skipped})
    return 1 if skipped else 0


def tile(source: DataSource, index: int, config: DataShowConfig) -> Image:
    """Return one picture with its classes drawn over it, `config.width` wide."""
    item = source.items[index]
    images, targets = read_item(source, item)
    order = sorted(range(len(images)), key=lambda stream: stream != item.camera)  # transforms take it first
    views = tuple(images[stream] for stream in order)
    if config.augment:
        transform = TrainTransform(config.img_resize, config.img_resize)
        views, targets = transform(views, targets, np.random.default_rng([config.seed, 0, index]))
    image, main = views[0], main_target(source)
    size = max(1, round(image.shape[0] * config.width / image.shape[1])), config.width
    small = resize_image(image, size, "area")
    if not main:
        return small
    classes = resize_label(targets[main], size)
    plain = background(source.classes, source.palette)
    return tint(small, classes, source.palette, alpha=config.alpha, plain=plain)


def sheet(tiles: list[Image], columns: int) -> Image:
    """Lay pictures of one width out in rows, each row as high as its highest picture, white between."""
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = (tiles[0].shape[1] + GAP) * min(columns, len(tiles)) + GAP
    height = sum(max(one.shape[0] for one in row) + GAP for row in rows) + GAP
    page = np.full((height, width, 3), 255, np.uint8)
    top = GAP
    for row in rows:
        left = GAP
        for one in row:
            page[top : top + one.shape[0], left : left + one.shape[1]] = one
            left += one.shape[1] + GAP
        top += max(one.shape[0] for one in row) + GAP
    return page


def write(path: Path, page: Image) -> None:
    """Write the sheet as PNG. DataError if it cannot be."""
    try:
        write_png(path, page)
    except (OSError, cv2.error) as error:
        reason = error.strerror if isinstance(error, OSError) else "too large"
        raise DataError(f"{path}: cannot be written ({reason}); choose another --output", code="unwritable") from None
