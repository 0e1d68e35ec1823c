"""From inputs of any kind to result files, around a network that is somebody else's: what `edgeailite infer` does."""

from edgeailite.inference.drawing import PICTURES, Output, draw, outputs_of
from edgeailite.inference.naming import result_names
from edgeailite.inference.parallel_map import parallel_map
from edgeailite.inference.pictures import EARLIER_RESULT, FINISHED, Left, Picture, Read, Wanted, as_input, write
from edgeailite.inference.results import Results, check_outputs, is_video_result, read_record, settle, write_record
from edgeailite.inference.smoothing import Flicker, Smoother
from edgeailite.inference.sources import Found, Inputs, find_pictures, inputs, lines_of

__all__ = [
    "EARLIER_RESULT", "FINISHED", "PICTURES", "Flicker", "Found", "Inputs", "Left", "Output", "Picture", "Read",
    "Results", "Smoother", "Wanted", "as_input", "check_outputs", "draw", "find_pictures", "inputs",
    "is_video_result", "lines_of", "parallel_map", "outputs_of", "read_record", "result_names", "settle", "write",
    "write_record",
]  # fmt: skip
