"""`edgeailite train`: from a data set to a run folder."""

from __future__ import annotations

from edgeailite.config import TrainConfig
from edgeailite.console import print_result
from edgeailite.training.float_run import train
from edgeailite.training.job import TrainingResult
from edgeailite.training.summary import float_summary, quantized_summary


def run(config: TrainConfig) -> int:
    """Train and print where the run is; with `--quantize True` also where the quantized one is."""

    def show(trained: TrainingResult) -> None:
        if trained.first:
            print_result(*float_summary(trained))

    quantized = train(config, on_trained=show).quantized
    if quantized is not None and quantized.first:
        print_result(*quantized_summary(quantized))
    return 0
