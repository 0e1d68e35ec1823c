"""A cache of decoded and resized pictures and targets on disk, so that later epochs and trainings need not decode them.

A cache is a folder per data set, split, size and rule: `data.bin` holds the arrays one after the other, `index.json`
says where each lies, its checksum, and what it was made from: the size and time of change of every picture and label,
the meaning of the label values, the resize rule and this format. (A file that the reader of a label looks up on its
own, such as the camera file of a depth map, is not watched.) The data is read through a memory map, so that processes
share it. A training from a cache sees the same bytes as one without.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import math
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeailite.data.augment.transforms import Images, Targets, resize_image, resize_label
from edgeailite.data.items import read_item
from edgeailite.data.source import DataSource, Item
from edgeailite.errors import DataError, option
from edgeailite.files import TEMPORARY, read_regular, sha256_of, unreadable, unwritable
from edgeailite.untrusted import json_value

FORMAT = 1  # raise it when the same files give other arrays
INDEX, DATA = "index.json", "data.bin"
LONGEST_INDEX = 1 << 30  # bytes
DTYPES = frozenset({"|u1", "<f4"})  # of pictures and class maps, and of depths
Size = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Place of an array in data.bin, its shape and type, and the CRC-32 of its bytes."""

    start: int
    shape: tuple[int, ...]
    dtype: str
    checksum: int

    @property
    def length(self) -> int:
        """Return the length in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class CachedSource(DataSource):
    """A data source whose pictures and targets come from `folder`; `open_cache` makes one."""

    folder: Path = field(kw_only=True)
    places: tuple[tuple[tuple[Place, ...], dict[str, Place]], ...] = field(kw_only=True, repr=False)

    def read(self, index: int) -> tuple[Images, Targets]:
        """Read pictures and targets of item `index`. Raises DataError if the cache is damaged."""
        images, targets = self.places[index]
        return tuple(self._array(place) for place in images), {k: self._array(v) for k, v in targets.items()}

    @cached_property
    def _data(self) -> NDArray[np.uint8]:
        return np.asarray(np.memmap(self.folder / DATA, np.uint8, "r"))

    def __getstate__(self) -> dict[str, Any]:
        """Without the memory map: a process that is given the source maps the file itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_data"}

    def _array(self, place: Place) -> NDArray[Any]:
        stored = self._data[place.start : place.start + place.length]
        if len(stored) != place.length or zlib.crc32(stored.data) != place.checksum:
            raise DataError(
                f"damaged at byte {place.start}",
                path=self.folder / DATA,
                fix=f"delete {self.folder}, write it again",
                code="damaged",
            )
        return stored.view(place.dtype).reshape(place.shape)


def cache_folder(root: Path, source: DataSource, *, size: Size | None, interpolation: str) -> Path:
    """Return the folder of a split's cache below `root`; `size` None = pictures in their own size."""
    form = "own_size" if size is None else f"{size[0]}x{size[1]}_{interpolation}"
    return root / f"{source.name}_{source.split}_{form}"


def write_cache(
    source: DataSource,
    root: Path,
    *,
    size: Size | None,
    interpolation: str = "linear_exact",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the cache of a split and return its folder; a complete and current one is left as it is.

    Raises DataError for a damaged picture, and for a full or read-only disk; then no partial cache is left.
    """
    folder = cache_folder(root, source, size=size, interpolation=interpolation)
    fingerprint = _fingerprint(source, size, interpolation)
    if _is_current(folder, fingerprint):
        return folder
    partial = root / f".{folder.name}.{secrets.token_hex(8)}{TEMPORARY}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for leftover in root.glob(f".{glob.escape(folder.name)}.*{TEMPORARY}"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a writer that was killed; never through a link
        partial.mkdir()
        entries = _write_arrays(source, partial / DATA, size, interpolation, progress)
        index = {"format": FORMAT, "fingerprint": fingerprint, "bytes": (partial / DATA).stat().st_size}
        (partial / INDEX).write_text(json.dumps({**index, "items": entries}))
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        raise unwritable(folder, error, fix=f"choose another {option('cache')}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def open_cache(
    source: DataSource, root: Path, *, size: Size | None, interpolation: str = "linear_exact"
) -> CachedSource:
    """Open a source with its arrays from the cache. Raises DataError if the cache is missing, stale or damaged."""
    folder = cache_folder(root, source, size=size, interpolation=interpolation)
    again = f"write it with `edgeailite data cache --cache {root}` and the options of this training"
    if not folder.is_dir():
        raise DataError(f"no cache {folder.name} in it", about="cache", value=root, fix=again, code="missing-file")
    index = _read_index(folder)
    if index["fingerprint"] != _fingerprint(source, size, interpolation):
        raise DataError(
            f"stale, files of {source.name} have changed since", fix=again, path=folder, code="changed-data"
        )
    values = {entry.name: getattr(source, entry.name) for entry in dataclasses.fields(DataSource)}
    try:
        places = tuple(
            (tuple(_place(row) for row in images), {name: _place(row) for name, row in targets.items()})
            for images, targets in index["items"]
        )
    except (TypeError, ValueError, AttributeError):
        raise _damaged(folder) from None
    if len(places) != len(source.items):
        raise _damaged(folder)
    return CachedSource(**values, folder=folder, places=places)


def _write_arrays(
    source: DataSource, path: Path, size: Size | None, interpolation: str, progress: Callable[[int, int], None] | None
) -> list[Any]:
    """All arrays into one file; gives the entries of the index."""
    entries: list[Any] = []
    with path.open("wb") as file:
        for done, item in enumerate(source.items, start=1):
            images, targets = _resized(source, item, size, interpolation)
            rows = [_append(file, image) for image in images]
            entries.append((rows, {name: _append(file, values) for name, values in targets.items()}))
            if progress is not None:
                progress(done, len(source.items))
    return entries


def _resized(source: DataSource, item: Item, size: Size | None, interpolation: str) -> tuple[Images, Targets]:
    images, targets = read_item(source, item)
    if size is None:
        return images, targets
    return tuple(resize_image(image, size, interpolation) for image in images), {
        name: resize_label(values, size) for name, values in targets.items()
    }


def _append(file: Any, values: NDArray[Any]) -> tuple[int, list[int], str, int]:
    """Write an array at a multiple of 64 bytes; gives its place as a row."""
    file.write(bytes(-file.tell() % 64))
    start, data = file.tell(), np.ascontiguousarray(values)
    file.write(data.data)
    return start, list(values.shape), values.dtype.str, zlib.crc32(data.data)


def _place(row: Iterable[Any]) -> Place:
    start, shape, dtype, checksum = row
    if not all(isinstance(number, int) and number >= 0 for number in (start, checksum, *shape)) or dtype not in DTYPES:
        raise ValueError("no place of an array")
    return Place(start, tuple(shape), dtype, checksum)


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = json_value(read_regular(folder / INDEX, limit=LONGEST_INDEX), where=INDEX)
        size = (folder / DATA).stat().st_size
        whole = index["format"] == FORMAT and index["bytes"] == size and {"fingerprint", "items"} <= set(index)
    except (OSError, DataError, KeyError, TypeError):
        whole = False
    if not whole:
        raise _damaged(folder)
    found: dict[str, Any] = index
    return found


def _damaged(folder: Path) -> DataError:
    return DataError("damaged or of another version", fix="delete it and write it again", path=folder, code="damaged")


def _is_current(folder: Path, fingerprint: str) -> bool:
    try:
        return folder.is_dir() and bool(_read_index(folder)["fingerprint"] == fingerprint)
    except DataError:
        return False


def _fingerprint(source: DataSource, size: Size | None, interpolation: str) -> str:
    """SHA-256 of everything that the arrays depend on."""
    header = [FORMAT, cv2.__version__, source.name, source.split, size, interpolation if size else None]

    def parts() -> Iterator[bytes]:
        """Yield the bytes that the fingerprint is made of."""
        yield repr(header).encode()
        for name, target in source.targets.items():
            meaning = sorted(getattr(target, "label_map", {}).items())
            yield repr((name, type(target).__name__, meaning)).encode()
        for item in source.items:
            for entry in (*item.images, *item.labels.values()):
                yield _state(entry)

    return sha256_of(parts())


def _state(entry: Any) -> bytes:
    """Describe the source of an entry: a file by name, size and time of change, any other label source by its parts."""
    if isinstance(entry, Path):
        try:
            stat = entry.stat()
        except OSError as error:
            raise unreadable(entry, error, fix="replace it or leave it out") from None
        return f"{entry.absolute()} {stat.st_size} {stat.st_mtime_ns}\n".encode()
    if isinstance(entry, np.ndarray):
        return repr((entry.shape, entry.dtype.str)).encode() + entry.tobytes()
    if dataclasses.is_dataclass(entry):
        entry = [getattr(entry, part.name) for part in dataclasses.fields(entry)]
    if isinstance(entry, (list, tuple)):
        return b"(" + b"".join(_state(part) for part in entry) + b")"
    return repr(entry).encode() + b"\n"
