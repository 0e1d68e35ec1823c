"""Fingerprint of a run's data, kept in its state: pictures of both splits and the meaning of label values.

A run that went on with other pictures, or with classes that mean something else, would silently be the training of
neither data set. Pictures are known by name below the data set's folder, size, and parts of their content: a copy on
another machine is the same data set. Of large data sets only some files are opened, always the same ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeailite.data import DataSource
from edgeailite.data.source import IGNORE, ClassTarget, Item
from edgeailite.errors import counted
from edgeailite.files import open_regular
from edgeailite.untrusted import Fields, printable

MOST_OPENED = 4000  # pictures whose files are opened; the names and sizes of all count
PART = 16 << 10  # bytes read at the beginning, in the middle and at the end of a file
MOST_NAMES = 256 << 20  # bytes of all names
SHOWN = 3
COLUMNS = 4  # size and mark of the pictures of an item, size and mark of its labels
Meanings = Mapping[str, tuple[tuple[str, ...], Mapping[int, int]]]  # by target: class names, classes by label value


@dataclass(frozen=True)
class Split:
    """Pictures in their order, and for each a row of COLUMNS; one in `every` has marks, 0 stands for none."""

    names: tuple[str, ...]
    rows: NDArray[np.int64]
    every: int
    meanings: Meanings


def split_of(source: DataSource, root: Path, *, every: int | None = None) -> Split:
    """Compute the fingerprint of a split below `root`; `every` as in the one that it is compared with."""
    root = root.absolute()
    names = _unique([_name(item, root) for item in source.items])
    step = every or max(1, math.ceil(len(names) / MOST_OPENED))
    rows = np.array(
        [_row(item, marked=_is_marked(name, step)) for name, item in zip(names, source.items, strict=True)], np.int64
    )
    meanings = {
        name: (target.classes, dict(target.label_map)) if isinstance(target, ClassTarget) else ((), {})
        for name, target in source.targets.items()
    }
    return Split(names, rows.reshape(-1, COLUMNS), step, meanings)


def packed(split: Split) -> dict[str, Any]:
    """Return plain values and tensors, as a checkpoint keeps them."""
    names = zlib.compress("\n".join(split.names).encode("utf-8", "surrogateescape"))
    return {
        "names": torch.from_numpy(np.frombuffer(names, np.uint8).copy()),
        "rows": torch.from_numpy(split.rows),
        "every": split.every,
        "meanings": {
            name: {"classes": list(classes), "label_map": [[value, index] for value, index in label_map.items()]}
            for name, (classes, label_map) in split.meanings.items()
        },
    }


def unpacked(fields: Fields) -> Split:
    """Invert `packed`. Raises DataError for fields that hold no fingerprint."""
    rows, names = fields.values.get("rows"), fields.values.get("names")
    if not (isinstance(rows, Tensor) and rows.dtype == torch.int64 and rows.ndim == 2 and rows.shape[1] == COLUMNS):
        raise fields.refuse("rows", f"whole numbers in {COLUMNS} columns")
    if not (isinstance(names, Tensor) and names.dtype == torch.uint8 and names.ndim == 1):
        raise fields.refuse("names", "bytes")
    try:
        reader = zlib.decompressobj()
        data = reader.decompress(names.numpy().tobytes(), MOST_NAMES)
    except zlib.error:
        raise fields.refuse("names", "compressed text") from None
    found = tuple(data.decode("utf-8", "surrogateescape").split("\n"))
    if not reader.eof or len(found) != len(rows):
        raise fields.refuse("names", f"{len(rows)} names")
    return Split(found, rows.numpy(), fields.whole("every", 1, 2**31), _meanings(fields.fields("meanings")))


def changes(before: Split, now: Split) -> list[str]:
    """List the differences between two fingerprints in words; [] if there are none."""
    return [*meaning_changes(before.meanings, now.meanings), *_picture_changes(before, now)]


def meaning_changes(before: Meanings, now: Meanings) -> list[str]:
    """List classes and label values that changed their meaning: `class 2 is now 'building', was 'sky'`."""
    found = [f"no {name} any more" for name in before if name not in now]
    found += [f"{name} is new" for name in now if name not in before]
    for name in [name for name in before if name in now]:
        of = "" if len(now) == 1 else f" of {name}"
        (old, old_map), (new, new_map) = before[name], now[name]
        if len(old) != len(new):
            found.append(f"{len(new)} classes{of}, were {len(old)}")
        pairs = zip(old, new, strict=False)
        renamed = [
            f"class {index}{of} is now {was_now[1]!r}, was {was_now[0]!r}"
            for index, was_now in enumerate(pairs)
            if was_now[0] != was_now[1]
        ]
        remapped = [
            f"label {value}{of} is now {_class(new, new_map.get(value))}, was {_class(old, old_map.get(value))}"
            for value in sorted({*old_map, *new_map})
            if old_map.get(value) != new_map.get(value)
        ]
        found += [*_few(renamed), *_few(remapped)]
    return [printable(text) for text in found]


def _picture_changes(before: Split, now: Split) -> list[str]:
    old = dict(zip(before.names, before.rows.tolist(), strict=True))
    new = dict(zip(now.names, now.rows.tolist(), strict=True))
    pictures = [name for name in new if name in old and _differ(old[name][:2], new[name][:2])]
    labels = [name for name in new if name in old and _differ(old[name][2:], new[name][2:])]
    kinds = {
        "added": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "with other content": pictures,
        "with other labels": labels,
    }
    found = [
        f"{counted(len(names), 'picture')} {kind}, first {printable(names[0])}"
        for kind, names in kinds.items()
        if names
    ]
    return found if found or before.names == now.names else ["the pictures in another order"]


def _differ(old: Sequence[int], new: Sequence[int]) -> bool:
    """Sizes, or marks that both have."""
    return old[0] != new[0] or (old[1] != new[1] and 0 not in (old[1], new[1]))


def _few(texts: list[str]) -> list[str]:
    return texts if len(texts) <= SHOWN else [*texts[:SHOWN], f"and {len(texts) - SHOWN} more"]


def _class(classes: Sequence[str], index: int | None) -> str:
    if index is None:
        return "none"
    return "ignored" if index == IGNORE else repr(classes[index]) if 0 <= index < len(classes) else str(index)


def _meanings(fields: Fields) -> dict[str, tuple[tuple[str, ...], dict[int, int]]]:
    found = {}
    for name in fields.values:
        target = fields.fields(name)
        rows = target.items("label_map", most=2**17)
        if not all(isinstance(row, list) and len(row) == 2 and all(type(part) is int for part in row) for row in rows):
            raise target.refuse("label_map", "pairs of whole numbers")
        found[name] = tuple(target.texts("classes", most=2**16)), dict(rows)
    return found


# --- files


def _name(item: Item, root: Path) -> str:
    """The picture's path below the data set's folder, or where it lies elsewhere, its file and folder."""
    path = item.image.absolute()
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else "/".join(path.parts[-2:])
    return name.replace("\n", "\\n")


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Names that come again, with how often they came before."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name} ({seen[name] + 1})" if seen[name] else name)
        seen[name] += 1
    return tuple(found)


def _is_marked(name: str, every: int) -> bool:
    return zlib.crc32(name.encode("utf-8", "surrogateescape")) % every == 0


def _row(item: Item, *, marked: bool) -> tuple[int, int, int, int]:
    return (*_state(item.images, marked=marked), *_state(item.labels.values(), marked=marked))


def _state(entries: Iterable[Any], *, marked: bool) -> tuple[int, int]:
    """Bytes of all files together, and a number of their content, of labels that are no files of their values."""
    size, digest = 0, hashlib.blake2b(digest_size=7)
    for entry in entries:
        if isinstance(entry, Path):
            size += _size(entry)
        if marked:
            digest.update(_content(entry))
    return size, 1 + int.from_bytes(digest.digest(), "big") if marked else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # whoever reads it says why


def _content(entry: Any) -> bytes:
    if isinstance(entry, Path):
        return _parts_of(entry)
    if isinstance(entry, np.ndarray):
        return repr((entry.shape, entry.dtype.str)).encode() + entry.tobytes()
    if dataclasses.is_dataclass(entry):  # drawn from a file of annotations, whose place does not count
        values = [getattr(entry, part.name) for part in dataclasses.fields(entry)]
        entry = [value for value in values if not isinstance(value, Path)]
    if isinstance(entry, list | tuple):
        return b"(" + b"".join(_content(part) for part in entry) + b")"
    return repr(entry).encode("utf-8", "backslashreplace") + b"\n"


def _parts_of(path: Path) -> bytes:
    """All of a small file, else its beginning, middle and end: checksums of compressed pictures stand at the end."""
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            starts = [0] if size <= 3 * PART else [0, size // 2, size - PART]
            found = b""
            for start in starts:
                file.seek(start)
                found += file.read(3 * PART if len(starts) == 1 else PART)
            return found
    except OSError:
        return b""
