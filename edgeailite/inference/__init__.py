"""From pictures and videos to labels and result files.

`label_inputs` takes the options of `infer` and does all of it; `label_picture` labels one picture in memory.
"""

from edgeailite.inference.drawing import PICTURES, Output, draw, outputs_of
from edgeailite.inference.label import Labelled, label_inputs, label_picture
from edgeailite.inference.naming import result_names
from edgeailite.inference.parallel_map import parallel_map
from edgeailite.inference.pictures import EARLIER_RESULT, FINISHED, Left, Picture, Read, Wanted, as_input, write
from edgeailite.inference.results import Results, check_outputs, is_video_result, read_record, settle, write_record
from edgeailite.inference.smoothing import Flicker, Smoother
from edgeailite.inference.sources import Found, Inputs, find_pictures, inputs, lines_of

__all__ = [
    "EARLIER_RESULT", "FINISHED", "PICTURES", "Flicker", "Found", "Inputs", "Labelled", "Left", "Output", "Picture",
    "Read", "Results", "Smoother", "Wanted", "as_input", "check_outputs", "draw", "find_pictures", "inputs",
    "is_video_result", "label_inputs", "label_picture", "lines_of", "outputs_of", "parallel_map", "read_record",
    "result_names", "settle", "write", "write_record",
]  # fmt: skip
