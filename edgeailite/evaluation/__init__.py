"""From a predictor and a split to numbers: one code for torch networks and ONNX files."""

from edgeailite.evaluation.bootstrap import differences, interval
from edgeailite.evaluation.comparison import Comparison, compare
from edgeailite.evaluation.evaluate import class_maps, evaluate, only, outputs_at, results_at
from edgeailite.evaluation.measure import Prepared, Validation, measure, prepare_validation, summarize, validate
from edgeailite.evaluation.pairing import Disagreement, Pair, class_numbers, depth_numbers, pair_up
from edgeailite.evaluation.protocol import Protocol, part_of
from edgeailite.evaluation.tally import (
    ClassTally,
    DepthTally,
    Part,
    PictureTally,
    Tally,
    Tasks,
    as_plain,
    empty,
    from_plain,
    merge,
)
from edgeailite.evaluation.views import PLAIN, Views
from edgeailite.evaluation.windows import sliding_window
from edgeailite.runs.predictors import Predict, file_predictor, torch_predictor

__all__ = [
    "PLAIN",
    "Disagreement",
    "ClassTally",
    "Comparison",
    "DepthTally",
    "Pair",
    "Part",
    "PictureTally",
    "Predict",
    "Prepared",
    "Protocol",
    "Tally",
    "Tasks",
    "Validation",
    "Views",
    "as_plain",
    "class_maps",
    "class_numbers",
    "compare",
    "depth_numbers",
    "differences",
    "empty",
    "evaluate",
    "file_predictor",
    "from_plain",
    "interval",
    "measure",
    "merge",
    "only",
    "outputs_at",
    "pair_up",
    "part_of",
    "prepare_validation",
    "results_at",
    "sliding_window",
    "summarize",
    "torch_predictor",
    "validate",
]
