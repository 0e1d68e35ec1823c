"""Tracing two forms of a network by their names: where they first depart, and how the difference grows.

Of a run: `float` (a quantized run with its quantizers off), `fake_quant`, `integer_exact` (as onnxruntime computes on
this machine), `integer_exact:ARITHMETIC` (a row of `quantization.arithmetic`; those of TensorFlow Lite's runtimes
compute the lowered program); its ONNX file as `ort`, `ort:LEVEL`, `openvino` or `openvino:f32` (float layers not in
bf16), its .tflite file as `tflite` (LiteRT as it is by default, with XNNPACK) or `tflite:reference`. Of any file:
`FILE.onnx` (onnxruntime, ALL), `FILE.onnx@LEVEL`, `FILE.onnx@openvino`, `FILE.onnx@openvino:f32`; of an exported one
`FILE.tflite`, `FILE.tflite@reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import fx, nn

from edgeailite.config import VerifyConfig
from edgeailite.console import progress
from edgeailite.data.files.images import read_image
from edgeailite.device import set_threads
from edgeailite.errors import UsageError, option
from edgeailite.export.files import FILE_NAMES, TFLITE_NAME
from edgeailite.export.to_tflite import to_tflite
from edgeailite.export.trace.compare import Trace, trace
from edgeailite.export.trace.file_side import file_side, read_file
from edgeailite.export.trace.sides import Side
from edgeailite.export.trace.tflite_side import DEFAULT_KERNELS, program_side, tflite_side
from edgeailite.export.trace.torch_side import torch_side
from edgeailite.export.verification import stride
from edgeailite.modelcard import ModelCard, input_name
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization.arithmetic import arithmetic_of
from edgeailite.runs.dataset import pictures_or_dataset
from edgeailite.runs.folder import run_folder
from edgeailite.runs.network import load_network
from edgeailite.runs.weights import chosen_weights
from edgeailite.runtime import card_of_metadata
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_metadata import admit_tflite

TORCH_FORMS = ("float", "fake_quant", "integer_exact")
IN_ARITHMETIC = "integer_exact:"  # begins the name of a form in a given arithmetic
SUFFIX, TFLITE = ".onnx", ".tflite"


@dataclass(frozen=True)
class Setting:
    """A run's network and files, to which names of forms refer, and the way from pictures to `inputs` inputs.

    `module` is None where a file was given, which is then both `file` (ONNX) and `tflite`.
    """

    module: nn.Module | None
    file: Path
    tflite: Path
    card: ModelCard | None
    preprocessing: Preprocessing
    inputs: int


def trace_forms(config: VerifyConfig, first: str, second: str, *, pictures: Sequence[Path] | None = None) -> Trace:
    """Compare two forms of the run or file `config.model` layer by layer; return a row for each tensor both have.

    `first` and `second` are names of forms, as above. `pictures` are files to trace with; None takes `config.images`
    of the data set. Raises UsageError for a name or a combination that cannot work, DataError for missing files.

    >>> found = trace_forms(VerifyConfig(Path("runs/night"), images=1), "float", "ort")
    >>> found.first_departure is None, found.matching.by
    (True, 'name')
    """
    set_threads(config.threads)
    settings = {SUFFIX: _file_setting, TFLITE: _tflite_setting}
    setting = settings.get(config.model.suffix, _run_setting)(config)
    sides = [side_of(word, setting, threads=config.threads) for word in (first, second)]
    paths = _pictures(config, setting, pictures)
    with progress("trace", len(paths)) as (bar, task):
        inputs = _inputs(paths, setting.preprocessing, on_picture=lambda: bar.advance(task))
        return trace(sides[0], sides[1], inputs, local=config.trace_local)


def side_of(word: str, setting: Setting, *, threads: int | None = None) -> Side:
    """Open the form that `word` names. Raises UsageError for an unknown one."""
    if word in TORCH_FORMS or word.startswith(IN_ARITHMETIC):
        return _network_side(word, setting)
    size = setting.preprocessing.size
    name, _, how = word.rpartition("@")
    if not name.endswith((SUFFIX, TFLITE)):
        name, how = word, ""
    if name.endswith(SUFFIX):
        return file_side(word, Path(name), runtime=how or "ALL", threads=threads, height_width=size)
    if name.endswith(TFLITE):
        return tflite_side(word, Path(name), kernels=how or DEFAULT_KERNELS, threads=threads)
    kind, _, level = word.partition(":")
    if kind == "ort":
        return file_side(word, setting.file, runtime=level or "ALL", threads=threads, height_width=size)
    if kind == "openvino":
        return file_side(word, setting.file, runtime=word, threads=threads, height_width=size)
    if kind == "tflite":
        return tflite_side(word, setting.tflite, kernels=level or DEFAULT_KERNELS, threads=threads)
    raise UsageError(
        f"{option('trace')} {word}: unknown; known are {', '.join(TORCH_FORMS)}, integer_exact:ARITHMETIC, ort, "
        "ort:LEVEL, openvino, openvino:f32, tflite, tflite:reference, FILE.onnx, FILE.onnx@LEVEL, FILE.onnx@openvino, "
        "FILE.tflite, FILE.tflite@reference"
    )


def _network_side(word: str, setting: Setting) -> Side:
    """Open a form of the run's network: in torch, or lowered for an arithmetic of TensorFlow Lite's runtimes."""
    if setting.module is None or setting.card is None:
        raise UsageError(
            f"{option('trace')} {word}: {setting.file} is a file; give the run folder to trace a torch network"
        )
    arithmetic = word.partition(":")[2]
    if isinstance(setting.module, fx.GraphModule) and arithmetic and arithmetic_of(arithmetic).lowered:
        program = to_tflite(setting.module, setting.card, size=setting.preprocessing.size).program
        return program_side(word, program, arithmetic)
    return torch_side(word, setting.module)


def _run_setting(config: VerifyConfig) -> Setting:
    checkpoint, module = load_network(chosen_weights(config.model, config.weights))
    folder, card = run_folder(config.model), checkpoint.card
    file = folder / FILE_NAMES[checkpoint.quantization is not None]
    return Setting(module, file, folder / TFLITE_NAME, card, card.preprocessing, len(card.inputs))


def _tflite_setting(config: VerifyConfig) -> Setting:
    """Read card and preprocessing from an exported .tflite file."""
    card = admit_tflite(read_tflite(config.model))[0].card
    preprocessing = card.preprocessing.with_size(config.img_resize or card.preprocessing.size)
    return Setting(None, config.model, config.model, card, preprocessing, len(card.inputs))


def _file_setting(config: VerifyConfig) -> Setting:
    """Read preprocessing from our metadata; another file gets its own size or `img_resize`, and our value range."""
    model = read_file(config.model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if "edgeailite.card" in metadata:
        card = card_of_metadata(metadata, where=str(config.model))
        size = config.img_resize or card.preprocessing.size
        preprocessing = card.preprocessing.with_size(size)
        return Setting(None, config.model, config.model, card, preprocessing, len(card.inputs))
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    height, width = config.img_resize or _own_size(config.model, inputs)
    return Setting(None, config.model, config.model, None, Preprocessing(height, width), len(inputs))


def _own_size(path: Path, inputs: Sequence[onnx.ValueInfoProto]) -> tuple[int, int]:
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim] if inputs else []
    if len(sizes) != 4 or not all(sizes[2:]):
        raise UsageError(
            f"{path}: its input is of open size and it has no edgeailite metadata; give {option('img_resize')} H W"
        )
    return sizes[2], sizes[3]


def _pictures(config: VerifyConfig, setting: Setting, pictures: Sequence[Path] | None) -> list[tuple[Path, ...]]:
    """Return the files of each sample, evenly spaced, one per input of the network."""
    if pictures is not None:
        if setting.inputs != 1:
            names = ", ".join(map(input_name, range(setting.inputs)))
            raise UsageError(
                f"{option('trace_pictures')}: the network takes {setting.inputs} ({names}); trace with its data set"
            )
        items: list[tuple[Path, ...]] = [(path,) for path in pictures]
    elif setting.card is None:
        raise UsageError(f"{config.model}: names no data set; give {option('trace_pictures')} FOLDER")
    else:
        items = [item.images for item in pictures_or_dataset(setting.card, config.data_path, config.split).items]
    return items[:: stride(len(items), config.images)]


def _inputs(
    paths: Sequence[tuple[Path, ...]], preprocessing: Preprocessing, *, on_picture: Callable[[], object]
) -> Iterator[tuple[NDArray[np.float32], ...]]:
    for group in paths:
        yield tuple(preprocess(read_image(path), preprocessing) for path in group)
        on_picture()
