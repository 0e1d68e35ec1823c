"""A .tflite file in TensorFlow Lite Micro, where its Python package is installed: the interpreter of microcontrollers.

Its reference kernels compute; those of a device (CMSIS-NN, ESP-NN, an NPU) are not at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from edgeailite.runtime.failures import said
from edgeailite.runtime.tflite_file import read_tflite

MICRO = "tflite_micro"
LEAST_ARENA, MOST_ARENA = 2**22, 2**30  # bytes for tensors; the interpreter does not say how many it needs


def run_micro(data: bytes, codes: Sequence[NDArray[Any]], *, name: str) -> list[NDArray[Any]]:
    """Outputs of a file in the graph's order, for the codes of its inputs. Raises DataError where it fails."""
    from tflite_micro.python.tflite_micro import runtime

    with said(f"{name}: TensorFlow Lite Micro cannot run it"):
        arena = min(max(LEAST_ARENA, 24 * sum(array.size for array in codes)), MOST_ARENA)
        while True:
            try:
                model = runtime.Interpreter.from_bytes(data, arena_size=arena)
                break
            except Exception:
                if arena >= MOST_ARENA:
                    raise
                arena *= 4
        for index, array in enumerate(codes):
            model.set_input(array, index)
        model.invoke()
        return [model.get_output(index).copy() for index in range(len(read_tflite(data).outputs))]
