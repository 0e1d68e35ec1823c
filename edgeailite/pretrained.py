"""Weights from files into a network, with a report of what was and was not loaded; nothing partial in silence."""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgeailite.errors import DataError


@dataclass(frozen=True)
class LoadReport:
    """What `load_pretrained` did, by state-dict key."""

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]


def load_pretrained(model: nn.Module, source: Path, *, strict: bool = True) -> LoadReport:
    """Load our own or a published edgeailite checkpoint (any nesting, `module.` prefixes) into `model`.

    With `strict`, any missing, unexpected or differently shaped tensor raises DataError and nothing is loaded.
    """
    weights = {key.removeprefix("module."): value for key, value in state_dict_of(read_weights(source), source).items()}
    own = model.state_dict()
    mismatched = tuple(k for k in own if k in weights and weights[k].shape != own[k].shape)
    loaded = tuple(k for k in own if k in weights and k not in mismatched)
    missing = tuple(k for k in own if k not in weights and not k.endswith("num_batches_tracked"))
    report = LoadReport(str(source), loaded, missing, tuple(k for k in weights if k not in own), mismatched)
    if strict and (report.missing or report.unexpected or report.mismatched):
        raise DataError(f"{source}: does not fit this network: {describe(report)}; use the checkpoint's own network")
    model.load_state_dict({k: weights[k] for k in loaded}, strict=False)
    return report


def describe(report: LoadReport) -> str:
    """Counts and first names of what did not fit."""
    parts = {"missing": report.missing, "unexpected": report.unexpected, "other shape": report.mismatched}
    return (
        ", ".join(f"{len(keys)} {what} ({keys[0]}, ...)" for what, keys in parts.items() if keys) or "everything fits"
    )


def read_weights(path: Path) -> Any:
    """A .safetensors file, or `torch.load(weights_only=True)` of one with right checksums. DataError says why not."""
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint file; check the path")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: damaged safetensors file ({error}); take another") from None
    damage = _damage(path)
    if damage:
        raise DataError(f"{path}: damaged checkpoint ({path.stat().st_size} bytes; {damage}); take another")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # on the pickle protocol of foreign files; the error says enough
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0][:160]
        if zipfile.is_zipfile(path):
            what = "refused, it holds more than tensors and plain values"
        else:
            what = "refused, not a checkpoint or one with code inside"
        raise DataError(f"{path}: {what} ({reason}); take one that holds weights only") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).split("\n")[0][:160]
        raise DataError(f"{path}: damaged checkpoint ({path.stat().st_size} bytes; {reason}); take another") from None


def _damage(path: Path) -> str | None:
    """What is wrong with a zip file: torch itself checks no checksums. None for a whole one, or another format."""
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"PK\x03\x04":
        return None if start else "empty"
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        return "truncated or altered"
    return None if altered is None else f"{altered} is altered"


def state_dict_of(values: Any, source: Path) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint, however nested. Raises DataError if there are none."""
    while isinstance(values, Mapping):
        if values and all(isinstance(v, Tensor) for v in values.values()):
            return values
        values = next((values[k] for k in ("state_dict", "model", "model_state") if k in values), None)
    raise DataError(f"{source}: no state_dict in this file")
