"""The smallest file that labels pictures: one convolution with classes and preprocessing in its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.describe import Description, describe
from tests.foreign.onnx_models import model, weights

SIDE = 64
CLASSES = ("a", "b", "c")


def small_file(folder: Path, *, seed: int = 0, classes: Sequence[str] = CLASSES) -> Path:
    """Write `small.onnx` into a folder; another seed gives another network."""
    nodes = [("Conv", "image w b", "logits", {"pads": [1] * 4})]
    constants = {"w": weights(len(classes), 3, 3, 3, seed=seed), "b": weights(len(classes), seed=seed)}
    onnx.save(model(nodes, constants, outputs=("logits",)), folder / "plain.onnx")
    described, _ = describe(folder / "plain.onnx", Description(Preprocessing(SIDE, SIDE), tuple(classes)))
    onnx.save(described, folder / "small.onnx")
    return folder / "small.onnx"
