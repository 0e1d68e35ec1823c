"""Writing a result that an option names."""

from __future__ import annotations

from pathlib import Path

from edgeailite.errors import DataError
from edgeailite.files import write_atomic


def write_result(path: Path, data: str | bytes, option: str) -> None:
    """Write a file (text as UTF-8), whole or not at all, and the folders above it.

    Raises DataError, naming the `option` to change.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a device or a pipe, such as /dev/stdout: nothing to replace
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        else:
            write_atomic(path, data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --{option}") from None
