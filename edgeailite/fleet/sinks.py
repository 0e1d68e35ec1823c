"""Where the results of a job go: PNG files, tar shards or Parquet files.

A batch of results is one tar shard or one Parquet file, named by what is in it. A batch that is done again, because its
worker was killed, is therefore written over itself; a file that no line of `index.csv` names is a leftover.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgeailite.errors import DataError
from edgeailite.files import sha256_of
from edgeailite.fleet.stores import address_of, join, open_store, pyarrow, write_bytes
from edgeailite.inference.predictor import Labelled
from edgeailite.inference.writing import foreign

Format = Literal["files", "tar", "parquet"]
OWN = re.compile(r"labels-[0-9a-f]{16}\.(tar|parquet)")


@dataclass(frozen=True)
class Written:
    """A picture's results, and the file that holds them: "" for PNG files, or with a problem."""

    labelled: Labelled
    file: str = ""


Sink = Callable[[Sequence[tuple[str, Labelled]]], list[Written]]
"""(target, results) of a batch -> the same in order, written."""


def sink_of(form: Format, folder: str) -> Sink:
    """Return the function that writes batches of results below a folder or an address."""
    return {"files": _files, "tar": _tar, "parquet": _parquet}[form](folder)


def _files(folder: str) -> Sink:
    def write(batch: Sequence[tuple[str, Labelled]]) -> list[Written]:
        return [Written(_with_files(folder, target, one)) for target, one in batch]

    return write


def _with_files(folder: str, target: str, one: Labelled) -> Labelled:
    """Write the PNGs of a picture; a file that infer did not write stays, and is the picture's problem."""
    places = {join(folder, f"{target}_{name}"): data for name, data in (one.files or {}).items()}
    here = [Path(place) for place in places if address_of(place) is None]
    in_the_way = foreign(here)
    if in_the_way is not None:
        problem = f"{one.entry.name}: {in_the_way} is there and no result of infer; it is not overwritten"
        return one.failed(problem)
    if not here and not target.isascii() and target.encode(errors="replace") != os.fsencode(target):
        return one.failed(f"{one.entry.name}: not UTF-8, as names at an address have to be")
    for place, data in places.items():
        write_bytes(place, data)
    return one


def _tar(folder: str) -> Sink:
    def write(batch: Sequence[tuple[str, Labelled]]) -> list[Written]:
        return _in_one_file(folder, batch, "tar", _archive)

    return write


def _parquet(folder: str) -> Sink:
    pyarrow("parquet")

    def write(batch: Sequence[tuple[str, Labelled]]) -> list[Written]:
        return _in_one_file(folder, batch, "parquet", _parquet_file)

    return write


def _in_one_file(
    folder: str,
    batch: Sequence[tuple[str, Labelled]],
    suffix: str,
    encode: Callable[[Sequence[tuple[str, Labelled]]], bytes],
) -> list[Written]:
    good = [(target, one) for target, one in batch if not one.problem]
    if not good:
        return [Written(one) for _, one in batch]
    name = f"labels-{sha256_of(one.entry.line() for _, one in good)[:16]}.{suffix}"
    write_bytes(join(folder, name), encode(good))
    return [Written(one, "" if one.problem else name) for _, one in batch]


def _archive(batch: Sequence[tuple[str, Labelled]]) -> bytes:
    """Return a tar of NAME.label.png and the like, with NAME.json; without times, owners and what else varies."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for target, one in batch:
            files = {**(one.files or {}), "json": json.dumps(record_of(one)).encode()}
            for name, content in files.items():
                member = tarfile.TarInfo(f"{target}.{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def _parquet_file(batch: Sequence[tuple[str, Labelled]]) -> bytes:
    lib, parquet = pyarrow("lib"), pyarrow("parquet")
    rows = [{**record_of(one), **(one.files or {})} for _, one in batch]
    for row in rows:
        row["name"] = row["name"].encode(errors="backslashreplace").decode()  # Parquet has names in UTF-8 alone
    data = io.BytesIO()
    parquet.write_table(lib.Table.from_pylist(rows), data)
    return data.getvalue()


def record_of(one: Labelled) -> dict[str, Any]:
    """Return a picture's name, hashes, size and class shares as plain values."""
    return {**asdict(one.entry), "height": one.size[0], "width": one.size[1], "shares": list(one.shares)}


def remove_leftovers(folder: str, named: set[str]) -> int:
    """Remove tar shards and Parquet files of killed workers that are not `named`; return their number."""
    address = address_of(folder)
    if address is not None:
        system, base = open_store(address)
        fs = pyarrow("fs")
        found = [one.path for one in system.get_file_info(fs.FileSelector(base, allow_not_found=True))]
        removed = [path for path in found if _is_leftover(path.rpartition("/")[2], named)]
        for path in removed:
            system.delete_file(path)
        return len(removed)
    if not Path(folder).is_dir():
        return 0
    there = [path for path in Path(folder).iterdir() if _is_leftover(path.name, named)]
    for path in there:
        path.unlink(missing_ok=True)
    return len(there)


def _is_leftover(name: str, named: set[str]) -> bool:
    return OWN.fullmatch(name) is not None and name not in named


def refuse_folder(folder: str, form: Format) -> None:
    """Raise DataError where a folder of this machine cannot take the results."""
    if address_of(folder) is None and Path(folder).exists() and not Path(folder).is_dir():
        raise DataError(f"is no folder, and {form} are to be written into it", path=folder, code="not-ours")
