"""Training a network, calibrating a trained one, training it with quantization, and analysing what that costs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeailite.training.analysis import Analysis, PlanFile, analyze_run
    from edgeailite.training.calibration import CalibratedRun, calibrate_run
    from edgeailite.training.float_run import train
    from edgeailite.training.job import Trained
    from edgeailite.training.quantized_run import quantize_run

__all__ = [
    "Analysis", "CalibratedRun", "PlanFile", "Trained", "analyze_run", "calibrate_run", "quantize_run", "train",
]  # fmt: skip

_PLACES = {
    "analysis": ("Analysis", "PlanFile", "analyze_run"),
    "calibration": ("CalibratedRun", "calibrate_run"),
    "float_run": ("train",),
    "job": ("Trained",),
    "quantized_run": ("quantize_run",),
}


def __getattr__(name: str) -> Any:
    """Load what trains when it is first asked for: losses alone need none of it."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
