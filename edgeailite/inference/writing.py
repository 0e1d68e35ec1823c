"""Result files: whole or not there, and never in the place of anything that `infer` did not write.

Each PNG says in its first chunk that it is a result. So a file that is there can be told from somebody's picture or
mask without a list, and earlier results among the inputs are no pictures.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from edgeailite.files import TEMPORARY, open_regular

WHOLE = r"\.png|infer\.json|shares\.json|shares\.csv|skipped\.csv|_video\.json|manifest\.jsonl"
LEFTOVER = re.compile(rf"\..*({WHOLE})\.[0-9a-f]{{16}}{re.escape(TEMPORARY)}")
TAG = b"Software\0edgeailite infer"
PNG_HEAD = 33  # bytes of signature and IHDR, which come first
_CHUNK = b"tEXt" + TAG
TAG_CHUNK = len(TAG).to_bytes(4, "big") + _CHUNK + zlib.crc32(_CHUNK).to_bytes(4, "big")


def png(image: NDArray[Any]) -> bytes:
    """Encode (H,W) uint8 or uint16, or (H,W,3) uint8 RGB, as a PNG that says it is a result."""
    data = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    return data[:PNG_HEAD] + TAG_CHUNK + data[PNG_HEAD:]


def is_result(data: bytes) -> bool:
    """Return True if a file that begins with these bytes was written by `png`."""
    return data[PNG_HEAD : PNG_HEAD + len(TAG_CHUNK)] == TAG_CHUNK


def finished(paths: Iterable[Path]) -> bool:
    """Return True if all of these results are there: they get their names when they are whole."""
    return all(_state(path) == "result" for path in paths)


def foreign(paths: Iterable[Path]) -> Path | None:
    """Return the first of these files that exists and is no result, so that it must not be overwritten."""
    return next((path for path in paths if _state(path) == "foreign"), None)


def _state(path: Path) -> str:
    """State: free (also an empty file), result, foreign (also what is no file, or cannot be read)."""
    try:
        with open_regular(path) as file:
            data = file.read(PNG_HEAD + len(TAG_CHUNK))
    except (FileNotFoundError, NotADirectoryError):
        return "free"
    except OSError:
        return "foreign"
    return "result" if is_result(data) else "foreign" if data else "free"


def remove_leftovers_below(folder: Path) -> None:
    """Remove what killed runs left half written below a folder of results; nobody else may be writing there."""
    for above, _, names in os.walk(folder):
        for name in filter(LEFTOVER.fullmatch, names):
            with contextlib.suppress(OSError):
                Path(above, name).unlink()
