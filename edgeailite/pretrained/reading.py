"""Tensors from a file: damaged, foreign and unsafe files are refused in one line; code in a file never runs."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from edgeailite.errors import DataError
from edgeailite.pretrained.archives import TORCHSCRIPT, archive_fault
from edgeailite.pretrained.plain import plain_values
from edgeailite.untrusted import printable

WEIGHTS_SUFFIXES = (".pt", ".pth", ".pyth", ".tar", ".ckpt", ".bin", ".safetensors")  # what a folder is searched for
FILES_NAMED = 8
MOST_HEADER = 16 << 20  # bytes of a safetensors header: some 100,000 tensors
MOST_PARTS = 3_000_000
# What torch's reader raises on files that nobody wrote with it: it checks little before it uses it.
_FAILURES = (
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    struct.error,
)

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
    """Read a .safetensors file, or one of torch (weights_only=True, right checksums), as plain values and tensors.

    DataError says why not. Memory and time are bounded by the file's size, whatever it declares.
    """
    if path.is_dir():
        raise DataError("a folder", path=path, fix=f"give {_files_in(path)}", code="wrong-kind")
    if not path.is_file():
        raise DataError("no such checkpoint file", path=path, fix="check the path", code="missing-file")
    try:
        values = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
        return plain_values(values, where=str(path), size=path.stat().st_size)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", path=path, fix="check its permissions") from None


def _read_safetensors(path: Path) -> Any:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise DataError(
            f"damaged safetensors file (a header of {length} bytes)", path=path, fix="take another", code="damaged"
        )
    try:
        return load_file(path)
    except (SafetensorError, *_FAILURES) as error:
        raise DataError(
            f"damaged safetensors file ({_first_line(error)})", path=path, fix="take another", code="damaged"
        ) from None


def _read_torch(path: Path) -> Any:
    fault = _fault(path)
    if fault == TORCHSCRIPT:
        raise DataError(
            f"{TORCHSCRIPT}, which is code", path=path, fix="take one that holds weights only", code="unsafe"
        )
    if fault:
        raise DataError(
            f"damaged checkpoint ({path.stat().st_size} bytes; {fault})", path=path, fix="take another", code="damaged"
        )
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS):
            # on the pickle protocol of foreign files; the error says enough
            warnings.simplefilter("ignore", UserWarning)
            if zipfile.is_zipfile(path):
                return torch.load(path, map_location="cpu", weights_only=True)
            with _Patient(path.open("rb", buffering=0)) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = _refused(str(error))
        if zipfile.is_zipfile(path):
            what = "refused, it holds more than tensors and plain values"
        else:
            what = "refused, not a checkpoint or one with code inside"
        raise DataError(
            f"{what} ({reason})", path=path, fix="take one that holds weights only", code="unsafe"
        ) from None
    except _FAILURES as error:
        raise DataError(
            f"damaged checkpoint ({path.stat().st_size} bytes; {_first_line(error)})",
            path=path,
            fix="take another",
            code="damaged",
        ) from None


class _Patient(io.BufferedReader):
    """A file that is read in so many parts only: in torch's old format, each is an instruction of a pickle."""

    parts = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like any file. Raises ValueError for a file that does not end."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise ValueError(f"more than {MOST_PARTS} values")
        return super().read(size)


def _first_line(error: BaseException) -> str:
    """The first sentence, without torch's advice on how to read such files all the same."""
    return printable(str(error).split("\n")[0].partition(". In ")[0])[:160] or type(error).__name__


def _files_in(folder: Path) -> str:
    """List the files of a folder that look like weights, for a message."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix in WEIGHTS_SUFFIXES and p.is_file())
    some = ", ".join(names[:FILES_NAMED]) + (", ..." if len(names) > FILES_NAMED else "")
    return f"a file in it: {some}" if names else "a file of weights; none in it looks like one"


def _refused(message: str) -> str:
    """Return torch's reason, such as `Unsupported global: GLOBAL os.system`, without its advice to run it anyway."""
    found = re.search(r"unsupported global:? (?:GLOBAL )?([\w.]+)", message, re.IGNORECASE)
    if found:
        return f"Unsupported global: GLOBAL {found.group(1)}"
    found = re.search(r"WeightsUnpickler error:\s*([^\n]+?)(?:\. |\n|$)", message)
    reason = found.group(1) if found else message.split("\n")[0].partition(". ")[0]
    return re.sub(r"\x1b\[[0-9;]*m", "", reason)[:160]


def _fault(path: Path) -> str | None:
    """Find a fault in a file before torch reads it, since torch checks no checksums; None if there is none."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.lstrip().startswith(b"<"):
        return "a web page saved under this name, such as an error or a sign-in page"
    if not start.startswith(b"PK\x03\x04"):
        return None if start else "empty"
    return archive_fault(path)
