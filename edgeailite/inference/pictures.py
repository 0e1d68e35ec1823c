"""Reading a picture for the network and writing what came of it: the two ends of `infer`, run by threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.data.augment.transforms import resize_image
from edgeailite.data.files.images import decode_image, read_file
from edgeailite.data.samples import picture_planes
from edgeailite.errors import DataError
from edgeailite.files import sha256_of, write_result
from edgeailite.inference.drawing import Output, draw
from edgeailite.inference.shares import cell, class_shares
from edgeailite.inference.sources import Input, companion
from edgeailite.inference.whole_pictures import WholeOutput
from edgeailite.inference.writing import finished, foreign, is_result, png
from edgeailite.preprocessing import Preprocessing

Image = NDArray[np.uint8]
FINISHED, EARLIER_RESULT = "finished", "earlier result"


@dataclass(frozen=True)
class ResultSettings:
    """Result files for every picture: kinds of every output, below a folder. `shares`: whether to keep rows.

    `manifest`: whether to keep one. `whole` are outputs with a class for the whole picture, which have rows. `part` is
    the folder, below this one, of the tables of a part of a job.
    """

    folder: Path
    outputs: tuple[Output, ...]
    kinds: tuple[str, ...]
    alpha: float
    shares: bool = True
    manifest: bool = False
    part: str = ""
    whole: tuple[WholeOutput, ...] = ()

    @property
    def tables(self) -> Path:
        """Return the folder of the tables."""
        return self.folder / self.part

    def files(self, target: Path) -> list[Path]:
        """Return the files of a picture whose results have this relative path."""
        return [output.path(self.folder / target, kind) for output in self.outputs for kind in self.kinds]


@dataclass(frozen=True)
class Picture:
    """A picture read: `image` (H,W,3) as results are drawn on, `inputs` (1,3,h,w) uint8 as the network takes them."""

    found: Input
    image: Image
    inputs: tuple[Image, ...]
    sha256: str = ""  # of the file's bytes, for a manifest


@dataclass(frozen=True)
class SkippedPicture:
    """A picture that is not labelled: FINISHED, an EARLIER_RESULT among the inputs, or why it cannot be."""

    found: Input
    why: str
    sha256: str = ""  # of the file's bytes, for a manifest


@dataclass(frozen=True)
class PictureReader:
    """A function `read(found)` that reads the picture of a file.

    `beside` are the folders of the other input streams, in their order; `camera` is the position of the picture itself
    among the inputs. With `resume`, finished pictures are not read.
    """

    settings: ResultSettings
    preprocessing: Preprocessing
    beside: tuple[Path, ...] = ()
    camera: int = 0
    resume: bool = False
    known: frozenset[str] = frozenset()  # pictures with a row in every table
    in_manifest: frozenset[str] = frozenset()  # names of those with a line of the manifest

    def __call__(self, found: Input) -> Picture | SkippedPicture:
        """Never raises for what a file holds."""
        files = self.settings.files(found.target)
        if self.resume and finished(files) and self._has_rows(found):
            return SkippedPicture(found, FINISHED)
        digest = ""
        try:
            if found.problem:
                raise DataError(f"{found.source}: {found.problem}")
            data = read_file(found.source)[0]
            digest = sha256_of(data) if self.settings.manifest else ""
            if is_result(data):
                return SkippedPicture(found, EARLIER_RESULT)
            in_the_way = foreign(files)
            if in_the_way is not None:
                raise DataError(
                    f"{found.source}: {in_the_way} is there and no result of infer; it is not overwritten",
                    code="not-ours",
                )
            image = decode_image(found.source, data)
            others = [companion(folder, found) for folder in self.beside]
            images = [decode_image(path, read_file(path)[0]) for path in others]
        except DataError as error:
            return SkippedPicture(found, str(error), digest)
        images.insert(self.camera, image)
        return Picture(found, image, tuple(as_input(each, self.preprocessing) for each in images), digest)

    def _has_rows(self, found: Input) -> bool:
        """Return True if the picture is in all tables that are kept."""
        rows = not (self.settings.shares or self.settings.whole) or cell(str(found.source)) in self.known
        return rows and (not self.settings.manifest or found.name in self.in_manifest)


def as_input(image: Image, preprocessing: Preprocessing, *, size: tuple[int, int] | None = None) -> Image:
    """Return a picture (H,W,3) as an input (1,3,height,width) uint8, resized as in validation, or to `size`."""
    return picture_planes(resize_image(image, size or preprocessing.size, preprocessing.interpolation))[None]


def write(settings: ResultSettings, target: Path, image: Image, results: Mapping[str, NDArray[Any]]) -> list[float]:
    """Write the pictures of all outputs (by key; of the image's size); gives the row of class shares."""
    for output, kind, data in encoded(settings.outputs, settings.kinds, image, results, alpha=settings.alpha):
        write_result(output.path(settings.folder / target, kind), data, "save_path")
    return shares_of(settings.outputs, results) if settings.shares else []


def encoded(
    outputs: Sequence[Output],
    kinds: Sequence[str],
    image: Image,
    results: Mapping[str, NDArray[Any]],
    *,
    alpha: float,
) -> Iterator[tuple[Output, str, bytes]]:
    """Yield the PNG of each kind of each output, from results (by key; of the image's size)."""
    for output in outputs:
        for kind, pixels in draw(output, results[output.key], image, kinds, alpha=alpha).items():
            yield output, kind, png(pixels)


def shares_of(outputs: Sequence[Output], results: Mapping[str, NDArray[Any]]) -> list[float]:
    """Return the class shares of all outputs with classes, one output after the other."""
    return [share for output in outputs if not output.is_depth for share in class_shares(output, results[output.key])]
