"""Brevitas, post-training: `preprocess_for_quantize` and `quantize` with defaults, exported as QCDQ ONNX."""

from __future__ import annotations

import torch
from brevitas.export import export_onnx_qcdq
from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
from brevitas.graph.quantize import preprocess_for_quantize, quantize
from files import folder, network, pictures, save_labels


def main() -> None:
    """Write brevitas.onnx and what the fake-quantized network answers."""
    place = folder()
    model = quantize(preprocess_for_quantize(network(place, folded=True)))
    with torch.no_grad():
        with calibration_mode(model):
            for picture in pictures(place):
                model(torch.from_numpy(picture))
        with bias_correction_mode(model):
            for picture in pictures(place)[:4]:
                model(torch.from_numpy(picture))
    save_labels(place, "brevitas", model)
    example = torch.from_numpy(pictures(place)[0])
    export_onnx_qcdq(model, args=example, export_path=str(place / "brevitas.onnx"), opset_version=17, dynamo=False)


if __name__ == "__main__":
    main()
