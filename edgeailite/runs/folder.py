"""Run folders: where a run's files are, starting and locking one, and its table of metrics. No torch.

A run folder holds `config.yaml`, `env.json`, `metrics.csv`, `last.pt` (and `last.previous.pt`) and `best.pt`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from edgeailite.errors import DataError, option
from edgeailite.files import read_regular, remove_leftovers, unreadable, unwritable, write_atomic
from edgeailite.untrusted import is_printable

BEST, LAST, PREVIOUS = "best.pt", "last.pt", "last.previous.pt"
CONFIG, ENVIRONMENT, METRICS = "config.yaml", "env.json", "metrics.csv"
PRETRAINED = "pretrained.json"  # what a run started from, or was made of
MOST_METRICS = 64 << 20  # bytes of metrics.csv
LONGEST_COLUMN = 200  # characters


def find_checkpoint(source: Path, *, prefer: tuple[str, ...] = (BEST, LAST)) -> Path:
    """Return the checkpoint file of a run folder, or the file itself. Raises DataError if there is none."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise DataError(f"{source}: no such run folder or checkpoint", code="missing-file")
    for name in prefer:
        if (source / name).is_file():
            return source / name
    raise DataError(f"{source}: no {' or '.join(prefer)} in this folder; is it a run folder?", code="missing-file")


def run_folder(source: Path) -> Path:
    """Return the folder that a run, or a checkpoint file of it, lives in."""
    folder = source if source.is_dir() else source.parent
    return folder if folder.name else folder.resolve()  # "." has no name that another folder's could be made of


def beside(folder: Path, ending: str) -> Path:
    """Return the folder beside a run whose name has an ending more, such as `_qat`."""
    return Path(f"{folder}{ending}")


def start_of(source: Path) -> Path:
    """Return the path that names what is made of a source: its run folder, or an ONNX file without its ending.

    >>> str(start_of(Path("nets/theirs.onnx")))
    'nets/theirs'
    """
    return source.with_suffix("") if source.suffix == ".onnx" else run_folder(source)


def refuse_used(folder: Path, *, resumes: bool = True) -> None:
    """Raise DataError if the folder holds a run already; called before the work whose result the folder shall hold.

    `resumes`: the verb could resume that run, and the message says so.
    """
    if (folder / LAST).exists() or (folder / PREVIOUS).exists():
        if not resumes:
            fix = f"choose another {option('save_path')}, or remove it yourself"
            raise DataError("holds a run already", path=folder, fix=fix, code="not-ours")
        raise DataError(
            "holds a run already",
            path=folder,
            fix=f"choose another {option('save_path')}, or {option('resume')} it",
            code="not-ours",
        )


def start_run(folder: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Make a run folder. Raises DataError if it already holds a run or cannot be written."""
    refuse_used(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            write_atomic(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))
            write_atomic(folder / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror})", path=folder, fix=_another_folder(), code="unwritable"
        ) from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone until the block, or the process, ends.

    Raises DataError if another process holds it or it cannot be locked.
    """
    descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """Lock the folder; return a descriptor that holds the lock until it is closed."""
    descriptor = None
    try:
        import fcntl  # of POSIX: training locks its folder there, and files are used anywhere

        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if descriptor is not None:
            os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise DataError(
                "another process is training here", path=folder, fix=_another_folder(), code="busy"
            ) from None
        raise DataError(
            f"cannot be locked ({error.strerror})", path=folder, fix=_another_folder(), code="unwritable"
        ) from None
    return descriptor


def tidy(folder: Path) -> None:
    """Remove what killed writers left in a run folder; to be called by the process that holds it."""
    for name in (LAST, BEST, PREVIOUS, CONFIG, ENVIRONMENT, METRICS):
        remove_leftovers(folder / name)


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row to `metrics.csv`, whole or not at all. Raises DataError where it cannot be written."""
    text = {key: "" if value is None else str(value) for key, value in row.items()}
    try:
        _write_metrics(folder / METRICS, [*_rows(folder / METRICS)[0], text])
    except OSError as error:
        raise unwritable(folder / METRICS, error, fix="free disk space") from None


def keep_metrics(folder: Path, epochs: int) -> int:
    """Cut `metrics.csv` to the rows of the first `epochs` epochs; the epochs after them are trained again.

    Lines that are no rows are dropped as well; returns their number. Raises DataError, and leaves the file as it was,
    if it cannot be written.
    """
    path = folder / METRICS
    try:
        rows, unread = _rows(path)
        kept = [row for row in rows if int(row["epoch"]) <= epochs]
        if len(kept) == len(rows) and not unread:
            return 0
        if kept:
            _write_metrics(path, kept)
        else:
            path.unlink()
    except OSError as error:
        raise unwritable(path, error, fix="free disk space or change rights") from None
    return unread


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Read the rows of `metrics.csv` that have an epoch's number; [] without a file.

    Raises DataError if it cannot be read.
    """
    try:
        return _rows(folder / METRICS)[0]
    except OSError as error:
        raise unreadable(folder / METRICS, error, fix="move it away: the run needs none") from None


def _write_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def _rows(path: Path) -> tuple[list[dict[str, str]], int]:
    """Read rows by column, and count the lines that are no rows. Raises OSError, but not for a missing file.

    A spreadsheet may have written the file, and somebody may have cut it: every line is read for itself, and an epoch
    may be `3.0`.
    """
    try:
        lines = read_regular(path, limit=MOST_METRICS).decode("utf-8-sig", "replace").splitlines()
    except FileNotFoundError:
        return [], 0
    columns = _cells(lines[0]) if lines else []
    if "epoch" not in columns or len(set(columns)) < len(columns) or not all(map(_is_column, columns)):
        return [], len(lines)
    rows = []
    for line in lines[1:]:
        cells = _cells(line)
        epoch = _epoch(cells[columns.index("epoch")]) if len(cells) == len(columns) else None
        if epoch is not None:
            rows.append({**dict(zip(columns, cells, strict=True)), "epoch": str(epoch)})
    return rows, len(lines) - 1 - len(rows)


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


def _is_column(name: str) -> bool:
    return 0 < len(name) <= LONGEST_COLUMN and is_printable(name) and "\ufffd" not in name


def _epoch(text: str) -> int | None:
    """Return an epoch's number, which is at least 1; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if 1 <= value < 1e9 and value.is_integer() else None


def _another_folder() -> str:
    return f"choose another {option('save_path')}"
