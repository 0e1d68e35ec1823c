"""From a predictor and a split to numbers: one code for torch networks and ONNX files."""

from edgeailite.evaluation.evaluate import class_maps, evaluate, outputs_at, results_at
from edgeailite.evaluation.predictors import Predict, onnx_predictor, torch_predictor
from edgeailite.evaluation.protocol import Protocol, part_of
from edgeailite.evaluation.tally import ClassTally, DepthTally, Tally, Tasks, empty, merge
from edgeailite.evaluation.views import PLAIN, Views
from edgeailite.evaluation.windows import sliding_window

__all__ = [
    "PLAIN",
    "ClassTally",
    "DepthTally",
    "Predict",
    "Protocol",
    "Tally",
    "Tasks",
    "Views",
    "class_maps",
    "empty",
    "evaluate",
    "merge",
    "onnx_predictor",
    "outputs_at",
    "part_of",
    "results_at",
    "sliding_window",
    "torch_predictor",
]
