"""What the inputs of a job are: pictures, tar shards and Parquet files, one unit of work each; and the pictures in one.

A picture in a tar shard or a Parquet file is named as it is named there, so that a job over shards and one over the
files that they were made of have the same manifest.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from edgeailite.config import InferConfig
from edgeailite.data.files.images import IMAGE_SUFFIXES, MAX_FILE
from edgeailite.errors import DataError, UsageError, first_line, option
from edgeailite.fleet.stores import address_of, found_below, open_random, open_stream, pyarrow, read_bytes
from edgeailite.inference.shards import Shard
from edgeailite.inference.sources import Input, inputs

PICTURE, TAR, PARQUET = "picture", "tar", "parquet"
SHARDS = {".tar": TAR, ".parquet": PARQUET}
NAME_COLUMNS = ("name", "path", "__key__", "key", "id")
LONGEST_NAME = 1000
# What tarfile, its decompressors and pyarrow raise for a file that is none of theirs, or damaged.
BAD_SHARD = (OSError, ValueError, EOFError, NotImplementedError, tarfile.TarError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work: a picture, a tar shard or a Parquet file at a `place`. `name` and `target` are a picture's.

    `problem` is why it is known to be unreadable. The driver of a job holds one for each file.
    """

    kind: str
    place: str
    name: str = ""
    target: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """A picture of a unit. `target` is the path of its results, `share` its part of the unit's work, all of it at the
    last picture of a shard.
    """

    name: str
    target: str
    data: bytes
    problem: str
    share: float


def chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield `size` values at a time, at the end what is left.

    >>> list(chunks("abc", 2))
    [['a', 'b'], ['c']]
    """
    every = iter(values)
    while part := list(islice(every, size)):
        yield part


def units_of(config: InferConfig, shard: Shard | None) -> Iterator[Unit]:
    """Yield the units that the inputs of the options name; of single pictures those of the `shard`.

    Raises DataError for what is not there, UsageError for videos, which one machine labels.
    """
    local: list[Path] = []
    for word in config.input:
        address = address_of(word)
        if address is not None:
            yield from (unit for unit in _below(address) if unit.kind != PICTURE or _in(shard, unit.name))
        elif word.suffix.lower() in SHARDS:
            yield from _shards(word)
        else:
            local.append(word)
    if local:
        for found in inputs(local, apart_from=config.save_path, root=config.root, shard=shard)():
            yield _picture(found)


def _in(shard: Shard | None, name: str) -> bool:
    return shard is None or shard.takes(name)


def _picture(found: Input) -> Unit:
    if found.moves:
        raise UsageError(f"{found.source}: videos and cameras are labelled on one machine, without {option('engine')}")
    return Unit(PICTURE, str(found.source), found.name, found.target.as_posix(), found.problem)


def _shards(word: Path) -> Iterator[Unit]:
    """Yield the shards that a file or a pattern of this machine names."""
    paths = [word] if word.exists() else sorted(Path(word.anchor or ".").glob(str(word.relative_to(word.anchor))))
    if not paths:
        raise DataError("no such file, and nothing matches this pattern", path=word, code="missing-file")
    for path in paths:
        yield Unit(SHARDS[path.suffix.lower()], str(path))


def _below(address: str) -> Iterator[Unit]:
    """Yield pictures, tar shards and Parquet files of an address; other files are left out."""
    kept = 0
    for place, name in found_below(address):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in SHARDS:
            yield Unit(SHARDS[suffix], place)
        elif name.lower().endswith(IMAGE_SUFFIXES):
            yield Unit(PICTURE, place, name, name)
        else:
            continue
        kept += 1
    if not kept:
        raise DataError("no pictures, tar shards or Parquet files", path=address, code="missing-file")


def rows_of(unit: Unit, column: str) -> Iterator[Row]:
    """Yield the pictures of a unit; what cannot be read is a row with a problem. Never raises for what a file holds.

    `column` is the extension of a tar shard's pictures, or the Parquet column with their bytes; "" takes all
    pictures, and a column named image, bytes, jpg, png or webp.
    """
    if unit.kind == PICTURE:
        yield _row_of_picture(unit)
        return
    try:
        yield from _tar_rows(unit, column) if unit.kind == TAR else _parquet_rows(unit, column)
    except BAD_SHARD as error:
        reason = first_line(error)[:200]
        name = PurePosixPath(unit.place.partition("?")[0]).name  # a manifest has no path of a machine
        yield Row(name, "", b"", f"{unit.place}: cannot be read to its end ({reason})", 0.0)


def _row_of_picture(unit: Unit) -> Row:
    data, problem = b"", unit.problem
    if not problem:
        try:
            data = read_bytes(unit.place)
        except DataError as error:
            problem = str(error)
    return Row(unit.name, unit.target, data, problem, 1.0)


def _tar_rows(unit: Unit, column: str) -> Iterator[Row]:
    wanted = (f".{column.lower().lstrip('.')}",) if column else IMAGE_SUFFIXES
    with open_stream(unit.place) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isfile() or not name.lower().endswith(wanted) or PurePosixPath(name).name.startswith("."):
                continue
            problem, data = _bad_name(name), b""
            if member.size > MAX_FILE:
                problem = f"{name}: {member.size} bytes, more than the {MAX_FILE} that are read"
            if not problem:
                file = archive.extractfile(member)
                data = b"" if file is None else file.read()
            yield Row(name, name, data, problem, 0.0)


def _bad_name(name: str) -> str:
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or len(name) > LONGEST_NAME or "\0" in name or not name
    return f"{name[:100]}: a name that leads elsewhere; its results would be written outside" if outside else ""


def _parquet_rows(unit: Unit, column: str) -> Iterator[Row]:
    parquet = pyarrow("parquet")
    with open_random(unit.place) as stream:
        file = parquet.ParquetFile(stream)
        known = file.schema_arrow.names
        names = next((name for name in NAME_COLUMNS if name in known), None)
        pictures = _picture_column(known, column, unit.place)
        columns = [pictures, *([names] if names else [])]
        number = 0
        for batch in file.iter_batches(batch_size=64, columns=columns):
            for row in batch.to_pylist():
                value = row[pictures]
                data = value.get("bytes") if isinstance(value, dict) else value  # as Hugging Face stores pictures
                known_as = row[names] if names else None
                name = f"{PurePosixPath(unit.place).stem}/{number:09d}" if known_as is None else str(known_as)
                problem = _bad_name(name)
                if not isinstance(data, bytes):
                    problem, data = problem or f"{name}: no bytes in {pictures}", b""
                yield Row(name, name, data, problem, 0.0)
                number += 1


def _picture_column(known: Sequence[str], column: str, place: str) -> str:
    found = next((name for name in (column, "image", "bytes", "jpg", "jpeg", "png", "webp") if name in known), None)
    if found is None or (column and column not in known):
        raise ValueError(f"columns {', '.join(known)[:200]}; name that of the pictures with {option('column')}")
    return found
