"""Arm Ethos-U: the file of target `tflite`, and beside it the same compiled by Vela for one accelerator.

`verify` proves the first. That the second gives the same codes is Vela's and Arm's word: no NPU and no simulator of one
has run it here.
"""

from __future__ import annotations

from edgeailite.errors import UsageError, option
from edgeailite.export.targets import tflite
from edgeailite.export.targets.record import Files, Request, Target
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.export.vela import ACCELERATORS, check_vela, compile_tflite

NAME = "ethos-u"


def files(request: Request) -> Files:
    """Return the .tflite file and the compiled one.

    Raises UsageError without an accelerator or without Vela, and as target `tflite` does; DataError where Vela fails.
    """
    if request.accelerator is None:
        raise UsageError(
            f"{option('target')} {NAME}: a compiled file runs on one accelerator alone; "
            f"add {option('accelerator')} {' or '.join(ACCELERATORS)}",
            known=tuple(ACCELERATORS),
        )
    check_vela(request.accelerator)
    made = tflite.files(request, name=NAME)
    written = made[".tflite"]
    assert isinstance(written, WrittenProgram)
    return {**made, "_vela.tflite": compile_tflite(written.data, request.accelerator)}


TARGET = Target(
    NAME,
    "Arm Ethos-U: TensorFlow Lite, compiled by Vela",
    files,
    program_checks=(tflite.npu_weights, tflite.dead_channels),
    schemes=tflite.TARGET.schemes,
)
