"""Tensors from a file: damaged, foreign and unsafe files are refused in one line; code in a file never runs."""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgeailite.errors import DataError

NESTING = ("state_dict", "model", "model_state")  # published edgeailite, others, pycls

# Old checkpoints keep their best metric as a numpy number. These build numbers and nothing else.
_NUMBERS = "?bhilqBHILQefd"  # numpy's letters for bool, integers and floats
_SCALAR = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(name)) for name in _NUMBERS},
]


def read_weights(path: Path) -> Any:
    """A .safetensors file, or `torch.load(weights_only=True)` of one with right checksums. DataError says why not."""
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint file; check the path")
    try:
        return load_file(path) if path.suffix == ".safetensors" else _read_torch(path)
    except SafetensorError as error:
        raise DataError(f"{path}: damaged safetensors file ({error}); take another") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None


def _read_torch(path: Path) -> Any:
    fault = _fault(path)
    if fault:
        raise DataError(f"{path}: damaged checkpoint ({path.stat().st_size} bytes; {fault}); take another")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            # on the pickle protocol of foreign files; the error says enough
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0][:160]
        if zipfile.is_zipfile(path):
            what = "refused, it holds more than tensors and plain values"
        else:
            what = "refused, not a checkpoint or one with code inside"
        raise DataError(f"{path}: {what} ({reason}); take one that holds weights only") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, IndexError, OSError) as error:
        reason = str(error).split("\n")[0][:160]
        raise DataError(f"{path}: damaged checkpoint ({path.stat().st_size} bytes; {reason}); take another") from None


def _fault(path: Path) -> str | None:
    """What is wrong with a file before torch sees it: torch itself checks no checksums. None for a whole one."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.lstrip().startswith(b"<"):
        return "a web page saved under this name, such as an error or a sign-in page"
    if not start.startswith(b"PK\x03\x04"):
        return None if start else "empty"
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        return "truncated or altered"
    return None if altered is None else f"{altered} is altered"


def state_dict_of(values: Any, source: Path | str) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint, however nested. Raises DataError if there are none."""
    while isinstance(values, Mapping):
        if values and all(isinstance(v, Tensor) for v in values.values()):
            return values
        values = next((values[k] for k in NESTING if k in values), None)
    raise DataError(f"{source}: no state_dict in this file")
