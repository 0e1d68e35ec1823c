"""Training a network, calibrating a trained one, training it with quantization, and analysing what that costs."""

from typing import TYPE_CHECKING

from edgeailite.lazy import lazily

if TYPE_CHECKING:
    from edgeailite.training.analysis import Analysis, PlanFile, analyze_run
    from edgeailite.training.calibration import CalibratedRun, calibrate_run
    from edgeailite.training.float_run import train
    from edgeailite.training.job import TrainingResult
    from edgeailite.training.quantized_run import quantize_run

__all__ = [
    "Analysis", "CalibratedRun", "PlanFile", "TrainingResult", "analyze_run", "calibrate_run", "quantize_run", "train",
]  # fmt: skip

# Losses alone need none of it.
__getattr__ = lazily(
    __name__,
    {
        "Analysis": "analysis",
        "CalibratedRun": "calibration",
        "PlanFile": "analysis",
        "TrainingResult": "job",
        "analyze_run": "analysis",
        "calibrate_run": "calibration",
        "quantize_run": "quantized_run",
        "train": "float_run",
    },
)
