"""Opens the models that a service offers, under their names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from edgeailite import __version__
from edgeailite.errors import UsageError
from edgeailite.files import sha256_of
from edgeailite.inference import label_picture
from edgeailite.inference.writing import png
from edgeailite.modelcard import ModelCard
from edgeailite.runs.open import OpenModel, open_model
from edgeailite.runs.weights import chosen_weights
from edgeailite.serve.proof import proof
from edgeailite.serve.served_model import ServedModel
from edgeailite.untrusted import printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NEW_COLOR = (128, 128, 128)  # of a class that the card has no colour for


def named(models: tuple[str, ...]) -> dict[str, Path]:
    """Return paths of NAME=PATH or PATH by name, by default the file's or folder's. UsageError for a repeated name."""
    paths: dict[str, Path] = {}
    for word in models:
        name, equals, rest = word.partition("=")
        path = Path(rest if equals else word)
        name = name if equals else path.resolve().stem if path.suffix else path.resolve().name
        if not NAME.fullmatch(name):
            hint = f"{name!r} is no name for a model (letters, digits, . _ -); NAME={path}"
            raise UsageError(printable(hint), about="models", value=printable(word))
        if name in paths:
            raise UsageError(
                f"{name} is the name of {paths[name]} already", fix=f"write OTHER={path}", about="models", value=word
            )
        paths[name] = path
    return paths


def served(name: str, path: Path, *, threads: int) -> ServedModel:
    """Open a model, check a file's contract and label a picture, so that the first request is as fast as the next."""
    opened = open_model(chosen_weights(path), device="cpu", threads=threads)
    _check_takes_pictures(opened.card, path)
    output = opened.card.classified[0]
    known = {**facts(opened), **({"proof": proof(opened.file, threads=threads)} if opened.is_file else {})}
    model = ServedModel(name, classes(opened.card, output), lambda image: label_picture(opened, image), known, png)
    pre = opened.card.preprocessing
    model.labels(np.zeros((*pre.size, 3), np.uint8))
    return model


def classes(card: ModelCard, output: str) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """Name and colour of every class of an output; numbers and grey for those that the card does not name."""
    return tuple(
        (
            card.classes[index] if index < len(card.classes) else f"class {index}",
            card.palette[index] if index < len(card.palette) else NEW_COLOR,
        )
        for index in range(card.outputs[output])
    )


def facts(opened: OpenModel) -> dict[str, object]:
    """Return the answer to `GET /model` without its classes; it holds no path of this machine."""
    pre = opened.card.preprocessing
    return {
        "network": opened.card.model_name,
        "data": opened.card.dataset_name,
        "arithmetic": opened.number_type,
        "form": opened.kind,
        "sha256": sha256_of(opened.file),
        "input": {
            "height": pre.height,
            "width": pre.width,
            "mean": list(pre.mean),
            "scale": list(pre.scale),
            "channel_order": pre.channel_order,
            "interpolation": pre.interpolation,
        },
        "version": __version__,
    }


def _check_takes_pictures(card: ModelCard, source: Path) -> None:
    """Raises UsageError for networks whose result cannot be drawn, or that want more than a picture."""
    if len(card.inputs) > 1:
        raise UsageError(
            f"serve {source}: the network takes {len(card.inputs)} pictures at a time, a request has one", code="no-fit"
        )
    if not card.classified:
        raise UsageError(
            f"serve {source}: the network has no map of classes, only {', '.join(card.outputs)}", code="wrong-kind"
        )
