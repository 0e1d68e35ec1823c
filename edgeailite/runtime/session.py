"""An exported file as a function: image in, logits or label map out; and a look at its inner tensors.

onnxruntime is imported where a session is made: .tflite files run without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, UsageError
from edgeailite.modelcard import ModelCard
from edgeailite.onnxfile import OnnxFile, own_sizes, read_onnx
from edgeailite.runtime.failures import check_finite, run_session, said
from edgeailite.runtime.metadata import About, about_of_metadata, check_agrees, session_settings
from edgeailite.runtime.saturation import exact_sums
from edgeailite.untrusted import printable

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[Any]
LEVELS = {"DISABLED": "ORT_DISABLE_ALL", "EXTENDED": "ORT_ENABLE_EXTENDED", "ALL": "ORT_ENABLE_ALL"}
"""Optimization levels and onnxruntime's names for them."""
INPUT_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
PROVIDERS = ["CPUExecutionProvider"]
SILENT = 4  # fatal errors alone


OUTPUT_TYPES = {f"tensor({kind})" for kind in ("float", "double", "float16", "int64", "int32", "int8", "uint8")}


@dataclass(frozen=True)
class OnnxModel:
    """A loaded file: `run(x)` computes; `card` and `kind` ("float" or "int8") come from its metadata."""

    session: onnxruntime.InferenceSession
    card: ModelCard
    kind: str
    argmax: str
    fixed_size: tuple[int, int] | None
    name: str = "ONNX model"  # how messages call the file

    @property
    def one_at_a_time(self) -> bool:
        """Whether the file takes one picture per call."""
        return bool(self.session.get_inputs()[0].shape[0] == 1)

    def run(self, *images: NDArray[np.float32]) -> dict[str, Array]:
        """Outputs by name for normalised inputs (N,3,H,W), in the order of the file's inputs.

        Raises DataError where onnxruntime fails, or for outputs that are not finite.
        """
        values = run_session(self.session, _feed(self.session, images), where=self.name)
        check_finite(values, where=self.name)
        return values


def open_session(
    source: Path | bytes,
    *,
    threads: int | None = None,
    level: str = "ALL",
    save_optimized: Path | None = None,
) -> onnxruntime.InferenceSession:
    """Any ONNX file (or its bytes) on the CPU. Raises DataError for one that is missing or damaged.

    What it computes is not limited here: `load_onnx` does that for exported files, `trial.check_file` for all.
    """
    file = read_onnx(source)
    settings = session_settings(file.graph.metadata, where=file.name)
    return _session(file, settings, threads=threads, level=level, save_optimized=save_optimized)


def load_onnx(
    source: Path | bytes, *, threads: int | None = None, level: str = "ALL", save_optimized: Path | None = None
) -> OnnxModel:
    """Open an exported file (or its bytes) on the CPU.

    Raises DataError for a missing, damaged or foreign file, and for one whose metadata and graph do not agree.
    """
    file = read_onnx(source)
    if not file.is_own:
        fix = f"describe it: edgeailite card {file.name} --classes ..."
        raise DataError("no edgeailite metadata", path=file.name, fix=fix, code="wrong-kind")
    about = admit(file)
    session = _session(file, about.settings, threads=threads, level=level, save_optimized=save_optimized)
    for output in session.get_outputs():
        if output.type not in OUTPUT_TYPES:
            name, kind = printable(output.name), printable(output.type)
            raise DataError(f"output {name}: expected numbers, found {kind}", path=file.name, fix="export it again")
    return OnnxModel(session, about.card, about.kind, about.argmax, _fixed_size(file), file.name)


def admit(file: OnnxFile) -> About:
    """Read an exported file's metadata and check its graph against it, before anything is computed.

    Raises DataError.
    """
    about = about_of_metadata(file.graph.metadata, where=file.name)
    size = about.card.preprocessing.size
    check_agrees(about, file, own_sizes(file, size))
    return about


def _session(
    file: OnnxFile, settings: Mapping[str, str], *, threads: int | None, level: str, save_optimized: Path | None
) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    if threads is not None:
        options.intra_op_num_threads = threads
    if save_optimized is not None:
        options.optimized_model_filepath = str(save_optimized)
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the format that was checked
    for key, value in {**settings, **exact_sums(file, settings)}.items():
        options.add_session_config_entry(key, value)
    model = file.data if file.is_whole else str(file.path)  # what was checked is what runs
    with said(f"{file.name}: onnxruntime cannot load it"):
        return cpu_session(model, options)


def cpu_session(model: str | bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Create a session that prints nothing and takes no settings from the file; errors carry the reason."""
    import onnxruntime

    options.log_severity_level = SILENT  # its log repeats the reasons, with names of the file as they are
    return onnxruntime.InferenceSession(
        model, options, providers=PROVIDERS, enable_fallback=False, read_config_from_model=False
    )


def _feed(session: onnxruntime.InferenceSession, images: Sequence[Array]) -> dict[str, Array]:
    names = [value.name for value in session.get_inputs()]
    if len(images) != len(names):
        raise UsageError(f"the file takes {len(names)} image(s) ({', '.join(names)}), got {len(images)}", code="no-fit")
    for value, image in zip(session.get_inputs(), images, strict=True):
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
            f"the file takes {value.type} {shape}, got {image.dtype} {'x'.join(map(str, image.shape))}",
            path=value.name,
            fix="`run_picture` makes it from a picture (H,W,3)",
            code="no-fit",
        )


def _fixed_size(file: OnnxFile) -> tuple[int, int] | None:
    height, width = (file.graph.inputs[0].shape or ())[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """The file with further tensors as outputs, whose types onnxruntime infers.

    Protocol buffers merge a message that is appended: a second `graph` that holds outputs alone adds them.
    """
    return model + message_field(7, b"".join(message_field(12, message_field(1, name.encode())) for name in names))


def message_field(number: int, content: bytes) -> bytes:
    """Write a field of protocol buffers that holds text, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Write a whole number as protocol buffers do: seven bits in a byte, the lowest first."""
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
    present = [name for name in names if message_field(2, name.encode()) in model]  # NodeProto.output
    session = open_session(with_outputs(model, present), level="EXTENDED", threads=threads)
    return run_session(session, _feed(session, images), present, where="inner tensors")
