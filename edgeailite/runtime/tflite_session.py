"""A .tflite file in LiteRT, which is optional (extra `tflite`): the same call as an ONNX file's, and inner tensors.

Nothing of LiteRT is imported before it is asked for. `kernels` says who computes: `xnnpack` is what LiteRT takes by
default on CPUs, `reference` its reference kernels, whose arithmetic microcontrollers follow. Each file is read and
checked here, and run once in a child process, before it is loaded: LiteRT ends its process on some damaged files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import UsageError
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import quantized_input
from edgeailite.runtime.failures import check_finite, said
from edgeailite.runtime.resize import resize_bilinear
from edgeailite.runtime.tflite_file import Tensor, read_tflite
from edgeailite.runtime.tflite_metadata import admit_tflite
from edgeailite.runtime.tflite_trial import KERNELS, try_tflite

Array = NDArray[Any]
PICTURE = 4  # sides of a tensor (1,H,W,C)
LOUD = Lock()  # one at a time may turn stderr away


@dataclass(frozen=True)
class TfliteModel:
    """A loaded file: `run(x)` computes; `card` and `head` come from its metadata.

    `head` says what the outputs hold: logits (float32), quantized (their codes), codes (those of the decoder's size,
    for who resizes them), argmax (class numbers).
    """

    interpreter: Any
    card: ModelCard
    kind: str
    argmax: str
    fixed_size: tuple[int, int]
    name: str
    head: str
    inputs: Sequence[tuple[int, Tensor]]
    outputs: Mapping[str, tuple[int, Tensor]]
    one_at_a_time: bool = True
    lock: Lock = field(default_factory=Lock)  # LiteRT's interpreter holds the tensors of one run

    def run(self, *images: NDArray[np.float32]) -> dict[str, Array]:
        """Outputs by name for normalised inputs (1,3,H,W), in the order of the file's inputs, at the network's size.

        Codes are given as values; those of the decoder's size are enlarged here, in float. Raises UsageError for
        another number or shape of inputs, DataError where LiteRT fails or for outputs that are not finite.
        """
        if len(images) != len(self.inputs):
            names = ", ".join(tensor.name for _, tensor in self.inputs)
            raise UsageError(f"the file takes {len(self.inputs)} image(s) ({names}), got {len(images)}", code="no-fit")
        codes = [input_codes(image, tensor) for image, (_, tensor) in zip(images, self.inputs, strict=True)]
        found = self.compute(codes)
        results = {name: self.values(name, value) for name, value in found.items()}
        check_finite(results, where=self.name)
        return results

    def compute(self, codes: Sequence[Array]) -> dict[str, Array]:
        """Outputs as the file gives them (channels last) for the codes (1,H,W,3) of its inputs. Raises DataError."""
        with self.lock, said(f"{self.name}: LiteRT cannot run it"):
            for values, (index, _) in zip(codes, self.inputs, strict=True):
                self.interpreter.set_tensor(index, values)
            self.interpreter.invoke()
            return {name: self.interpreter.get_tensor(index) for name, (index, _) in self.outputs.items()}

    def values(self, name: str, found: Array) -> Array:
        """Turn an output into the network's values: (1,C,H,W) or (1,C) float32, or class numbers (1,H,W) or (1)."""
        _, tensor = self.outputs[name]
        if tensor.type == "int32":
            return found
        values = found if tensor.scale is None else values_of(found, tensor)
        if self.head == "codes" and values.ndim == PICTURE:
            corners = bool(self.card.options.get("align_corners", False))
            values = resize_bilinear(values, self.fixed_size, align_corners=corners)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if values.ndim == PICTURE else values


def load_tflite(source: Path | bytes, *, threads: int | None = None, kernels: str = "xnnpack") -> TfliteModel:
    """Open an exported .tflite file (or its bytes) on the CPU.

    Raises UsageError where LiteRT is not installed, DataError for a missing, damaged or foreign file, and for one whose
    metadata and graph do not agree.
    """
    file = read_tflite(source)
    about, head = admit_tflite(file)
    check_installed(file.name)
    if file.path is not None:
        try_tflite(file.data, name=file.name, kernels=kernels)
    interpreter = tflite_interpreter(file.data, name=file.name, threads=threads, kernels=kernels)
    inputs = [(index, file.tensors[index]) for index in file.inputs.values()]
    outputs = {name: (index, file.tensors[index]) for name, index in file.outputs.items()}
    size = about.card.preprocessing.size
    return TfliteModel(interpreter, about.card, about.kind, about.argmax, size, file.name, head, inputs, outputs)


def check_installed(name: object) -> None:
    """Raises UsageError, about the file `name`, where LiteRT is not installed."""
    if find_spec("ai_edge_litert") is None:
        raise UsageError(
            "LiteRT, which computes .tflite files, is not installed",
            path=str(name),
            fix="pip install ai-edge-litert",
            code="not-installed",
        )


def input_codes(image: Array, tensor: Tensor) -> Array:
    """Codes (1,H,W,3) of a normalised picture (1,3,H,W), as the file's input has them. UsageError for another shape."""
    _, height, width, channels = tensor.shape
    if image.shape != (1, channels, height, width):
        raise UsageError(
            f"the file takes 1x{channels}x{height}x{width}, got {'x'.join(map(str, image.shape))}",
            path=tensor.name,
            fix="`run_picture` makes it from a picture (H,W,3)",
            code="no-fit",
        )
    return quantized_input(image, tensor.scale, tensor.zero_point, tensor.type)


def values_of(codes: Array, tensor: Tensor) -> NDArray[np.float32]:
    """Values in float32 of a tensor's codes; infinite, without a warning, where a scale of somebody's is that large."""
    assert tensor.scale is not None
    assert tensor.zero_point is not None
    zero_point = tensor.zero_point.astype(np.int32)
    with np.errstate(over="ignore"):
        return (codes.astype(np.int32) - zero_point).astype(np.float32) * tensor.scale


def tensors_of(
    data: bytes, images: Sequence[Array], *, kernels: str, threads: int = 1, name: str = "TFLite model"
) -> dict[str, Array]:
    """Every tensor of a file that LiteRT keeps, by name, for input codes (1,H,W,3) in the order of the graph's inputs.

    Constants are among them. Raises DataError where LiteRT fails.
    """
    model = tflite_interpreter(data, name=name, threads=threads, kernels=kernels, keep=True)
    found = {}
    with said(f"{name}: LiteRT cannot run it"):
        for details, image in zip(model.get_input_details(), images, strict=True):
            model.set_tensor(details["index"], image)
        model.invoke()
        for details in model.get_tensor_details():
            with _left_out():
                found[details["name"]] = model.get_tensor(details["index"])
    return found


@contextmanager
def _left_out() -> Iterator[None]:
    """Pass over a tensor without memory, such as one that a delegate has of its own."""
    try:
        yield
    except ValueError:
        return


def tflite_interpreter(data: bytes, *, name: str, threads: int | None, kernels: str, keep: bool = False) -> Any:
    """LiteRT's interpreter of a file that was checked, its tensors allocated; `keep` keeps inner ones readable.

    Raises DataError where LiteRT refuses the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with said(f"{name}: LiteRT cannot load it"), _silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that keeping all tensors takes memory
        model = Interpreter(
            model_content=data,
            num_threads=threads or os.cpu_count() or 1,
            experimental_op_resolver_type=OpResolverType[KERNELS[kernels]],
            experimental_preserve_all_tensors=keep,
        )
        model.allocate_tensors()
    return model


@contextmanager
def _silent() -> Iterator[None]:
    """Turn stderr away while LiteRT loads: it says there which delegate it made, and no setting stops that."""
    with LOUD, open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, not a file
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
