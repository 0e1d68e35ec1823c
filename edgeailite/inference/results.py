"""The folder of results as a whole: what it was made with, rows of shares, what was skipped, and the counts.

`infer.json` says what the results were made with, so that going on with another network is refused; `skipped.csv` has
a row for each input that could not be labelled, `shares.csv` one for each that was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import read_regular, write_result
from edgeailite.inference.drawing import Output
from edgeailite.inference.manifest import Entry, Journal, Summary
from edgeailite.inference.pictures import ResultSettings
from edgeailite.inference.shares import CSV, JSON, Table, share_columns, write_json
from edgeailite.inference.whole_pictures import CSV as CLASSES
from edgeailite.inference.whole_pictures import WholeOutput
from edgeailite.inference.writing import remove_leftovers_below
from edgeailite.untrusted import json_value, printable

RECORD, SKIPPED = "infer.json", "skipped.csv"
LONGEST_RECORD = 1 << 20  # bytes
MOST_ANSWERS = 20  # pictures whose classes are told
MADE_BY = {"made_by": "edgeailite infer"}


class Results:
    """Counts, and the tables of a folder. Use it in a `with`: the tables are completed at its end."""

    def __init__(self, settings: ResultSettings, *, resume: bool) -> None:
        self.folder, self.outputs = settings.tables, settings.outputs
        self.labelled = self.finished = self.skipped = self.left_out = 0
        self.first_problem = ""
        self.others: Counter[str] = Counter()
        self.answers: list[tuple[str, ...]] = []
        self.videos: dict[str, Mapping[str, Any]] = {}
        self._skips: Table | None = None
        if (self.folder / SKIPPED).exists():
            Table(self.folder / SKIPPED, ("input", "reason")).close()  # of an earlier run: refuses one of somebody else
            (self.folder / SKIPPED).unlink()
        columns = share_columns(settings.outputs)
        self.table = Table(self.folder / CSV, columns, go_on=resume) if settings.shares else None
        heads = ["picture", *(column for output in settings.whole for column in output.columns)]
        self.classes = Table(self.folder / CLASSES, heads, go_on=resume) if settings.whole else None
        self.journal = Journal(self.folder, go_on=resume) if settings.manifest else None
        self.manifest: Summary | None = None

    @property
    def known(self) -> frozenset[str]:
        """Return the pictures that have a row in every table already."""
        tables = [table.known for table in (self.table, self.classes) if table is not None]
        return frozenset(set.intersection(*tables)) if tables else frozenset()

    @property
    def in_manifest(self) -> frozenset[str]:
        """Return the names of the pictures that have a line of the manifest already."""
        return frozenset(self.journal.known if self.journal is not None else ())

    def done(
        self,
        name: str,
        size: Sequence[int],
        shares: Sequence[float],
        entry: Entry | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        """Keep the rows of a picture or frame that was labelled."""
        if self.classes is not None:
            self.classes.add([name, *classes])
            self.answers += [(name, *classes)] if len(self.answers) < MOST_ANSWERS else []
        if self.table is not None:
            self.table.add([name, *size[:2], *shares])
        if self.journal is not None and entry is not None:
            self.journal.add(entry)

    def skip(self, source: Path | str, reason: str, entry: Entry | None = None) -> None:
        """Keep why an input was not labelled."""
        if self.journal is not None and entry is not None:
            self.journal.add(entry)
        self._skips = self._skips or Table(self.folder / SKIPPED, ("input", "reason"))
        self._skips.add([source, reason])
        self.first_problem = self.first_problem or printable(reason)
        self.skipped += 1

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *error: object) -> None:
        for table in filter(None, (self.table, self.classes, self._skips)):
            table.close()
        if self.table is not None and error[0] is None:
            write_json(self.table.path, self.folder / JSON, self.outputs)
        if self.journal is not None:
            self.journal.close()
            if error[0] is None:
                self.manifest = self.journal.finish()


def settle(
    folder: Path, made_with: Mapping[str, Any], *, resume: bool, asked: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write the record. With `resume`, raise UsageError where an earlier one says something else; leftovers go.

    `asked` is kept beside it and may differ.
    """
    path = folder / RECORD
    before = read_record(path)
    if before is None and (path.exists() or path.is_symlink()):
        raise DataError(f"{path}: not written by infer; choose another {option('save_path')}", code="not-ours")
    wanted = MADE_BY | dict(made_with)
    if resume and before is not None:
        for key, value in wanted.items():
            if before.get(key) != value:
                earlier = printable(str(before.get(key)))[:200]
                raise UsageError(
                    f"{option('resume')} True: {folder} was made with {key} {earlier}, not {value}; choose another "
                    f"{option('save_path')}, or leave {option('resume')} out to label everything again",
                    code="not-ours",
                )
    if resume:
        remove_leftovers_below(folder)
    write_result(path, json.dumps(wanted | dict(asked), indent=1) + "\n", "save_path")


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a JSON file that `infer` wrote; None if there is none, or another's."""
    try:
        values = json_value(read_regular(path, limit=LONGEST_RECORD), where=path.name)
    except (OSError, DataError):
        return None
    ours = isinstance(values, dict) and values.get("made_by") == MADE_BY["made_by"]
    return values if ours else None


def is_video_result(path: Path) -> bool:
    """Return True if a video was written by `infer`, which leaves a record beside it."""
    records = (read_record(record) for record in path.parent.glob("*_video.json"))
    named = (record.get("files") for record in records if record is not None)
    return any(path.name == Path(str(file)).name for files in named if isinstance(files, list) for file in files)


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file that `read_record` recognises."""
    write_result(path, json.dumps(MADE_BY | dict(values), indent=1) + "\n", "save_path")


def check_outputs(outputs: Sequence[Output], kinds: Sequence[str], whole: Sequence[WholeOutput] = ()) -> None:
    """Raise UsageError where the network has no output that the kinds could be written of."""
    if not outputs and not whole:
        raise UsageError(
            "the network gives numbers, no classes and no depth, so that there is nothing to label",
            fix=f"compare them with those of another form of it: edgeailite compare A B {option('data_path')} PICTURES",
            code="wrong-kind",
        )
    if whole:
        return
    if not kinds and all(output.is_depth for output in outputs):
        raise UsageError(
            f"{option('write')} shares: the network has no output with classes; write labels or colors",
            code="wrong-kind",
        )
