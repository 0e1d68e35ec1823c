"""The integer-exact form of a network in TensorFlow Lite's arithmetics: a program for each size of the pictures.

Takes and gives what the other integer-exact networks do: normalised float images (N,3,H,W) and float scores (N,C,H,W).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from edgeailite.preprocessing import quantized_input
from edgeailite.quantization.enlarge import convolve_resizes
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.program import Program, Value
from edgeailite.quantization.program_builder import CHANNELS_FIRST, PICTURE
from edgeailite.quantization.tflite_rules import run_program


class LoweredPrograms:
    """A converted network in the arithmetic of this name; each size of pictures is lowered once."""

    def __init__(self, converted: fx.GraphModule, arithmetic: str) -> None:
        self.converted = converted
        self.arithmetic = arithmetic
        self.programs: dict[tuple[int, int], Program] = {}

    def run(self, *images: Tensor) -> dict[str, Tensor]:
        """Compute the outputs of a batch, one picture after another."""
        parts = [self._run_picture([image[index].cpu() for image in images]) for index in range(len(images[0]))]
        return {name: torch.stack([part[name] for part in parts]).to(images[0].device) for name in parts[0]}

    def _run_picture(self, images: list[Tensor]) -> dict[str, Tensor]:
        program = self._program((images[0].shape[1], images[0].shape[2]))
        codes = [input_codes(image.numpy(), value) for image, value in zip(images, program.inputs, strict=True)]
        outputs = run_program(program, codes, self.arithmetic)
        return {name: torch.from_numpy(channels_first(value)[0]) for name, value in outputs.items()}

    def _program(self, size: tuple[int, int]) -> Program:
        if size not in self.programs:
            self.programs[size] = lower(convolve_resizes(self.converted, size), size, head="logits")
        return self.programs[size]


def channels_first(values: NDArray[Any]) -> NDArray[Any]:
    """Return a tensor of a program (1,H,W,C) as torch has it, (1,C,H,W); one that is no picture as it is."""
    return np.ascontiguousarray(values.transpose(CHANNELS_FIRST)) if values.ndim == PICTURE else values


def input_codes(image: NDArray[np.float32], value: Value) -> NDArray[Any]:
    """Quantize a normalised image (3,H,W) to the codes (1,H,W,3) of a program's input."""
    return quantized_input(image[None], value.scale, value.zero_point, value.type)
