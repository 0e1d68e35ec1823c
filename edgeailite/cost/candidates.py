"""Networks that `bench` and `devices fit` measure: files, runs, checkpoints or names, each as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeailite.config import DEFAULT_SIZE, Size
from edgeailite.cost import Cost, Layer, file_cost
from edgeailite.cost.devices import INT8_SUFFIX
from edgeailite.errors import DataError, UsageError
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_session import check_installed
from edgeailite.runtime.tflite_trial import try_tflite
from edgeailite.runtime.trial import check_file

if TYPE_CHECKING:
    from torch import nn

    from edgeailite.modelcard import ModelCard


@dataclass(frozen=True)
class Subject:
    """A network as a file. `network` is its float torch network, if known.

    `height_width` is the size of its pictures, None if unknown. `cost` is None for a foreign file whose layers cannot
    be counted (`uncounted` has the reason); it can still be measured.
    """

    name: str
    file: Path
    cost: Cost | None
    network: nn.Module | None = None
    height_width: Size | None = None
    uncounted: str = ""

    @property
    def kind(self) -> str:
        """Return "int8", "float32", or "?" for a file that was not counted."""
        if self.cost is None:
            return "?"
        return "int8" if self.cost.integer_macs else "float32"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the file's layers. Raises DataError if they could not be counted."""
        if self.cost is None:
            raise DataError(self.uncounted)
        return self.cost.layers


def open_subjects(
    sources: Sequence[str],
    folder: Path,
    *,
    size: Size | None,
    name_size: Size = DEFAULT_SIZE,
    classes: int | None = None,
    kinds: Sequence[str] = ("float32",),
    threads: int = 1,
) -> list[Subject]:
    """Open every source as an ONNX file; runs, checkpoints and names are exported into `folder` first. Names give one
    file per kind, at `name_size` without a `size`. Foreign files are tried with `threads`.

    Raises UsageError for a name that is no network and no file, DataError for a missing file, and as the export does.
    """
    subjects = []
    for index, source in enumerate(sources):
        if source.endswith(".tflite"):
            subjects.append(_of_file(source, Path(source), size))
            check_installed(source)
            try_tflite(read_tflite(Path(source)).data, name=source, kernels="xnnpack", threads=threads)
        elif source.endswith(".onnx"):
            subjects.append(_of_file(source, Path(source), size))
            check_file(Path(source), height_width=subjects[-1].height_width, threads=threads)
        elif is_name(source):
            subjects += [_of_name(source, kind, folder, size=size or name_size, classes=classes) for kind in kinds]
        elif Path(source).exists():
            subjects.append(_of_run(Path(source), folder / f"run{index}.onnx", size))
        else:
            from edgeailite.models import unknown_model

            raise UsageError(f"{source}: no such file or run; as a name: {unknown_model(source)}", code="missing-file")
    return subjects


def is_name(source: str) -> bool:
    """Return True for the name of a network; files are none, and torch is not imported for them."""
    if source.endswith((".onnx", ".tflite")):
        return False
    from edgeailite.models import ALIASES, MODELS

    return source in MODELS or source in ALIASES


def _of_file(name: str, path: Path, size: Size | None, network: nn.Module | None = None) -> Subject:
    if not path.is_file():
        raise DataError(f"{path}: no such ONNX file; write it with `edgeailite export`", code="missing-file")
    try:
        cost = file_cost(path, size)
    except DataError as error:
        return Subject(name, path, None, network, size, uncounted=str(error))
    return Subject(name, path, cost, network, size or image_size(cost))


def image_size(cost: Cost) -> Size | None:
    """Return (height, width) of the first input; None if it is no picture (N,C,H,W)."""
    shape = cost.inputs[0].shape
    return (shape[2], shape[3]) if len(shape) == 4 else None


def _of_name(name: str, kind: str, folder: Path, *, size: Size, classes: int | None) -> Subject:
    from edgeailite.cost.random_weights import untrained, untrained_int8

    network, card = untrained(name, classes, size)
    path = folder / f"{name}-{size[0]}x{size[1]}-{len(card.classes)}-{kind}.onnx"
    if not path.is_file():
        _export(untrained_int8(network, card) if kind == "int8" else network, card, path)
    label = name if kind == "float32" else name + INT8_SUFFIX
    return _of_file(label, path, size, network if kind == "float32" else None)


def _of_run(run: Path, path: Path, size: Size | None) -> Subject:
    from edgeailite.runs.network import load_network

    checkpoint, network = load_network(run)
    size = size or checkpoint.card.preprocessing.size
    _export(network, checkpoint.card.with_size(size), path)
    return _of_file(str(run), path, size, None if checkpoint.quantization is not None else network)


def _export(network: nn.Module, card: ModelCard, path: Path) -> None:
    from edgeailite.export import to_onnx
    from edgeailite.runs.onnx_model import write_model

    size = card.preprocessing.size
    write_model(path, to_onnx(network, card, size=size))
