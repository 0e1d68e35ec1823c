"""`edgeailite calibrate`: a float run or ONNX file to a quantized run, without training."""

from __future__ import annotations

from edgeailite.config import CalibrateConfig
from edgeailite.console import print_result
from edgeailite.training.calibration import calibrate_run


def run(config: CalibrateConfig) -> int:
    """Calibrate and print where the run is and what it scores."""
    calibrated = calibrate_run(config)
    how = "pictures_{}" if config.pictures is not None else "val_{}_fake_quant"
    values = {how.format(name): 100 * value for name, value in calibrated.scores.items()}
    if config.dry_run:
        print_result("dry run: everything was built, two pictures observed, nothing kept", values)
        return 0
    folder = calibrated.folder
    print_result("calibrate", {"run": str(folder), **values, "next": f"edgeailite export {folder}"})
    return 0
