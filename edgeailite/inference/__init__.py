"""From pictures and videos to labels and result files.

`label_inputs` takes the options of `infer` and does all of it; `label_picture` labels one picture in memory.
"""

from edgeailite.inference.drawing import draw, outputs_of
from edgeailite.inference.label import LabellingSummary, label_inputs, label_picture
from edgeailite.inference.naming import result_names
from edgeailite.inference.pictures import ResultSettings, as_input, write
from edgeailite.inference.predictor import Predictor
from edgeailite.inference.sources import find_pictures

__all__ = [
    "LabellingSummary", "Predictor", "ResultSettings", "as_input", "draw", "find_pictures", "label_inputs",
    "label_picture", "outputs_of", "result_names", "write",
]  # fmt: skip
