"""Checkpoints: atomic to write, safe to read.

A checkpoint is one zip file of plain values and tensors, read with `weights_only=True`: code in it never runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeailite.errors import DataError, first_line, option
from edgeailite.files import atomic_file
from edgeailite.modelcard import ModelCard, card_from_dict
from edgeailite.pretrained import not_finite, read_weights, which_network
from edgeailite.runs.folder import BEST, PREVIOUS
from edgeailite.untrusted import Fields, printable, shown

FORMAT = 1


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
        fix = f"free disk space or change {option('save_path')}"
        raise DataError(f"cannot be written ({first_line(error)})", path=path, fix=fix, code="unwritable") from None


def save_batch(folder: Path, batch: tuple[tuple[Tensor, ...], Mapping[str, Tensor]], *, rank: int = 0) -> Path:
    """Write the batch that training stopped at, to look at: `torch.load` gives {"images": ..., "targets": ...}."""
    path = folder / (f"diverged_{rank}.pt" if rank else "diverged.pt")
    images, targets = batch
    try:
        with atomic_file(path) as file:
            torch.save({"images": tuple(images), "targets": dict(targets)}, file)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot be written ({first_line(error)}); free disk space", code="unwritable"
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
