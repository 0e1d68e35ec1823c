"""Tensors from a file: damaged, foreign and unsafe files are refused in one line; code in a file never runs."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from edgeailite.errors import DataError

WEIGHTS_SUFFIXES = (".pt", ".pth", ".pyth", ".tar", ".ckpt", ".bin", ".safetensors")  # what a folder is searched for
FILES_NAMED = 8

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
    if path.is_dir():
        raise DataError(f"{path}: a folder; give {_files_in(path)}")
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
        reason = _refused(str(error))
        if zipfile.is_zipfile(path):
            what = "refused, it holds more than tensors and plain values"
        else:
            what = "refused, not a checkpoint or one with code inside"
        raise DataError(f"{path}: {what} ({reason}); take one that holds weights only") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, IndexError, OSError) as error:
        if "TorchScript" in str(error):
            raise DataError(f"{path}: a TorchScript archive, which is code; take one that holds weights only") from None
        reason = str(error).split("\n")[0][:160]
        raise DataError(f"{path}: damaged checkpoint ({path.stat().st_size} bytes; {reason}); take another") from None


def _files_in(folder: Path) -> str:
    """Which files of a folder look like weights, for a message."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix in WEIGHTS_SUFFIXES and p.is_file())
    some = ", ".join(names[:FILES_NAMED]) + (", ..." if len(names) > FILES_NAMED else "")
    return f"a file in it: {some}" if names else "a file of weights; none in it looks like one"


def _refused(message: str) -> str:
    """What torch refused, such as `Unsupported global: GLOBAL os.system`, without its advice on how to run it."""
    found = re.search(r"unsupported global:? (?:GLOBAL )?([\w.]+)", message, re.IGNORECASE)
    if found:
        return f"Unsupported global: GLOBAL {found.group(1)}"
    found = re.search(r"WeightsUnpickler error:\s*([^\n]+?)(?:\. |\n|$)", message)
    reason = found.group(1) if found else message.split("\n")[0].partition(". ")[0]
    return re.sub(r"\x1b\[[0-9;]*m", "", reason)[:160]


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
