"""Reads a request: the parameters of its address, and the one picture in its body."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Request
from werkzeug.datastructures import MultiDict

from edgeailite.serve.errors import Problem
from edgeailite.serve.responses import ANSWERS
from edgeailite.untrusted import printable

PARAMETERS = ("output", "model", "alpha")
MULTIPART = "multipart/form-data"
# application/x-www-form-urlencoded is what `curl --data-binary @picture` says when nothing else is told
RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
MAX_PARTS = 8
MAX_FIELD = 65_536  # bytes of form fields that are no files


class Upload(Request):
    """A request whose files are kept in memory: they are read at once, by a worker, within the largest body."""

    def _get_file_stream(self, *about: object, **more: object) -> io.BytesIO:
        return io.BytesIO()


@dataclass(frozen=True)
class LabelRequest:
    """One answer of one model; `alpha` is the weight of the colours in an overlay."""

    output: str
    model: str
    alpha: float


def read_label_request(args: MultiDict[str, str], names: Sequence[str], *, alpha: float) -> LabelRequest:
    """Read the parameters strictly: a misspelt one is an error, not ignored. Raises Problem `bad_parameter`."""
    for name in args:
        if name not in PARAMETERS:
            raise Problem("bad_parameter", f"unknown parameter {_shown(name)}; there are {', '.join(PARAMETERS)}")
        if len(args.getlist(name)) > 1:
            raise Problem("bad_parameter", f"parameter {name} is given {len(args.getlist(name))} times, expected one")
    output = args.get("output", next(iter(ANSWERS)))
    if output not in ANSWERS:
        raise Problem("bad_parameter", f"output={_shown(output)}: expected {', '.join(ANSWERS)}")
    return LabelRequest(output, read_model(args, names), _alpha(args, alpha))


def read_model(args: MultiDict[str, str], names: Sequence[str]) -> str:
    """Return the model's name; by default the first. Raises Problem `bad_parameter`."""
    name = args.get("model", names[0])
    if name not in names:
        raise Problem("bad_parameter", f"model={_shown(name)}: there are {printable(', '.join(names))}")
    return name


def check_type(request: Request) -> None:
    """Raise Problem `unsupported` for a body whose type says that it is no picture."""
    kind = request.mimetype
    if kind != MULTIPART and kind not in RAW_TYPES and not kind.startswith("image/"):
        raise Problem(
            "unsupported", f"Content-Type {_shown(kind)}: send the picture itself (image/...) or {MULTIPART} with one"
        )


def picture_bytes(request: Request) -> bytes:
    """Return the bytes of the one picture: the body, or its only file. Raises Problem `bad_picture` or `too_large`."""
    if request.mimetype != MULTIPART:
        return request.get_data(cache=False, parse_form_data=False)
    request.max_form_parts, request.max_form_memory_size = MAX_PARTS, MAX_FIELD
    files = [file for _, file in request.files.items(multi=True)]
    if len(files) != 1:
        raise Problem("bad_picture", f"the form has {len(files)} files, expected one picture")
    return files[0].stream.read()


def _alpha(args: MultiDict[str, str], default: float) -> float:
    text = args.get("alpha")
    if text is None:
        return default
    try:
        value = float(text) if len(text) <= 32 else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise Problem("bad_parameter", f"alpha={_shown(text)}: expected a number from 0 to 1")
    return value


def _shown(text: str) -> str:
    """A client's words inside a message: short, and printable."""
    return repr(text[:40] + ("..." if len(text) > 40 else ""))
