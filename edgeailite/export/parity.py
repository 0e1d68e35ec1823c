"""The proof: an exported file run by onnxruntime against the torch network it came from, on real pictures.

A float file's logits must agree within `FLOAT_LOGIT_TOLERANCE` of their standard deviation. An int8 file must agree
with the integer-exact network in every bit at the levels where the fused integer kernels run (EXTENDED, ALL), and
every convolution, addition and concatenation must be such a kernel; without optimisation the agreement is reported.
Parts of 16 bits have no integer kernel: a file with such parts is not promised to be exact, only that classes are equal
on `WIDE_EQUAL_ARGMAX` of the pixels (without classes: mean |difference| within `WIDE_TOLERANCE` of the deviation).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import fx, nn

from edgeailite.data.tensors import to_input
from edgeailite.data.transforms import resize_image
from edgeailite.errors import ParityError, UsageError
from edgeailite.export.graphs import append_argmax
from edgeailite.export.passes import Kernels
from edgeailite.export.taps import absent_layer, file_layers, integer_tensors, torch_float_tensors
from edgeailite.export.to_onnx import classified_outputs, to_onnx, weights_hash
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization import convert, wide_parts
from edgeailite.quantization.integer import IntegerModel
from edgeailite.runtime import Golden, OnnxModel, load_onnx, run, run_picture
from edgeailite.runtime.contract import (
    PROVEN_LEVELS,
    WIDE_EQUAL_ARGMAX,
    WIDE_PROMISE,
    WIDE_TOLERANCE,
    first_departure,
    labels_of,
)

Picture = NDArray[np.uint8]
Array = NDArray[Any]
LEVELS = ("EXTENDED", "ALL", "DISABLED")
PICTURES_WITHOUT_OPTIMISATION = 2  # slow, and reported only
FLOAT_LOGIT_TOLERANCE = 1e-3  # of the standard deviation of the logits
INTEGER_KERNELS = {"Conv": "QLinearConv", "Add": "QLinearAdd", "Concat": "QLinearConcat"}


@dataclass(frozen=True)
class Agreement:
    """Over all pictures: share of pixels with equal class, largest and mean |difference| of logits, their std.

    The share is None where no output has classes (depth alone).
    """

    pictures: int
    equal_argmax: float | None
    max_difference: float
    mean_difference: float
    std: float


def compare(reference: Array, candidate: Array) -> Agreement:
    """One picture: logits (1,C,H,W) or label maps (1,H,W)."""
    gap = np.abs(reference.astype(np.float64) - candidate)
    labels, others = labels_of(reference), labels_of(candidate)
    equal = None if labels is None or others is None else float((labels == others).mean())
    return Agreement(1, equal, float(gap.max()), float(gap.mean()), float(reference.std(dtype=np.float64)))


def combine(parts: Sequence[Agreement]) -> Agreement:
    """Several pictures, or several outputs of one."""
    shares = [part.equal_argmax for part in parts if part.equal_argmax is not None]
    return Agreement(
        sum(part.pictures for part in parts),
        float(np.mean(shares)) if shares else None,
        max(part.max_difference for part in parts),
        float(np.mean([part.mean_difference for part in parts])),
        float(np.mean([part.std for part in parts])),
    )


def holds(result: Agreement, kind: str, *, wide: bool = False) -> bool:
    """Whether the agreement is what is promised: every bit for int8, rounding for float, most classes if `wide`."""
    if wide:
        near = result.mean_difference <= WIDE_TOLERANCE * result.std
        return near if result.equal_argmax is None else result.equal_argmax >= WIDE_EQUAL_ARGMAX
    return result.max_difference <= (0.0 if kind == "int8" else FLOAT_LOGIT_TOLERANCE * result.std)


@dataclass(frozen=True)
class Subject:
    """What is proven: a torch network (float, or prepared and calibrated) with its card, and the file made of it."""

    module: nn.Module
    card: ModelCard
    file: Path
    argmax: str = "none"

    @property
    def kind(self) -> str:
        """int8 for a prepared network, else float."""
        return "int8" if isinstance(self.module, fx.GraphModule) else "float"

    @property
    def wide(self) -> bool:
        """Whether it has parts of 16 bits, with which a file is not exact."""
        return isinstance(self.module, fx.GraphModule) and bool(wide_parts(self.module))

    def holds(self, result: Agreement) -> bool:
        """Whether an agreement is what is promised of this file."""
        return holds(result, self.kind, wide=self.wide)

    def reference(self) -> nn.Module:
        """The network whose answers the file gives: integer-exact if quantized, with ArgMax if the file has it."""
        if isinstance(self.module, fx.GraphModule):
            traced = convert(self.module)
        else:
            traced = fx.symbolic_trace(self.module.eval())
        if self.argmax != "none":
            append_argmax(traced, self.argmax, classified_outputs(self.card))
        return IntegerModel(traced) if self.kind == "int8" else traced


def outputs_of(network: nn.Module, *images: Array) -> dict[str, Array]:
    """Results of a torch network for normalised inputs, as numpy."""
    with torch.inference_mode():
        return {name: value.numpy() for name, value in network(*map(torch.from_numpy, images)).items()}


def integer_kernels(file: Path) -> dict[str, Any]:
    """Convolutions, additions and concatenations of an int8 file that run as integer kernels at level EXTENDED.

    Returns counts and `float_nodes`, the names of those that do not.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimized_path = Path(folder) / "optimized.onnx"
        load_onnx(file, level="EXTENDED", save_optimized=optimized_path)
        optimized = onnx.load(str(optimized_path))
    source = onnx.load(str(file))
    values = {name for node in source.graph.node if node.op_type in ("Shape", "Gather", "Cast") for name in node.output}
    wanted = [n for n in source.graph.node if n.op_type in INTEGER_KERNELS and not _is_shape_arithmetic(n, values)]
    fused = [node.op_type for node in optimized.graph.node]
    left = {node.name for node in optimized.graph.node if node.op_type in ("Conv", "FusedConv", "Add", "Concat")}
    counts = {kernel: fused.count(kernel) for kernel in INTEGER_KERNELS.values()}
    missing = [n.name for n in wanted if n.name in left]
    enough = all(counts[k] == sum(n.op_type == op for n in wanted) for op, k in INTEGER_KERNELS.items())
    return {**counts, "wanted": len(wanted), "float_nodes": missing, "all_integer": enough and not missing}


def _is_shape_arithmetic(node: onnx.NodeProto, shape_values: set[str]) -> bool:
    return node.name.startswith("shape.") or any(
        name in shape_values or name.startswith("shape.") for name in node.input
    )


def make_golden(subject: Subject, *pictures: Picture) -> Golden:
    """Expected inputs, outputs and inner tensors of one picture (per input of the network), from torch."""
    images = tuple(preprocess(picture, subject.card.preprocessing) for picture in pictures)
    if isinstance(subject.module, fx.GraphModule):
        values = integer_tensors(convert(subject.module), *map(torch.from_numpy, images))
    else:
        values = torch_float_tensors(subject.module, *map(torch.from_numpy, images))
    known = {layer.tensor: layer for layer in file_layers(onnx.load(str(subject.file)), subject.kind)}
    layers = ((known.get(name) or absent_layer(name), value) for name, value in values.items())
    return Golden(pictures, images, outputs_of(subject.reference(), *images), tuple(layers))


def prove(
    subject: Subject,
    pictures: Iterable[Picture | tuple[Picture, ...]],
    *,
    sizes: Sequence[tuple[int, int]] = (),
    threads: int | None = None,
    skip_hash: bool = False,
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Compare on `pictures` and, with a freshly exported file of open size, at `sizes`; returns the numbers.

    A network with several inputs takes tuples of pictures.
    Raises ParityError naming the first layer that departs. int8: also asserts integer kernels.
    """
    _check_integrity(subject, skip_hash=skip_hash)
    kernels = integer_kernels(subject.file) if subject.kind == "int8" else None
    models = {level: load_onnx(subject.file, threads=threads, level=level) for level in LEVELS}
    reference = subject.reference()
    parts: dict[str, list[Agreement]] = {}
    first: tuple[Picture, ...] | None = None
    for index, item in enumerate(pictures):
        picture = item if isinstance(item, tuple) else (item,)
        if len(picture) != len(subject.card.inputs):
            names = ", ".join(subject.card.inputs)
            raise UsageError(
                f"the network takes {len(subject.card.inputs)} picture(s) at a time ({names}), got {len(picture)}"
            )
        first = picture if first is None else first
        if index == PICTURES_WITHOUT_OPTIMISATION:
            del models["DISABLED"]
        for level, result in _compare_picture(subject, reference, models, picture).items():
            parts.setdefault(level, []).append(result)
            if level in PROVEN_LEVELS and not subject.holds(result):
                raise ParityError(_explain(subject, models["EXTENDED"], picture, result, level))
        on_picture()
    if first is None:
        raise ParityError("no picture was compared; give at least one")
    if kernels is not None and not kernels["all_integer"] and not subject.wide:
        places = ", ".join(kernels["float_nodes"][:3]) or _explain(subject, models["EXTENDED"], first, None, "EXTENDED")
        raise ParityError(f"{subject.file}: not all kernels are integer; in float: {places}")
    results: dict[str, Any] = {level: asdict(combine(values)) for level, values in parts.items()}
    if kernels is not None:
        results["integer_kernels"] = kernels
    if subject.wide:
        results |= {"exact": False, "promise": WIDE_PROMISE}
    return results | {"sizes": _prove_sizes(subject, first, sizes, threads=threads)}


def _compare_picture(
    subject: Subject, reference: nn.Module, models: Mapping[str, OnnxModel], pictures: tuple[Picture, ...]
) -> dict[str, Agreement]:
    """Agreement of the file with the reference per level; of float fake-quantization with it, for information."""
    images = [_training_input(picture, subject.card.preprocessing) for picture in pictures]
    expected = outputs_of(reference, *images)
    results = {level: _compare_outputs(expected, run_picture(model, *pictures)) for level, model in models.items()}
    if subject.kind == "int8" and subject.argmax == "none":
        results["fake_quant"] = _compare_outputs(expected, outputs_of(subject.module.eval(), *images))
    return results


def _compare_outputs(expected: Mapping[str, Array], got: Mapping[str, Array]) -> Agreement:
    for name, value in expected.items():
        if name not in got or got[name].shape != value.shape:
            shape = got[name].shape if name in got else "missing"
            raise ParityError(f"output {name}: expected shape {value.shape}, the file gives {shape}")
    return replace(combine([compare(value, got[name]) for name, value in expected.items()]), pictures=1)


def _prove_sizes(
    subject: Subject, pictures: tuple[Picture, ...], sizes: Sequence[tuple[int, int]], *, threads: int | None
) -> dict[str, Any]:
    """The same network exported with open size, one picture at each of `sizes`, level EXTENDED and ALL."""
    if not sizes:
        return {}
    metadata = {entry.key: entry.value for entry in onnx.load(str(subject.file)).metadata_props}
    kernels: Kernels = "onnxruntime" if metadata.get("edgeailite.kernels") == "onnxruntime" else "plain"
    data = to_onnx(subject.module, subject.card, argmax=subject.argmax, kernels=kernels).SerializeToString()
    reference, results = subject.reference(), {}
    for height, width in sizes:
        preprocessing = replace(subject.card.preprocessing, height=height, width=width)
        images = [_training_input(picture, preprocessing) for picture in pictures]
        expected = outputs_of(reference, *images)
        for level in PROVEN_LEVELS:
            got = run(load_onnx(data, threads=threads, level=level), *images)
            result = _compare_outputs(expected, got)
            results[f"{height}x{width} {level}"] = asdict(result)
            if not subject.holds(result):
                raise ParityError(
                    f"{subject.file.name} at {height}x{width}, {level}: logits differ by {result.max_difference:.3g}"
                )
    return results


def _explain(
    subject: Subject, model: OnnxModel, pictures: tuple[Picture, ...], result: Agreement | None, level: str
) -> str:
    golden = json.loads(json.dumps(make_golden(subject, *pictures).to_dict()))
    place = first_departure(subject.file.read_bytes(), model, golden, kind=subject.kind)
    numbers = ""
    if result is not None:
        equal = result.equal_argmax
        share = "" if equal is None else f"argmax equal on {100 * equal:.3f} % of pixels, "
        numbers = f" ({level}: {share}max |difference| {result.max_difference:.4g})"
    return f"{subject.file}: departs first at {place or 'no inner tensor'}{numbers}"


def _check_integrity(subject: Subject, *, skip_hash: bool) -> None:
    """A file of the other kind, or whose weights are not those it was written with, is told apart at once."""
    kind = load_onnx(subject.file, level="DISABLED").kind
    if kind != subject.kind:
        raise ParityError(f"{subject.file}: a {kind} file, but the run is {subject.kind}; export this run again")
    model = onnx.load(str(subject.file))
    written = {entry.key: entry.value for entry in model.metadata_props}["edgeailite.weights_sha256"]
    if not skip_hash and weights_hash(model) != written:
        raise ParityError(f"{subject.file}: weights changed since export (hash {written[:16]}…); export this run again")


def _training_input(picture: Picture, preprocessing: Preprocessing) -> Array:
    """What training and validation feed: OpenCV's resize and torch's normalisation."""
    resized = resize_image(picture, (preprocessing.height, preprocessing.width), preprocessing.interpolation)
    return to_input(torch.from_numpy(resized.transpose(2, 0, 1).copy())[None], preprocessing).numpy()
