"""Opens weights by what a user names (a path, a URL, a pair of either) and recognises their kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from edgeailite.download import download
from edgeailite.errors import DataError, UsageError
from edgeailite.files import sha256_of
from edgeailite.pretrained.find_state_dict import state_dict_of
from edgeailite.pretrained.reading import read_weights
from edgeailite.pretrained.recognise import RecognisedWeights, recognise, recognise_pair
from edgeailite.pretrained.urls import STATED_TO, record_of

Source = str | Path | Sequence[str | Path]


def open_source(source: Source, *, sha256: str | None = None) -> tuple[RecognisedWeights, str]:
    """Open a file or a pair and recognise it; returns the weights and their name for messages."""
    parts = _parts(source)
    if len(parts) not in (1, 2):
        raise UsageError(f"{len(parts)} files of weights", fix="give one, or two: ENCODER DECODER")
    if len(parts) == 1:
        return _open_one(parts[0], sha256)
    if sha256 is not None:
        raise UsageError("sha256 is checked for a single file, not for a pair")
    names = (str(parts[0]), str(parts[1]))
    (encoder, of_encoder), (decoder, of_decoder) = (_tensors(part) for part in parts)
    found = recognise_pair(encoder, decoder, names)
    return replace(found, notes=(*of_encoder, *of_decoder, *found.notes)), " + ".join(names)


def fetch(source: str | Path, *, sha256: str | None = None) -> Path:
    """Return the local file: a path, or a download; checked against `sha256` and published checksums."""
    if isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        record = record_of(source)
        size = record.size if record is not None else None
        checksum = sha256 or (record.sha256 if record else None)
        advice = ", or give a file in place of the address"
        return download(source, sha256=checksum, size=size, tolerance=STATED_TO, advice=advice)
    path = Path(source)
    if sha256 is not None and path.is_file():
        found = sha256_of(path)
        if not found.startswith(sha256.lower()):
            raise DataError(f"sha256 {found} instead of {sha256}", path=path, fix="take the right file", code="damaged")
    return path


def _parts(source: object) -> list[str | Path]:
    """Split a source into its one or two names; checked at run time, for callers without types."""
    given = list(source) if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    parts = [part for part in given if isinstance(part, (str, Path))]
    if len(parts) < len(given):
        raise UsageError(f"{source!r} as source of weights", fix="give a path, a URL, or two of them: ENCODER DECODER")
    return parts


def _open_one(source: str | Path, sha256: str | None) -> tuple[RecognisedWeights, str]:
    values = read_weights(fetch(source, sha256=sha256))
    own = isinstance(values, Mapping) and "card" in values and "format" in values
    weights, notes = state_dict_of(values, str(source))
    found = recognise(weights, str(source), own=own)
    return replace(found, notes=(*notes, *found.notes)), str(source)


def _tensors(source: str | Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    return state_dict_of(read_weights(fetch(source)), str(source))
