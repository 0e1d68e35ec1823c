"""Run folders and checkpoints: atomic to write, safe to read.

A run folder holds `config.yaml`, `env.json`, `metrics.csv`, `last.pt` (and `last.previous.pt`) and `best.pt`. A
checkpoint is one zip file of plain values and tensors, read with `weights_only=True`: code in it never runs.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
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

from edgeailite.errors import DataError
from edgeailite.modelcard import ModelCard, card_from_dict
from edgeailite.pretrained import read_weights

FORMAT = 1
BEST, LAST, PREVIOUS = "best.pt", "last.pt", "last.previous.pt"


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
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(values, file)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            _keep(path, keep)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be written ({reason}); free disk space or change --save_path") from None


def save_batch(folder: Path, batch: tuple[tuple[Tensor, ...], Mapping[str, Tensor]], *, rank: int = 0) -> Path:
    """Write the batch that training stopped at, to look at: `torch.load` gives {"images": ..., "targets": ...}."""
    path = folder / (f"diverged_{rank}.pt" if rank else "diverged.pt")
    images, targets = batch
    try:
        torch.save({"images": tuple(images), "targets": dict(targets)}, path)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be written ({str(error).splitlines()[0]}); free disk space") from None
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
    if not isinstance(values, dict) or "card" not in values or values.get("format") != FORMAT:
        raise DataError(f"{path}: not a checkpoint of format {FORMAT}; use --pretrained for foreign weights")
    try:
        return Checkpoint(
            card_from_dict(values["card"]),
            values["state_dict"],
            values["config"],
            values["quantization"],
            values["training"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a whole checkpoint ({error!r}); take another") from None


def find_checkpoint(source: Path, *, prefer: tuple[str, ...] = (LAST, BEST)) -> Path:
    """The checkpoint file of a run folder, or the file itself. Raises DataError if there is none."""
    if source.is_file():
        return source
    if not source.is_dir():
        raise DataError(f"{source}: no such run folder or checkpoint")
    for name in prefer:
        if (source / name).is_file():
            return source / name
    raise DataError(f"{source}: no {' or '.join(prefer)} in this folder; is it a run folder?")


def run_folder(source: Path) -> Path:
    """The folder a run, or a checkpoint file of it, lives in."""
    return source if source.is_dir() else source.parent


def refuse_used(folder: Path, *, resumes: bool = True) -> None:
    """Raise DataError if the folder holds a run already; asked before the work whose result it shall hold.

    `resumes`: whether the verb could go on with that run.
    """
    if (folder / LAST).exists() or (folder / PREVIOUS).exists():
        if not resumes:
            raise DataError(f"{folder}: holds a run already; choose another --save_path, or remove it yourself")
        raise DataError(f"{folder}: holds a run already; choose another --save_path, or --resume it")


def start_run(folder: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Make a run folder. Raises DataError if it already holds a run or cannot be written."""
    refuse_used(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            (folder / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False))
            (folder / "env.json").write_text(json.dumps(environment, indent=2) + "\n")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another --save_path") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone, until the end of the block or of the process, however it ends.

    Raises DataError if another process holds it, or where it cannot be locked.
    """
    descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """A descriptor that holds the lock until it is closed."""
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if descriptor is not None:
            os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise DataError(f"{folder}: another process is training here; choose another --save_path") from None
        raise DataError(f"{folder}: cannot be locked ({error.strerror}); choose another --save_path") from None
    return descriptor


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row to `metrics.csv`, with a header if the file is new. DataError where it cannot be written whole."""
    path = folder / "metrics.csv"
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if size == 0:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        with contextlib.suppress(OSError):  # half a row, or half the header, would spoil what is written after it
            os.truncate(path, size)
        raise DataError(f"{path}: cannot be written ({error.strerror}); free disk space") from None


def keep_metrics(folder: Path, epochs: int) -> None:
    """Leave in `metrics.csv` only the rows of the first `epochs` epochs: those after them are trained again.

    Raises DataError where it cannot be written; it is then as it was.
    """
    path = folder / "metrics.csv"
    rows = read_metrics(folder)
    kept = [row for row in rows if int(row["epoch"]) <= epochs]
    if len(kept) == len(rows):
        return
    try:
        if kept:
            _replace_metrics(path, kept)
        else:
            path.unlink()
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); free disk space or change rights") from None


def _replace_metrics(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write so that `path` is at every moment either the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Rows of `metrics.csv`, [] if there is none."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
