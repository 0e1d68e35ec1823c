"""`edgeailite calibrate`: a float run or ONNX file to a quantized run, without training."""

from __future__ import annotations

from edgeailite.config import CalibrateConfig
from edgeailite.console import print_result
from edgeailite.metrics.names import in_words
from edgeailite.training.calibration import AS_FLOAT, NEAR_FLOAT, calibrate_run


def run(config: CalibrateConfig) -> int:
    """Calibrate and print where the run is and what it scores."""
    calibrated = calibrate_run(config)
    values = {_row(name): 100 * value for name, value in calibrated.scores.items()}
    if config.dry_run:
        print_result("dry run: everything was built, two pictures observed, nothing kept", values)
        return 0
    folder = calibrated.folder
    print_result("calibrate", {"run": str(folder), **values, "next": f"edgeailite export {folder}"})
    return 0


def _row(score: str) -> str:
    """Return what a score is called: against the float network, where there are no labels, else of validation.

    Both are of the network in torch, which computes integers in float; `verify` says how near the file is to it.
    """
    if score.endswith(AS_FLOAT):
        return f"{score.removesuffix(AS_FLOAT)}: same class as the float network, %"
    if score.endswith(NEAR_FLOAT):
        return f"{score.removesuffix(NEAR_FLOAT)}: 100 % less the error against the float network"
    return f"simulated int8: val {in_words(score)}"
