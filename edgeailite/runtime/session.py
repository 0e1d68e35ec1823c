"""An exported file as a function: image in, logits or label map out; and a look at its inner tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgeailite.errors import DataError, UsageError
from edgeailite.modelcard import ModelCard, card_from_dict
from edgeailite.preprocessing import preprocess

Array = NDArray[Any]
LEVELS = {
    "DISABLED": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "EXTENDED": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "ALL": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
PROVIDERS = ["CPUExecutionProvider"]
SESSION_SETTINGS = "edgeailite.session"  # metadata: onnxruntime's session entries under which integer kernels run


@dataclass(frozen=True)
class OnnxModel:
    """A loaded file: `run(session, x)` computes; `card` and `kind` ("float" or "int8") come from its metadata."""

    session: onnxruntime.InferenceSession
    card: ModelCard
    kind: str
    argmax: str
    fixed_size: tuple[int, int] | None


def open_session(
    source: Path | bytes, *, threads: int | None = None, level: str = "ALL", save_optimized: Path | None = None
) -> onnxruntime.InferenceSession:
    """Any ONNX file (or its bytes) on the CPU. Raises DataError for a missing or damaged file."""
    options = _options(threads=threads, level=level)
    if save_optimized is not None:
        options.optimized_model_filepath = str(save_optimized)
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"{source}: no such ONNX file; write it with `edgeailite export`")
    model: Any = str(source) if isinstance(source, Path) else source
    try:
        session = onnxruntime.InferenceSession(model, options, providers=PROVIDERS)
        settings = json.loads(session.get_modelmeta().custom_metadata_map.get(SESSION_SETTINGS, "{}"))
        if settings:  # known only once it is loaded
            for key, value in settings.items():
                options.add_session_config_entry(key, value)
            session = onnxruntime.InferenceSession(model, options, providers=PROVIDERS)
        return session
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds, without a common base
        name = source if isinstance(source, Path) else "ONNX model"
        reason = str(error).splitlines()[0].replace(f"Load model from {name} failed:", "")  # said already
        raise DataError(f"{name}: onnxruntime cannot load it ({reason[:200]})") from None


def load_onnx(
    source: Path | bytes, *, threads: int | None = None, level: str = "ALL", save_optimized: Path | None = None
) -> OnnxModel:
    """Open an exported file (or its bytes) on the CPU. Raises DataError for a missing, damaged or foreign file."""
    session = open_session(source, threads=threads, level=level, save_optimized=save_optimized)
    metadata = session.get_modelmeta().custom_metadata_map
    if "edgeailite.card" not in metadata:
        raise DataError(
            f"{source if isinstance(source, Path) else 'ONNX model'}: no edgeailite metadata; export it here"
        )
    return OnnxModel(
        session,
        card_of_metadata(metadata),
        metadata["edgeailite.kind"],
        metadata["edgeailite.argmax"],
        _fixed_size(session),
    )


def _options(*, threads: int | None, level: str) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def run(model: OnnxModel, *images: NDArray[np.float32]) -> dict[str, Array]:
    """Outputs by name for normalised inputs (N,3,H,W), in the order of the file's inputs."""
    names = [output.name for output in model.session.get_outputs()]
    values = model.session.run(names, _feed(model, images))
    return dict(zip(names, values, strict=True))


def run_picture(model: OnnxModel, *pictures: NDArray[np.uint8]) -> dict[str, Array]:
    """Outputs for pictures (H,W,3) uint8 RGB of any size, one per input, preprocessed as the file's metadata says."""
    return run(model, *(preprocess(picture, model.card.preprocessing) for picture in pictures))


def _feed(model: OnnxModel, images: Sequence[Array]) -> dict[str, Array]:
    names = [value.name for value in model.session.get_inputs()]
    if len(images) != len(names):
        raise UsageError(f"the file takes {len(names)} image(s) ({', '.join(names)}), got {len(images)}")
    for value, image in zip(model.session.get_inputs(), images, strict=True):
        _check_image(value, image)
    return dict(zip(names, images, strict=True))


def _check_image(value: Any, image: Array) -> None:
    """Raises UsageError for another type or shape than an input's (open sizes are names there)."""
    fits = len(image.shape) == len(value.shape) and all(
        not isinstance(side, int) or side == found for side, found in zip(value.shape, image.shape, strict=True)
    )
    if not fits or image.dtype != INPUT_TYPES.get(value.type, image.dtype):
        shape = "x".join(map(str, value.shape))
        raise UsageError(
            f"{value.name}: the file takes {value.type} {shape}, got {image.dtype} {'x'.join(map(str, image.shape))}; "
            "`run_picture` makes it from a picture (H,W,3)"
        )


def card_of_metadata(metadata: Mapping[str, str]) -> ModelCard:
    """The card, with preprocessing from the plain entries: those are what other programs read."""
    values = json.loads(metadata["edgeailite.card"])
    height, _, width = metadata["input_size"].partition("x")
    values["preprocessing"] = {
        "height": int(height),
        "width": int(width),
        "mean": json.loads(metadata["mean"]),
        "scale": json.loads(metadata["scale"]),
        "channel_order": metadata["channel_order"],
        "interpolation": metadata["interpolation"],
    }
    return card_from_dict(values)


def _fixed_size(session: onnxruntime.InferenceSession) -> tuple[int, int] | None:
    height, width = session.get_inputs()[0].shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """The file with further tensors as outputs, whose types onnxruntime infers.

    Protocol buffers merge a message that is appended: a second `graph` that holds outputs alone adds them.
    """
    return model + _field(7, b"".join(_field(12, _field(1, name.encode())) for name in names))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tensors(
    model: bytes,
    names: Sequence[str],
    images: Sequence[NDArray[np.float32]],
    *,
    threads: int | None = None,
) -> dict[str, Array]:
    """Values of inner tensors (codes of an int8 file, floats of a float one); names the file lacks are left out.

    Asking an int8 file for codes keeps its integer kernels; asking for floats would break them up.
    """
    present = [name for name in names if _field(2, name.encode()) in model]  # NodeProto.output
    opened = load_onnx(with_outputs(model, present), level="EXTENDED", threads=threads)
    values = opened.session.run(present, _feed(opened, images))
    return dict(zip(present, values, strict=True))
