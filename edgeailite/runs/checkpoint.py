"""Run folders and checkpoints: atomic to write, safe to read.

A run folder holds `config.yaml`, `env.json`, `metrics.csv`, `last.pt` (and `last.previous.pt`) and `best.pt`. A
checkpoint is one zip file of plain values and tensors, read with `weights_only=True`: code in it never runs.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from edgeailite.errors import DataError, option
from edgeailite.files import atomic_file, read_regular, remove_leftovers, unreadable, unwritable, write_atomic
from edgeailite.modelcard import ModelCard, card_from_dict
from edgeailite.pretrained import not_finite, read_weights, which_network
from edgeailite.untrusted import Fields, is_printable, printable, shown

FORMAT = 1
BEST, LAST, PREVIOUS = "best.pt", "last.pt", "last.previous.pt"
CONFIG, ENVIRONMENT, METRICS = "config.yaml", "env.json", "metrics.csv"
PRETRAINED = "pretrained.json"  # what a run started from, or was made of
MOST_METRICS = 64 << 20  # bytes of metrics.csv
LONGEST_COLUMN = 200  # characters


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is needed to use them; `training` holds what is needed to go on, `quantization` the scheme."""

    card: ModelCard
    state_dict: Mapping[str, Tensor]
    config: Mapping[str, Any]
    quantization: Mapping[str, Any] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, keep: Path | None = None) -> None:
    """Write so that `path` is at every moment either the old file or the whole new one; the old one moves to `keep`."""
    values = {
        "format": FORMAT,
        "card": checkpoint.card.to_dict(),
        "state_dict": {key: value.detach().cpu() for key, value in checkpoint.state_dict.items()},
        "config": dict(checkpoint.config),
        "quantization": None if checkpoint.quantization is None else dict(checkpoint.quantization),
        "training": dict(checkpoint.training),
    }
    try:
        with atomic_file(path) as file:
            torch.save(values, file)
            file.flush()
            os.fsync(file.fileno())  # before the old one is moved: a power cut must leave one of them
            if keep is not None and path.exists():
                _keep(path, keep)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        fix = f"free disk space or change {option('save_path')}"
        raise DataError(f"cannot be written ({reason})", path=path, fix=fix, code="unwritable") from None


def save_batch(folder: Path, batch: tuple[tuple[Tensor, ...], Mapping[str, Tensor]], *, rank: int = 0) -> Path:
    """Write the batch that training stopped at, to look at: `torch.load` gives {"images": ..., "targets": ...}."""
    path = folder / (f"diverged_{rank}.pt" if rank else "diverged.pt")
    images, targets = batch
    try:
        with atomic_file(path) as file:
            torch.save({"images": tuple(images), "targets": dict(targets)}, file)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot be written ({str(error).splitlines()[0]}); free disk space", code="unwritable"
        ) from None
    return path


def _keep(path: Path, keep: Path) -> None:
    """Give a file a second name, or where the file system knows no links, copy it."""
    keep.unlink(missing_ok=True)
    try:
        os.link(path, keep)
    except OSError:
        shutil.copyfile(path, keep)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `save_checkpoint`. Raises DataError for a missing, damaged, foreign or unsafe file."""
    values = read_weights(path)
    if not isinstance(values, dict) or "card" not in values or not _is_whole(values.get("format")):
        raise DataError(f"{path}: not a checkpoint of format {FORMAT}; {_start_from(values, path)}", code="wrong-kind")
    if values["format"] != FORMAT:
        raise DataError(
            f"{path}: not a checkpoint of format {FORMAT}, but of {values['format']}; take the version that wrote it",
            code="wrong-kind",
        )
    where = f"{path}: not a whole checkpoint"
    fields = Fields.of(values, where=where)
    quantization = fields.any("quantization")
    checkpoint = Checkpoint(
        card_from_dict(fields.fields("card").values, where=f"{where}: card"),
        _weights(fields),
        fields.fields("config").values,
        None if quantization is None else fields.fields("quantization").values,
        fields.fields("training").values,
    )
    wrong = not_finite(checkpoint.state_dict)
    if wrong is not None:
        raise DataError(f"{path}: {wrong}; take {BEST} or {PREVIOUS} of the run, or train again", code="damaged")
    return checkpoint


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _start_from(values: object, path: Path) -> str:
    """Return the advice for weights that have no card: the verb that makes a run of them, or says why it cannot."""
    name = which_network(values, path)
    network = f" {option('model_name')} {name}" if name else ""
    return f"weights of another tool become a run by: edgeailite import {printable(str(path))}{network}"


def _weights(fields: Fields) -> dict[str, Tensor]:
    weights = fields.fields("state_dict").values
    wrong = next((key for key, value in weights.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        found = shown(weights[wrong])
        raise DataError(
            f"{fields.where}: state_dict: {printable(wrong)}: expected a tensor, found {found}", code="damaged"
        )
    return dict(weights)


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
