"""Writing a result that an option names."""

from __future__ import annotations

from pathlib import Path

from edgeailite.errors import DataError


def write_result(path: Path, data: str | bytes, option: str) -> None:
    """Write a file (text as UTF-8) and the folders above it. Raises DataError, naming the `option` to change."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --{option}") from None
