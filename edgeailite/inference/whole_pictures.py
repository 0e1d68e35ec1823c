"""Classes of whole pictures: the first few of each picture with their scores, a row each in `classes.csv`.

Scores are the network's own numbers: logits, or shares where the network ends in a softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.evaluation.values import Values, on_host
from edgeailite.modelcard import ModelCard

CSV = "classes.csv"
SHOWN = 5  # classes of a picture
DIGITS = 6  # of a score


@dataclass(frozen=True)
class WholeOutput:
    """An output with one class for the whole picture; `name` begins its columns, "" for the only output."""

    key: str
    name: str
    classes: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Return the columns of its classes and scores, the best first."""
        before = f"{self.name}/" if self.name else ""
        counts = range(1, min(SHOWN, len(self.classes)) + 1)
        return [f"{before}{word} {count}" for count in counts for word in ("class", "score")]

    def row(self, value: Values) -> list[str]:
        """Return the cells of a picture's scores (1,C,1,1); of equal scores the first class comes first."""
        scores = on_host(value).reshape(-1)
        best = np.argsort(-scores, kind="stable")[: min(SHOWN, len(self.classes))]
        return [cell for index in best for cell in (self.classes[index], f"{float(scores[index]):.{DIGITS}g}")]


def whole_outputs(card: ModelCard) -> tuple[WholeOutput, ...]:
    """Return the outputs of a network that have one class for the whole picture; classes without names are numbers."""
    found = []
    for key in card.whole:
        own = len(card.classes) == card.outputs[key]
        classes = card.classes if own else tuple(map(str, range(card.outputs[key])))
        found.append(WholeOutput(key, key if len(card.outputs) > 1 else "", classes))
    return tuple(found)


def rows_of(outputs: Sequence[WholeOutput], values: Mapping[str, Values]) -> list[str]:
    """Return the cells of a picture, one output after the other."""
    return [cell for output in outputs for cell in output.row(values[output.key])]


def class_numbers(outputs: Sequence[WholeOutput], values: Mapping[str, Values]) -> dict[str, NDArray[Any]]:
    """Return the class of the picture by output, (1,1) uint16, as a manifest's hash is made of."""
    return {output.key: np.array([[on_host(values[output.key]).argmax()]], np.uint16) for output in outputs}
