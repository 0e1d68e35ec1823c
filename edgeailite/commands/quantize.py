"""`edgeailite quantize`: quantization-aware training from a float run."""

from __future__ import annotations

from edgeailite.config import QuantizeConfig
from edgeailite.console import print_result
from edgeailite.training.quantized_run import quantize_run
from edgeailite.training.summary import quantized_summary


def run(config: QuantizeConfig) -> int:
    """Calibrate, train with fake quantization, print where the run is."""
    trained = quantize_run(config)
    if trained.first:
        print_result(*quantized_summary(trained))
    return 0
