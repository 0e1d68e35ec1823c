"""What `bench` and `devices fit` measure: networks given as files, runs, checkpoints or names, each as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgeailite.config import DEFAULT_SIZE, Size
from edgeailite.cost import Cost, Layer, file_cost
from edgeailite.cost.devices import INT8_SUFFIX
from edgeailite.cost.random_weights import untrained, untrained_int8
from edgeailite.errors import DataError, UsageError
from edgeailite.export import to_onnx
from edgeailite.export.files import write_model
from edgeailite.modelcard import ModelCard
from edgeailite.models import ALIASES, MODELS, unknown_model
from edgeailite.runs.open import load_network
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_session import check_installed
from edgeailite.runtime.tflite_trial import try_tflite
from edgeailite.runtime.trial import check_file


@dataclass(frozen=True)
class Subject:
    """A network as a file. `network` is the float torch network of it, if it is known.

    `height_width` is the size of its pictures, None where that cannot be told. `cost` is None for a foreign
    file whose layers cannot be counted (`uncounted` says why): it can be measured all the same.
    """

    name: str
    file: Path
    cost: Cost | None
    network: nn.Module | None = None
    height_width: Size | None = None
    uncounted: str = ""

    @property
    def kind(self) -> str:
        """int8, float32, or ? for a file that was not counted."""
        if self.cost is None:
            return "?"
        return "int8" if self.cost.integer_macs else "float32"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The file's layers. Raises DataError where they cannot be counted."""
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
    """Every source as a file; those that are none are exported into `folder` (once). Names give one file per kind,
    at `name_size` where no size is given; files and runs have their own. Files of others are tried with `threads`.

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
        elif source in MODELS or source in ALIASES:
            subjects += [_of_name(source, kind, folder, size=size or name_size, classes=classes) for kind in kinds]
        elif Path(source).exists():
            subjects.append(_of_run(Path(source), folder / f"run{index}.onnx", size))
        else:
            raise UsageError(f"{source}: no such file or run; as a name: {unknown_model(source)}")
    return subjects


def _of_file(name: str, path: Path, size: Size | None, network: nn.Module | None = None) -> Subject:
    if not path.is_file():
        raise DataError(f"{path}: no such ONNX file; write it with `edgeailite export`")
    try:
        cost = file_cost(path, size)
    except DataError as error:
        return Subject(name, path, None, network, size, uncounted=str(error))
    return Subject(name, path, cost, network, size or image_size(cost))


def image_size(cost: Cost) -> Size | None:
    """(height, width) of the first input; None where it is no picture (N,C,H,W)."""
    shape = cost.inputs[0].shape
    return (shape[2], shape[3]) if len(shape) == 4 else None


def _of_name(name: str, kind: str, folder: Path, *, size: Size, classes: int | None) -> Subject:
    network, card = untrained(name, classes, size)
    path = folder / f"{name}-{size[0]}x{size[1]}-{len(card.classes)}-{kind}.onnx"
    if not path.is_file():
        _export(untrained_int8(network, card) if kind == "int8" else network, card, path)
    label = name if kind == "float32" else name + INT8_SUFFIX
    return _of_file(label, path, size, network if kind == "float32" else None)


def _of_run(run: Path, path: Path, size: Size | None) -> Subject:
    checkpoint, network = load_network(run)
    size = size or checkpoint.card.preprocessing.size
    _export(network, checkpoint.card.with_size(size), path)
    return _of_file(str(run), path, size, None if checkpoint.quantization is not None else network)


def _export(network: nn.Module, card: ModelCard, path: Path) -> None:
    size = card.preprocessing.size
    write_model(path, to_onnx(network, card, size=size))
