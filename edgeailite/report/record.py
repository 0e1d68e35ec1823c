"""The records of a report: filled by `write`, laid out by `page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.drawing.html import Figure
from edgeailite.metrics import Confusion, DepthScores
from edgeailite.modelcard import ModelCard

Picture = NDArray[np.uint8]
Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Example:
    """A picture with its label and prediction, RGB (H,W,3) each, and the score of this picture alone.

    `overlay` shows the prediction over the picture, or for depth the differences.
    """

    name: str
    score: str
    picture: Picture
    label: Picture
    prediction: Picture
    overlay: Picture


@dataclass(frozen=True)
class ClassResult:
    """An output with classes over the whole split; `values` are the label values of each class, as text."""

    output: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    confusion: Confusion
    values: tuple[str, ...] = ()
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class DepthResult:
    """An output of depths over the whole split."""

    output: str
    scores: DepthScores
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class PictureResult:
    """An output with one class for the whole picture over the whole split: `top1` and `top5` as shares, and counts."""

    output: str
    classes: tuple[str, ...]
    scores: Mapping[str, float]
    confusion: Confusion
    examples: Sequence[Example] = ()


Result = ClassResult | DepthResult | PictureResult


@dataclass(frozen=True)
class Parity:
    """A contract.json: the file it was written for, whether that file is still the same, and the numbers (nested)."""

    file: str
    state: str
    results: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A sentence that says what is proven of a file; `mark` is good, bad or open."""

    mark: str
    text: str


@dataclass(frozen=True)
class FormScores:
    """One form of the network (float, fake-quantized, ...): its scores as texts, or a note why there are none."""

    name: str
    cells: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: a head, and rows of a name and texts."""

    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Report:
    """All values of a report.

    `facts` and the like are (name, text) rows. `curves` are PNG bytes and what they show, `float_curves` those of the
    float run that a quantized one was trained from, `forms` the head of their
    scores and the forms, `sensitivity` bars and rows of layers. `missing` says by section what to run.
    """

    card: ModelCard
    kind: str
    split: str
    pictures: int
    results: Sequence[Result]
    verdicts: Sequence[Verdict] = ()
    facts: Rows = ()
    tiles: Rows = ()
    data: Rows = ()
    curves: tuple[bytes, str] | None = None
    float_curves: tuple[bytes, str] | None = None
    training: Rows = ()
    forms: tuple[Sequence[str], Sequence[FormScores]] | None = None
    quantization: Rows = ()
    sensitivity: tuple[Figure, Grid] | None = None
    cost: Rows = ()
    devices: Grid | None = None
    parity: Sequence[Parity] = ()
    config: Rows = ()
    environment: Rows = ()
    hashes: Rows = ()
    commands: Sequence[str] = ()
    missing: Mapping[str, str] | None = None
