"""What `bench` and `devices fit` measure: networks given as files, runs, checkpoints or names, each as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from edgeailite.commands.export import write_model
from edgeailite.commands.opening import load_network
from edgeailite.commands.untrained import untrained, untrained_int8
from edgeailite.complexity import Cost, onnx_cost
from edgeailite.errors import UsageError
from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.models import ALIASES, MODELS, unknown_model

DEFAULT_SIZE = (384, 768)


@dataclass(frozen=True)
class Subject:
    """A network as a file, with its layers; `network` is the float torch network of it, if it is known.

    `height_width` is set where the file's size is open or the network is run by torch.
    """

    name: str
    file: Path
    cost: Cost
    network: nn.Module | None
    inputs: int
    height_width: tuple[int, int] | None

    @property
    def kind(self) -> str:
        """int8 or float32."""
        return "int8" if self.cost.integer_macs else "float32"


def open_subjects(
    sources: Sequence[str],
    folder: Path,
    *,
    size: tuple[int, int] | None,
    classes: int | None = None,
    kinds: Sequence[str] = ("float32",),
) -> list[Subject]:
    """Every source as a file; those that are none are exported into `folder` (once). Names give one file per kind.

    Raises UsageError for a name that is no network and no file, and as the export and the counting do.
    """
    subjects = []
    for source in sources:
        if source.endswith(".onnx"):
            subjects.append(_of_file(source, Path(source), size))
        elif source in MODELS or source in ALIASES:
            subjects += [_of_name(source, kind, folder, size=size or DEFAULT_SIZE, classes=classes) for kind in kinds]
        elif Path(source).exists():
            subjects.append(_of_run(Path(source), folder, size))
        else:
            raise UsageError(f"{source}: no such file or run; as a name: {unknown_model(source)}")
    return subjects


def _of_file(name: str, path: Path, size: tuple[int, int] | None, network: nn.Module | None = None) -> Subject:
    cost = onnx_cost(path, size)
    return Subject(name, path, cost, network, len(cost.inputs), size)


def _of_name(name: str, kind: str, folder: Path, *, size: tuple[int, int], classes: int | None) -> Subject:
    network, card = untrained(name, classes, size)
    path = folder / f"{name}-{size[0]}x{size[1]}-{len(card.classes)}-{kind}.onnx"
    if not path.is_file():
        _export(untrained_int8(network, card) if kind == "int8" else network, card, path)
    label = name if kind == "float32" else f"{name} {kind}"
    return _of_file(label, path, size, network if kind == "float32" else None)


def _of_run(run: Path, folder: Path, size: tuple[int, int] | None) -> Subject:
    checkpoint, network = load_network(run)
    pre = checkpoint.card.preprocessing
    height, width = size or (pre.height, pre.width)
    card = replace(checkpoint.card, preprocessing=replace(pre, height=height, width=width))
    path = folder / f"{run.resolve().name}-{height}x{width}.onnx"
    _export(network, card, path)
    return _of_file(str(run), path, (height, width), None if checkpoint.quantization is not None else network)


def _export(network: nn.Module, card: ModelCard, path: Path) -> None:
    size = (card.preprocessing.height, card.preprocessing.width)
    write_model(path, to_onnx(network, card, size=size))
