"""ONNX models as files: what our metadata says of them, and writing one. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.numpy_helper

from edgeailite.files import sha256_of, write_result
from edgeailite.modelcard import ModelCard


def card_entries(card: ModelCard) -> dict[str, str]:
    """Return the metadata made from the card: the card itself, and plain entries for other programs."""
    return {
        "edgeailite.card": json.dumps({**card.to_dict(), "data_path": None}, sort_keys=True),
        "edgeailite.tasks": json.dumps(card.tasks),
        "classes": ",".join(card.classes),
        "palette": json.dumps(card.palette),
        "mean": json.dumps(card.preprocessing.mean),
        "scale": json.dumps(card.preprocessing.scale),
        "channel_order": card.preprocessing.channel_order,
        "input_size": f"{card.preprocessing.height}x{card.preprocessing.width}",
        "interpolation": card.preprocessing.interpolation,
    }


def weights_hash(model: onnx.ModelProto) -> str:
    """Return the sha256 over names, types, shapes and bytes of all initializers."""

    def parts() -> Iterator[bytes]:
        for tensor in sorted(model.graph.initializer, key=lambda t: t.name):
            yield f"{tensor.name} {tensor.data_type} {list(tensor.dims)}".encode()
            yield onnx.numpy_helper.to_array(tensor).tobytes()

    return sha256_of(parts())


def write_model(path: Path, model: onnx.ModelProto) -> None:
    """Write an ONNX model, whole or not at all. Raises DataError if the folder cannot be written."""
    write_result(path, model.SerializeToString(deterministic=True), "output")
