"""The tables of all parts of a job as those of one: manifest, shares and skipped pictures.

Each part keeps its tables in a folder of its own, `shard-I-of-N`, beside the results of all. Merged tables are sorted,
so that they are equal for every number of parts.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeailite.errors import DataError, option
from edgeailite.files import atomic_file, open_regular, unwritable, write_result
from edgeailite.inference.manifest import (
    MANIFEST,
    Summary,
    merged_lines,
    read_manifest,
    sorted_lines,
    write_manifest,
)
from edgeailite.inference.results import RECORD, SKIPPED, read_record
from edgeailite.inference.shards import FOLDER, Shard
from edgeailite.inference.shares import CSV, cell
from edgeailite.inference.sources import STDIN, inputs
from edgeailite.inference.writing import remove_leftovers_below

MISSING = "missing.csv"
NAMED = 8  # parts or pictures that a message names
ASKED = ("model", "input", "root")


@dataclass
class Merged:
    """A merged job. `missing` counts pictures of the inputs that no part labelled or gave up; None: not looked for."""

    folder: Path
    shards: int
    summary: Summary
    missing: int | None = None
    files: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Return True if every picture has one line, with labels."""
        return not (self.missing or self.summary.failed or self.summary.doubled)


def merge(folder: Path) -> Merged:
    """Merge the tables of all parts below a folder of results. Raises DataError if a part is missing or unfinished.

    Pictures that the inputs have now and the manifest does not are listed in `missing.csv`.
    """
    parts = _parts(folder)
    record = _one_record(folder, parts)
    remove_leftovers_below(folder)
    lines = _without_ends([folder / part.folder / MANIFEST for part in parts])
    merged = Merged(folder, len(parts), write_manifest(folder / MANIFEST, lines), files=[MANIFEST])
    write_result(folder / RECORD, json.dumps(record, indent=1) + "\n", "merge")
    for name in (CSV, SKIPPED):
        if _merge_table(folder, parts, name):
            merged.files.append(name)
    merged.missing = _missing(folder, record)
    return merged


def _parts(folder: Path) -> list[Shard]:
    """Return the parts of a job, all of them, in order."""
    try:
        found = [FOLDER.fullmatch(entry.name) for entry in sorted(folder.iterdir()) if entry.is_dir()]
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise DataError(problem, fix="give the save_path of the parts", path=folder, code="folder-missing") from None
    parts = sorted((Shard(int(match[1]), int(match[2])) for match in found if match), key=lambda part: part.index)
    counts = sorted({part.count for part in parts})
    if not parts:
        raise DataError(f"no folders shard-I-of-N; label the parts with {option('shard')} first", path=folder)
    if len(counts) > 1:
        words = " and ".join(f"of {count}" for count in counts)
        raise DataError(f"folders of parts {words}; remove those that are not of this job", path=folder)
    there = {part.index for part in parts if (folder / part.folder / MANIFEST).is_file()}
    lacking = [index for index in range(counts[0]) if index not in there]
    if lacking:
        words = ", ".join(map(str, lacking[:NAMED])) + (", ..." if len(lacking) > NAMED else "")
        raise DataError(
            f"{len(lacking)} of {counts[0]} parts are not finished ({words})",
            fix=f"run them again with {option('shard')} I/{counts[0]} {option('resume')} True",
            path=folder,
            code="missing-file",
        )
    return parts


def _one_record(folder: Path, parts: Sequence[Shard]) -> dict[str, Any]:
    """Return the record that all parts share. Raises DataError where two were made with different things."""
    records = []
    for part in parts:
        path = folder / part.folder / RECORD
        record = read_record(path)
        if record is None:
            raise DataError("not there, or not written by infer", fix=f"label part {part} again", path=path)
        records.append(record)
        for key in sorted({*record, *records[0]} - set(ASKED)):
            if record.get(key) != records[0].get(key):
                first = folder / parts[0].folder / RECORD
                raise DataError(f"made with another {key} than {first}; label that part again", path=path)
    return records[0]


def _without_ends(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the lines of all manifests in order, after each was checked; without their last lines."""
    for path in paths:
        for _ in read_manifest(path):
            pass
    yield from (line for line in merged_lines(paths) if not line.startswith(b'{"manifest"'))


def _merge_table(folder: Path, parts: Sequence[Shard], name: str) -> bool:
    """Write the rows of all parts' tables of this name, sorted; False if no part has one."""
    tables = [path for part in parts if (path := folder / part.folder / name).is_file()]
    if not tables:
        (folder / name).unlink(missing_ok=True)
        return False
    try:
        with tempfile.TemporaryDirectory() as temporary, atomic_file(folder / name) as merged:
            rows = Path(temporary, name)
            with rows.open("wb") as file:
                for table in tables:
                    with open_regular(table) as source:
                        head = source.readline()
                        file.writelines(source)
            merged.write(head)
            merged.writelines(sorted_lines(rows))
    except OSError as error:
        raise unwritable(folder / name, error, fix="free disk space, or change rights") from None
    return True


def _missing(folder: Path, record: dict[str, Any]) -> int | None:
    """List the pictures of the recorded inputs that the manifest lacks; None where the inputs are not there.

    Pictures in tar shards, in Parquet files and at addresses, whose jobs record no root, are not looked for.
    """
    words = [Path(word) for word in record.get("input", []) if isinstance(word, str)]
    root = record.get("root")
    (folder / MISSING).unlink(missing_ok=True)
    if not words or Path(STDIN) in words or not isinstance(root, str):
        return None
    try:
        source = inputs(words, apart_from=folder, root=Path(root))
        there = {found.name for found in source() if not found.moves}
    except DataError:
        return None
    names = sorted(there - {entry.name for entry in read_manifest(folder / MANIFEST)})
    if names:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([["picture"], *([cell(name)] for name in names)])
        write_result(folder / MISSING, text.getvalue().encode(errors="surrogateescape"), "merge")
    return len(names)
