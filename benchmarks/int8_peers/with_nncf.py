"""NNCF, post-training quantization of the ONNX file with defaults."""

from __future__ import annotations

import nncf
import onnx
from files import folder, pictures


def main() -> None:
    """Write nncf.onnx."""
    place = folder()
    model = onnx.load(str(place / "float.onnx"))
    name = model.graph.input[0].name
    data = nncf.Dataset(pictures(place), lambda x: {name: x})
    onnx.save(nncf.quantize(model, data, subset_size=len(pictures(place))), str(place / "nncf.onnx"))


if __name__ == "__main__":
    main()
