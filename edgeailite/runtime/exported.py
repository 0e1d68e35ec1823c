"""An exported file that is ready to run, whatever its format: what ONNX and .tflite files have in common."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import preprocess


class ExportedModel(Protocol):
    """A loaded file. `card`, `kind` ("float" or "int8") and `argmax` come from its metadata.

    `fixed_size` is the (height, width) of its inputs, None where any will do; `one_at_a_time` says that it takes one
    picture per call, `name` is how messages call it.
    """

    @property
    def card(self) -> ModelCard: ...
    @property
    def kind(self) -> str: ...
    @property
    def argmax(self) -> str: ...
    @property
    def fixed_size(self) -> tuple[int, int] | None: ...
    @property
    def name(self) -> str: ...
    @property
    def one_at_a_time(self) -> bool: ...

    def run(self, *images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Outputs by name for normalised inputs (N,3,H,W): values (N,C,H,W), or class numbers (N,H,W)."""


def run(model: ExportedModel, *images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Outputs by name for normalised inputs (N,3,H,W), in the order of the file's inputs.

    Raises DataError where the runtime fails, or for outputs that are not finite; UsageError for inputs of another
    number or shape.
    """
    return model.run(*images)


def run_picture(model: ExportedModel, *pictures: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Outputs for pictures (H,W,3) uint8 RGB of any size, one per input, preprocessed as the file's metadata says."""
    return run(model, *(preprocess(picture, model.card.preprocessing) for picture in pictures))
