"""The proof: an exported file run by onnxruntime against the torch network it came from, on real pictures.

A float file's logits must agree within `FLOAT_LOGIT_TOLERANCE` of their standard deviation, its label maps but for
ties. An int8 file must agree with the integer-exact network in every bit at the levels where the fused integer kernels
run (EXTENDED, ALL), and every convolution, addition and concatenation must be such a kernel; without optimisation the
agreement is reported. Parts of 16 bits have no integer kernel: a file with such parts is not promised to be exact, only
that classes are equal on `WIDE_EQUAL_ARGMAX` of the pixels (without classes: mean |difference| within `WIDE_TOLERANCE`
of the deviation). The conversion to integers has gates of its own (`conversion`), and the file must be what export
writes (`identity`): pictures prove what they show, no more.
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

from edgeailite.console import log
from edgeailite.data.augment.transforms import resize_image
from edgeailite.data.tensors import to_input
from edgeailite.environment import machine_arithmetic
from edgeailite.errors import ParityError, UsageError, first_line
from edgeailite.export import conversion, identity
from edgeailite.export.agreement import Agreement, Array, combine, compare, holds
from edgeailite.export.float_parts import PartlyFloat, integer_share
from edgeailite.export.graphs import append_argmax
from edgeailite.export.inner_tensors import absent_layer, file_layers, integer_tensors, torch_float_tensors
from edgeailite.export.passes import ACTIVATIONS, Index, Kernels
from edgeailite.export.to_onnx import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization import convert, wide_parts
from edgeailite.quantization.graph import named_outputs, trace
from edgeailite.quantization.integer import IntegerModel
from edgeailite.quantization.prepare import float_parts_of
from edgeailite.quantization.tie_safe import tie_safe_additions, tie_safe_operations
from edgeailite.runs.onnx_model import weights_hash
from edgeailite.runtime import Golden, OnnxModel, load_onnx, run, run_picture
from edgeailite.runtime.contract import PROVEN_LEVELS, first_departure, labels_of
from edgeailite.runtime.contract_file import FLOAT_PARTS_PROMISE, WIDE_PROMISE
from edgeailite.runtime.machine import machine_reasons
from edgeailite.untrusted import printable

Picture = NDArray[np.uint8]
LEVELS = ("EXTENDED", "ALL", "DISABLED")
PICTURES_WITHOUT_OPTIMISATION = 2  # slow, and reported only
CONTROL_PICTURES = 2  # that show how steady the network is, should that be asked
RESHAPE = "Reshape"
LABEL = "_label"  # ends the names of label maps
INTEGER_KERNELS = {"Conv": "QLinearConv", "Add": "QLinearAdd", "Concat": "QLinearConcat"}
BETWEEN_QUANTIZERS = {  # only there: functions and sums of other people's networks have such operators inside, in float
    "Mul": "QLinearMul",
    "Gemm": "QGemm",
    "AveragePool": "QLinearAveragePool",
    "Sigmoid": "QLinearSigmoid",
    "LeakyRelu": "QLinearLeakyRelu",
}


@dataclass(frozen=True)
class Subject:
    """A torch network (float, or prepared and calibrated) with its card, and the file to be proven equal to it."""

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
        """Whether the network has parts of 16 bits, which make a file inexact."""
        return isinstance(self.module, fx.GraphModule) and bool(wide_parts(self.module))

    @property
    def float_parts(self) -> list[str]:
        """The operators that stay in float, of which nothing is promised."""
        return float_parts_of(self.module) if isinstance(self.module, fx.GraphModule) else []

    @property
    def promise(self) -> str | None:
        """Promise of an int8 file that is not exact in every bit; None of others."""
        if self.wide:
            return WIDE_PROMISE
        return FLOAT_PARTS_PROMISE if self.float_parts else None

    def holds(self, expected: Mapping[str, Array], found: Mapping[str, Agreement]) -> bool:
        """Return whether the agreement of every output keeps the promise made for this file."""
        maps = {name: value.size if value.ndim == 3 else 0 for name, value in expected.items()}
        return all(holds(part, self.kind, wide=self.wide, label_map=maps[name]) for name, part in found.items())

    def reference(self, *, argmax: bool = True, arithmetic: str | None = None, data: bytes | None = None) -> nn.Module:
        """Return the network whose answers the file must give: integer-exact if quantized, with the file's ArgMax.

        `arithmetic` is a row of `quantization.arithmetic`; None takes the machine's own. Parts in float take the codes
        that the file has there, or the file `data`.
        """
        if isinstance(self.module, fx.GraphModule):
            traced = convert(self.module)
        else:
            traced = trace(self.module.eval())
        if argmax and self.argmax != "none":
            append_argmax(traced, self.argmax, self.card.classified)
        if self.float_parts and not self.wide:
            return PartlyFloat(traced, data or self.file.read_bytes(), arithmetic)
        return IntegerModel(traced, arithmetic) if self.kind == "int8" else traced


def outputs_of(network: nn.Module, *images: Array) -> dict[str, Array]:
    """Run a torch network on normalised inputs; return its outputs as numpy."""
    with torch.inference_mode():
        outputs = named_outputs(network(*map(torch.from_numpy, images)))
    return {name: value.numpy() for name, value in outputs.items()}


def integer_kernels(file: Path, float_parts: Sequence[str] = ()) -> dict[str, Any]:
    """Count the convolutions, additions and concatenations of an int8 file that run as integer kernels (EXTENDED).

    Other operators for which there is such a kernel (`BETWEEN_QUANTIZERS`) count where they stand between quantizers.
    `float_nodes` of the result names those that run in float; operators inside `float_parts` do not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimized_path = Path(folder) / "optimized.onnx"
        load_onnx(file, level="EXTENDED", save_optimized=optimized_path)
        optimized = onnx.load(str(optimized_path))
    source = onnx.load(str(file))
    sizes = _of_sizes(source.graph)
    wanted = [n for n in source.graph.node if n.op_type in INTEGER_KERNELS and n.output[0] not in sizes]
    wanted += _between_quantizers(source.graph)
    inside = tuple(f"{part}{end}" for part in float_parts for end in "/.")
    wanted = [node for node in wanted if not node.name.startswith(inside)]
    fused = [node.op_type for node in optimized.graph.node]
    kernels = INTEGER_KERNELS | {
        op: BETWEEN_QUANTIZERS[op] for op in (n.op_type for n in wanted) if op in BETWEEN_QUANTIZERS
    }
    left = {node.name for node in optimized.graph.node if node.op_type in ("FusedConv", *kernels)}
    counts = {kernel: fused.count(kernel) for kernel in kernels.values()}
    missing = [n.name for n in wanted if n.name in left]
    enough = all(counts[k] == sum(n.op_type == op for n in wanted) for op, k in kernels.items())
    return {**counts, "wanted": len(wanted), "float_nodes": missing, "all_integer": enough and not missing}


def _between_quantizers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Find the operators of `BETWEEN_QUANTIZERS` that read dequantized codes alone and are quantized at once."""
    index = Index(graph)
    found = []
    for node in graph.node:
        if node.op_type in BETWEEN_QUANTIZERS:
            makers = [_before_reshape(index, name) for name in node.input]
            reader = index.sole_reader(node.output[0])
            if reader is not None and reader.op_type == RESHAPE:  # rows of a linear layer
                reader = index.sole_reader(reader.output[0])
            if reader is not None and reader.op_type in ACTIVATIONS:
                reader = index.sole_reader(reader.output[0])
            read = all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)
            if read and reader is not None and reader.op_type == "QuantizeLinear":
                found.append(node)
    return found


def _before_reshape(index: Index, name: str) -> onnx.NodeProto | None:
    """Return the node that makes a tensor, up to its shape."""
    maker = index.maker.get(name)
    return index.maker.get(maker.input[0]) if maker is not None and maker.op_type == RESHAPE else maker


def _of_sizes(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that are computed from the sizes of others and from constants alone."""
    constants: set[str] = {tensor.name for tensor in graph.initializer}
    found: set[str] = set()
    for node in graph.node:
        read = {name for name in node.input if name}
        if node.op_type == "Constant":
            constants.update(node.output)
        elif node.op_type == "Shape" or (read & found and read <= found | constants):
            found.update(node.output)
    return found


def make_golden(subject: Subject, *pictures: Picture, arithmetic: str | None = None) -> Golden:
    """Compute in torch what a contract expects of one sample: inputs, outputs and inner tensors.

    `arithmetic` is that of a quantized network: a row of `quantization.arithmetic`; None takes the machine's own.
    """
    images = tuple(preprocess(picture, subject.card.preprocessing) for picture in pictures)
    if isinstance(subject.module, fx.GraphModule):
        values = integer_tensors(convert(subject.module), *map(torch.from_numpy, images), arithmetic=arithmetic)
    else:
        values = torch_float_tensors(subject.module, *map(torch.from_numpy, images))
    known = {layer.tensor: layer for layer in file_layers(onnx.load(str(subject.file)), subject.kind)}
    finite = {name: value for name, value in values.items() if np.isfinite(value).all()}  # others have no fingerprint
    layers = ((known.get(name) or absent_layer(name), value) for name, value in finite.items())
    outputs = outputs_of(subject.reference(arithmetic=arithmetic), *images)
    return Golden(pictures, images, outputs, tuple(layers))


def prove(
    subject: Subject,
    pictures: Iterable[Picture | tuple[Picture, ...]],
    *,
    sizes: Sequence[tuple[int, int]] = (),
    threads: int | None = None,
    skip_hash: bool = False,
    export_again: bool = True,
    min_fake_quant: float | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Prove a file: compare it with its network on `pictures` and, exported anew with open size, at `sizes`.

    Returns the numbers by level and size.
    A network with several inputs takes tuples of pictures. `skip_hash` looks at the numbers before the description and
    the weights' hash. `export_again=False` leaves out the comparison with what export writes. `min_fake_quant` is the
    least agreement of the fake-quantized network with the integer one; None judges as `conversion` says.
    Raises ParityError naming the first layer, entry or node that departs. int8: also asserts integer kernels.
    """
    _check_integrity(subject, skip_hash=skip_hash)
    kernels = integer_kernels(subject.file, subject.float_parts) if subject.kind == "int8" else None
    models = {level: load_onnx(subject.file, threads=threads, level=level) for level in LEVELS}
    reference = _Reference.of(subject)
    parts: dict[str, list[Agreement]] = {}
    kept: list[tuple[Picture, ...]] = []
    for index, item in enumerate(pictures):
        picture = as_tuple(subject.card, item)
        kept = kept if len(kept) == CONTROL_PICTURES else [*kept, picture]
        if index == PICTURES_WITHOUT_OPTIMISATION:
            del models["DISABLED"]
        for level, result in _compare_picture(subject, reference, models, picture).items():
            parts.setdefault(level, []).append(result)
        on_picture()
    if not kept:
        raise ParityError("no picture was compared; give at least one")
    if kernels is not None and not kernels["all_integer"] and not subject.wide:
        explained = _explain(subject, models["EXTENDED"], kept[0], None, "EXTENDED")
        places = ", ".join(kernels["float_nodes"][:3]) or explained
        raise ParityError(f"{subject.file}: not all kernels are integer; in float: {places}")
    results: dict[str, Any] = {level: asdict(combine(values)) for level, values in parts.items()}
    if kernels is not None:
        results["arithmetic"] = machine_arithmetic()
        results["integer_kernels"] = kernels
        results |= count_tie_safe(subject.module)
        results["conversion"] = _check_conversion(subject, reference, kept, least=min_fake_quant)
    if subject.promise is not None:
        results |= {"exact": False, "promise": subject.promise}
    if isinstance(reference.answers, PartlyFloat):
        share = integer_share(reference.answers.converted, subject.card.preprocessing.size)
        parts = {name: asdict(part) for name, part in reference.answers.found.items()}
        results |= {"float_parts": parts, "integer_macs": share}
    results["sizes"] = _prove_sizes(subject, kept[0], sizes, threads=threads)
    if skip_hash:
        _check_description(subject)
    results["export"] = identity.NOT_COMPARED
    if export_again:
        results["export"] = identity.compare_with_export(
            subject.file, subject.module, subject.card, argmax=subject.argmax
        )
    return results


@dataclass(frozen=True)
class _Reference:
    """The network whose answers the file must give, and the same network without ArgMax."""

    answers: nn.Module
    scores: nn.Module
    agreements: conversion.Agreements

    @staticmethod
    def of(subject: Subject) -> _Reference:
        answers = subject.reference()
        scores = answers if subject.argmax == "none" else subject.reference(argmax=False)
        return _Reference(answers, scores, conversion.Agreements())


def as_tuple(card: ModelCard, item: Picture | tuple[Picture, ...]) -> tuple[Picture, ...]:
    """Return a sample as a picture per input of the network. Raises UsageError for another number."""
    picture = item if isinstance(item, tuple) else (item,)
    if len(picture) != len(card.inputs):
        names = ", ".join(card.inputs)
        raise UsageError(
            f"the network takes {len(card.inputs)} picture(s) at a time ({names}), got {len(picture)}", code="no-fit"
        )
    return picture


def _compare_picture(
    subject: Subject, reference: _Reference, models: Mapping[str, OnnxModel], pictures: tuple[Picture, ...]
) -> dict[str, Agreement]:
    """Return the agreement of the file with the reference by level, and that of the fake-quantized network with it.

    Raises ParityError where a proven level departs.
    """
    images = [training_input(picture, subject.card.preprocessing) for picture in pictures]
    expected, results = outputs_of(reference.answers, *images), {}
    for level, model in models.items():
        found = _compare_outputs(expected, run_picture(model, *pictures))
        results[level] = replace(combine(list(found.values())), pictures=1)
        if level in PROVEN_LEVELS and not subject.holds(expected, found):
            raise ParityError(_explain(subject, models["EXTENDED"], pictures, results[level], level))
    scores = expected if reference.scores is reference.answers else outputs_of(reference.scores, *images)
    _check_label_maps(subject, expected, scores)
    if subject.kind == "int8":
        validated = outputs_of(subject.module.eval(), *images)
        reference.agreements.add(validated, scores)
        found = _compare_outputs(scores, validated)
        results["fake_quant"] = replace(combine(list(found.values())), pictures=1)
    return results


def _compare_outputs(expected: Mapping[str, Array], got: Mapping[str, Array]) -> dict[str, Agreement]:
    """Return the agreement by output. Raises ParityError for one that is missing, of another shape, or not finite."""
    for name, value in expected.items():
        if name not in got or got[name].shape != value.shape:
            shape = got[name].shape if name in got else "missing"
            raise ParityError(f"output {name}: expected shape {value.shape}, the file gives {shape}")
        for whose, values in (("the run's network", value), ("the file", got[name])):
            if count := int((~np.isfinite(values)).sum()):
                raise ParityError(f"output {name}: {count} of {values.size} values of {whose} are not finite")
    return {name: compare(value, got[name]) for name, value in expected.items()}


def _check_label_maps(subject: Subject, expected: Mapping[str, Array], scores: Mapping[str, Array]) -> None:
    """Check that ArgMax at full size gives the labels of the scores; before up-sampling its edges differ on purpose."""
    if subject.argmax == "full":
        for name, value in scores.items():
            labels = labels_of(value)
            if labels is not None and not np.array_equal(labels, expected.get(f"{name}{LABEL}", value)):
                raise ParityError(f"{subject.file}: output {name}: the label map is not that of the scores")


def count_additions(prepared: nn.Module) -> dict[str, int]:
    """Count the additions that every runtime computes alike (`quantization.tie_safe`), and all additions."""
    assert isinstance(prepared, fx.GraphModule)
    return dict(zip(("tie_safe", "total"), tie_safe_additions(prepared), strict=True))


def count_tie_safe(prepared: nn.Module) -> dict[str, dict[str, int]]:
    """Count, by kind, the operations that every runtime computes alike, and all of them.

    Kinds are additions and, where the network has some, products and functions (`quantization.tie_safe`).
    """
    assert isinstance(prepared, fx.GraphModule)
    counts = tie_safe_operations(prepared)
    return {
        kind: {"tie_safe": safe, "total": total}
        for kind, (safe, total) in counts.items()
        if total or kind == "additions"
    }


def _check_conversion(
    subject: Subject, reference: _Reference, kept: Sequence[tuple[Picture, ...]], *, least: float | None
) -> dict[str, Any]:
    """Apply both gates of `conversion` to the pictures that were `kept`; return their figures."""
    assert isinstance(subject.module, fx.GraphModule)
    pre, name = subject.card.preprocessing, str(subject.file)
    small = conversion.size_for_layers(subject.module, pre, inputs=len(kept[0]))
    layers = conversion.check_layers(subject.module, [training_input(p, small) for p in kept[0]], name=name)
    unsteady = None
    if reference.agreements.least[0] < conversion.SHARE:
        unsteady = conversion.Agreements()
        for pictures in kept:
            images, moved = ([training_input(p, pre, moved=moved) for p in pictures] for moved in (False, True))
            unsteady.add(outputs_of(subject.module, *images), outputs_of(subject.module, *moved))
    return layers | conversion.check_answers(reference.agreements, unsteady, least=least, name=name)


def _prove_sizes(
    subject: Subject, pictures: tuple[Picture, ...], sizes: Sequence[tuple[int, int]], *, threads: int | None
) -> dict[str, Any]:
    """Export the network with open size and compare one picture at each of `sizes`, levels EXTENDED and ALL.

    Sizes that the network does not take are left out, and named.
    """
    if not sizes:
        return {}
    metadata = {entry.key: entry.value for entry in onnx.load(str(subject.file)).metadata_props}
    kernels: Kernels = "onnxruntime" if metadata.get("edgeailite.kernels") == "onnxruntime" else "plain"
    try:
        data = to_onnx(subject.module, subject.card, argmax=subject.argmax, kernels=kernels).SerializeToString()
    except UsageError as error:
        if error.code != "no-fit":
            raise
        log(f"further sizes are left out: {error}")
        return {}
    reference, results = subject.reference(data=data), {}
    for height, width in sizes:
        preprocessing = subject.card.preprocessing.with_size((height, width))
        images = [training_input(picture, preprocessing) for picture in pictures]
        try:
            expected = outputs_of(reference, *images)
        except RuntimeError as error:  # of torch, on tensors that do not fit each other
            reason = printable(first_line(error))[:200]
            log(f"{height}x{width} is left out: the network does not take it ({reason})")
            continue
        for level in PROVEN_LEVELS:
            found = _compare_outputs(expected, run(load_onnx(data, threads=threads, level=level), *images))
            result = replace(combine(list(found.values())), pictures=1)
            results[f"{height}x{width} {level}"] = asdict(result)
            if not subject.holds(expected, found):
                raise ParityError(
                    f"{subject.file.name} at {height}x{width}, {level}: logits differ by {result.max_difference:.3g}"
                )
    return results


def _explain(
    subject: Subject, model: OnnxModel, pictures: tuple[Picture, ...], result: Agreement | None, level: str
) -> str:
    golden = json.loads(json.dumps(make_golden(subject, *pictures).to_dict()))
    place = first_departure(subject.file.read_bytes(), model, golden, kind=subject.kind)
    numbers, why = "", ""
    if subject.kind == "int8":
        why = "".join(f"; {reason}" for reason in machine_reasons())
    if result is not None:
        equal = result.equal_argmax
        share = "" if equal is None else f"argmax equal on {100 * equal:.3f} % of pixels, "
        numbers = f" ({level}: {share}max |difference| {result.max_difference:.4g})"
    return f"{subject.file}: departs first at {place or 'no inner tensor'}{numbers}{why}"


def _check_integrity(subject: Subject, *, skip_hash: bool) -> None:
    """Raise ParityError for a file of the other kind, with changed weights, or with another card."""
    loaded = load_onnx(subject.file, level="DISABLED")
    if loaded.kind != subject.kind:
        raise ParityError(f"{subject.file}: a {loaded.kind} file, but the run is {subject.kind}; export this run again")
    size = loaded.card.preprocessing.size
    if loaded.fixed_size not in (None, size):
        raise ParityError(
            f"{subject.file}: input_size: {size}, but it takes {loaded.fixed_size}; export this run again"
        )
    _, model = identity.read_model(subject.file)
    written = identity.metadata_of(subject.file, model).get("edgeailite.weights_sha256", "none")
    if skip_hash:
        return
    if weights_hash(model) != written:
        raise ParityError(
            f"{subject.file}: weights changed since export (hash {printable(written[:16])}…); export this run again"
        )
    _check_description(subject)


def _check_description(subject: Subject) -> None:
    metadata = identity.metadata_of(subject.file, identity.read_model(subject.file)[1])
    identity.check_description(subject.file, metadata, subject.card)


def training_input(picture: Picture, preprocessing: Preprocessing, *, moved: bool = False) -> Array:
    """Preprocess as training does: OpenCV's resize, torch's normalisation. `moved`: by up to a grey level."""
    resized = resize_image(picture, preprocessing.size, preprocessing.interpolation)
    if moved:
        resized = conversion.one_grey_level_off(resized)
    return to_input(torch.from_numpy(resized.transpose(2, 0, 1).copy())[None], preprocessing).numpy()
