"""onnxruntime's `quantize_static`: its defaults, and the settings that its documentation advises for CPUs."""

from __future__ import annotations

import onnx
from files import folder, pictures
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Reader(CalibrationDataReader):
    """Calibration pictures one by one."""

    def __init__(self, name: str) -> None:
        self.left = [{name: x} for x in pictures(folder())]

    def get_next(self) -> dict | None:
        return self.left.pop(0) if self.left else None


def main() -> None:
    """Write both files."""
    place = folder()
    prepared = place / "onnxruntime-prepared.onnx.tmp"
    quant_pre_process(str(place / "float.onnx"), str(prepared))
    name = onnx.load(str(prepared)).graph.input[0].name
    quantize_static(str(prepared), str(place / "onnxruntime_defaults.onnx"), Reader(name))
    quantize_static(
        str(prepared),
        str(place / "onnxruntime_u8s8_per_channel.onnx"),
        Reader(name),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    prepared.unlink()


if __name__ == "__main__":
    main()
