"""AIMET's ONNX side: quantization simulation with defaults (per channel weights), exported as QDQ."""

from __future__ import annotations

import numpy as np
import onnx
from aimet_onnx.quantsim import QuantizationSimModel
from files import folder, pictures


def main() -> None:
    """Write aimet.onnx and what AIMET's own simulation answers."""
    place = folder()
    model = onnx.load(str(place / "float.onnx"))
    name = model.graph.input[0].name
    simulation = QuantizationSimModel(model)
    simulation.compute_encodings([{name: x} for x in pictures(place)])
    found = [simulation.session.run(None, {name: x})[0].argmax(1) for x in pictures(place, "compared")]
    np.save(place / "aimet-labels.npy", np.concatenate(found).astype(np.uint8))
    onnx.save(simulation.to_onnx_qdq(export_int32_bias=True, prequantize_constants=True), str(place / "aimet.onnx"))


if __name__ == "__main__":
    main()
