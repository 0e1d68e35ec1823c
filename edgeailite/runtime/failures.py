"""Turns a runtime's failure into one line with its reason, and finds outputs that are not numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, EdgeailiteError
from edgeailite.untrusted import printable

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[Any]
LONGEST_REASON = 400
HEAD = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")  # said by the sentence around it
LOADED = re.compile(r"^Load model from .*? failed:|^Failed to load model with error: ")
PLACE = re.compile(r"(?:\S*/)?[\w.]+\.(?:cc|cpp|cxx|cu|h|hpp):\d+ ")  # of the runtime's source; a signature follows


@contextmanager
def said(what: str) -> Iterator[None]:
    """Turn exceptions of a runtime in the block into a DataError that says `what` failed and, in brackets, why."""
    try:
        yield
    except EdgeailiteError:
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds, without a common base
        raise DataError(f"{what} ({reason_of(error)})") from None


def reason_of(error: BaseException) -> str:
    """A runtime's message on one line, without the places in its source that come before the reason."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = LOADED.sub("", HEAD.sub("", text))
    while (place := PLACE.search(text)) is not None:
        text = text[: place.start()] + _behind_signature(text[place.end() :])
    text = printable(text.strip())
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def _behind_signature(text: str) -> str:
    """Return the text after a C++ function's name and its arguments in brackets."""
    start = text.find("(")
    if start < 0:
        return text
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[position + 1 :].lstrip().removeprefix("const ")
    return text


def run_session(
    session: onnxruntime.InferenceSession,
    feed: Mapping[str, Array],
    names: Sequence[str] | None = None,
    *,
    where: str,
) -> dict[str, Array]:
    """Outputs by name, all of them or those in `names`. Raises DataError with onnxruntime's reason where it fails.

    `where` begins the message: the file's name.
    """
    wanted = [output.name for output in session.get_outputs()] if names is None else list(names)
    if not wanted:  # onnxruntime takes none for all
        return {}
    with said(f"{where}: onnxruntime cannot run it"):
        return dict(zip(wanted, session.run(wanted, dict(feed)), strict=True))


def check_finite(outputs: Mapping[str, Array], *, where: str) -> None:
    """Raises DataError for an output with NaN or infinite values, which would all be labelled alike."""
    for name, values in outputs.items():
        if values.dtype.kind != "f":
            continue
        with np.errstate(all="ignore"):
            total = values.sum()  # finite only where all are, but for sums beyond float32
        if not np.isfinite(total) and (bad := int(values.size - np.isfinite(values).sum())):
            raise not_finite(where, name, bad, values.size)


def not_finite(where: str, output: str, bad: int, count: int) -> DataError:
    """The error for values of an output that would all be labelled alike."""
    return DataError(
        f"output {output}: {bad} of {count} values are not finite (NaN or infinite), so they mean nothing; "
        "the weights are damaged, or too large for this picture",
        path=where,
        fix="take another checkpoint, or train again",
    )
