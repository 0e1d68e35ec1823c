"""A network to an ONNX model: exported once with open sizes, then fixed, simplified, named and labelled.

The same network gives the same bytes: names come from the network, nothing of the exporter's metadata stays.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import onnx
import onnx.version_converter
import torch
from torch import Tensor, fx, nn

from edgeailite import __version__
from edgeailite.console import exporter_silenced
from edgeailite.errors import UsageError, first_line, option, root_cause
from edgeailite.export.graph_builder import BATCH, EXAMPLE
from edgeailite.export.graph_writer import write
from edgeailite.export.graphs import ARGMAX_MODES, append_argmax, fold_batch_norms
from edgeailite.export.naming import operator_names, rename
from edgeailite.export.passes import Kernels, apply_passes
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import convert, scheme_of, wide_parts
from edgeailite.quantization.convert import DEFAULT_FORM, Form
from edgeailite.quantization.graph import named_outputs, output_nodes
from edgeailite.quantization.prepare import float_parts_of
from edgeailite.runs.onnx_model import card_entries, weights_hash
from edgeailite.runtime.contract_file import FLOAT_PARTS_PROMISE, WEAKER, WIDE_PROMISE
from edgeailite.runtime.metadata import SESSION_SETTINGS, SIGNED_CODES
from edgeailite.untrusted import printable

NEWEST_IR = 10  # nothing newer is used
LARGEST_FILE = 2**31  # bytes
OLDEST_EXPORTED = 18  # torch writes this one or newer; 17 is converted from it
WIDE_OPSET = 21  # the first whose quantizers know 16 bits
KEPT = ("Conv", "QuantizeLinear", "DequantizeLinear", "Add", "Concat", "Resize")

__all__ = ["ARGMAX_MODES", "to_onnx"]


def to_onnx(
    model: nn.Module,
    card: ModelCard,
    *,
    opset: int = 21,
    argmax: str = "none",
    size: tuple[int, int] | None = None,
    simplify: bool = True,
    form: Form = DEFAULT_FORM,
    kernels: Kernels = "plain",
) -> onnx.ModelProto:
    """Export a network to float ONNX, or a prepared and calibrated one to int8 ONNX with QuantizeLinear pairs.

    `size` (height, width) fixes the input at batch 1; None leaves batch, height and width open. Inputs are named
    `image`, `image1`, ..., outputs after the tasks. `form` is how a device wants its quantizers; integer-exact is what
    the default form gives. `kernels="onnxruntime"` rewrites an int8 file for speed there, bit for bit (`passes`).
    Warns of a network in training mode, which is exported as in evaluation. Raises UsageError for weights beyond one
    file, `kernels` on float, a plan's bits that the opset does not know, or, with open size, a network that takes one
    size only.
    """
    _check_weights_fit(model)
    if model.training:
        warnings.warn("the network is in training mode; it is exported as in evaluation (model.eval())", stacklevel=2)
    if not isinstance(model, fx.GraphModule):
        if kernels != "plain":
            raise UsageError(
                f"{option('kernels')} {kernels}: rewrites int8 files; quantize the run first, or leave the option out",
                code="wrong-kind",
            )
        return write_graph(fold_batch_norms(model), card, opset=opset, argmax=argmax, size=size, simplify=simplify)
    _check_bits(model, opset)
    traced = convert(model, opset=max(opset, OLDEST_EXPORTED), form=form)
    properties = {"edgeailite.kind": "int8", **_quantization_metadata(model)}
    return write_graph(
        traced,
        card,
        opset=opset,
        argmax=argmax,
        size=size,
        simplify=simplify,
        kernels=kernels,
        properties=properties,
    )


def write_graph(
    traced: fx.GraphModule,
    card: ModelCard,
    *,
    opset: int,
    argmax: str,
    size: tuple[int, int] | None,
    simplify: bool,
    kernels: Kernels = "plain",
    properties: Mapping[str, str] = MappingProxyType({}),
) -> onnx.ModelProto:
    """Export a traced network, after appending ArgMax if asked for; `properties` become metadata.

    Raises UsageError for a card whose outputs are not those of the network.
    """
    _check_outputs(traced, card)
    if size is not None:  # what the metadata say is what the file takes
        card = card.with_size(size)
    if argmax != "none":
        append_argmax(traced, argmax, card.classified)
    traced.graph.eliminate_dead_code()
    exported = write(traced, card.inputs, opset=max(opset, OLDEST_EXPORTED), size=size)
    if exported is None:
        names = operator_names(traced.graph)
        exported = rename(_export(traced, card, opset=max(opset, OLDEST_EXPORTED), size=size), names)
        if simplify:
            exported = _simplify(exported)
    if opset < OLDEST_EXPORTED:
        exported = _in_opset(exported, opset)
    exported = apply_passes(exported, kernels)
    exported.producer_name, exported.producer_version = "edgeailite", __version__
    exported.ir_version = min(
        NEWEST_IR, onnx.helper.find_min_ir_version_for(exported.opset_import, ignore_unknown=True)
    )
    metadata = {**_metadata(exported, card, argmax=argmax, kernels=kernels), **properties}
    onnx.helper.set_model_props(exported, dict(sorted(metadata.items())))
    onnx.checker.check_model(exported)
    return exported


def _check_outputs(traced: fx.GraphModule, card: ModelCard) -> None:
    """A program that reads the file by its card must find every output."""
    given = set(output_nodes(traced.graph))
    if given != set(card.outputs):
        known, described = ", ".join(sorted(given)), ", ".join(sorted(card.outputs))
        raise UsageError(
            f"the network gives {known}, but its card describes {described}",
            fix="give the card the network's outputs",
            code="no-fit",
        )


def _check_weights_fit(model: nn.Module) -> None:
    """Raise UsageError for weights beyond 2 GB, the limit of one ONNX file."""
    total = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if not isinstance(model, fx.GraphModule) and total >= LARGEST_FILE:
        raise UsageError(
            f"the weights are {total / 1e9:.1f} GB, an ONNX file holds less than {LARGEST_FILE / 1e9:.1f} GB; "
            "choose a smaller network",
            code="over-budget",
        )


def _check_bits(model: fx.GraphModule, opset: int) -> None:
    wide = wide_parts(model)
    if wide and opset < WIDE_OPSET:
        raise UsageError(
            f"{option('opset')} {opset}: {wide[0]} has codes of 16 bits, which need opset {WIDE_OPSET} or newer"
        )


def _export(traced: fx.GraphModule, card: ModelCard, *, opset: int, size: tuple[int, int] | None) -> onnx.ModelProto:
    """Export with torch. Open sizes are tried at `EXAMPLE`; then at the card's size, where that is too small."""
    if size is not None:
        return _export_at(traced, card.inputs, size, opset=opset, is_open=False)
    try:
        return _export_at(traced, card.inputs, EXAMPLE, opset=opset, is_open=True)
    except torch.onnx.OnnxExporterError:
        own = card.preprocessing.height, card.preprocessing.width
    try:
        return _export_at(traced, card.inputs, own, opset=opset, is_open=True)
    except torch.onnx.OnnxExporterError as error:
        raise UsageError(
            f"the network cannot be exported with open height and width ({first_line(root_cause(error))})",
            fix=f"export it with one size: leave {option('dynamic')} out",
            code="no-fit",
        ) from None


def _export_at(
    traced: fx.GraphModule, inputs: Sequence[str], size: tuple[int, int], *, opset: int, is_open: bool
) -> onnx.ModelProto:
    examples = tuple(torch.zeros(BATCH if is_open else 1, 3, *size) for _ in inputs)
    dynamic = {"images": tuple(dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC) for _ in inputs)} if is_open else None
    with exporter_silenced(), torch.no_grad():
        program = torch.onnx.export(
            _Wrapped(traced),
            examples,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(output_nodes(traced.graph)),
            dynamic_shapes=dynamic,
        )
    assert program is not None
    return program.model_proto


def _in_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Rewrite a model for an older opset. Raises UsageError where an operator of it cannot be written there."""
    try:
        return onnx.version_converter.convert_version(model, opset)
    except RuntimeError as error:
        reason = str(error).rpartition(": ")[2]
        raise UsageError(
            f"{option('opset')} {opset}: an operator cannot be written in it ({printable(reason)[:200]})",
            fix=f"take {option('opset')} {OLDEST_EXPORTED} or newer",
            code="no-fit",
        ) from None


class _Wrapped(nn.Module):
    """Holds the network as an attribute, so that all its names begin alike (`naming.NETWORK`)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        return named_outputs(self.network(*images))


def _simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Simplify with onnxsim, if installed; refuse the result if it changes the number of operators that matter."""
    try:
        import onnxsim
    except ImportError:
        return model
    before = Counter(node.op_type for node in model.graph.node)
    simplified, valid = onnxsim.simplify(model, skip_fuse_bn=True)
    after = Counter(node.op_type for node in simplified.graph.node)
    same = all(before[kind] == after[kind] for kind in KEPT)
    return simplified if valid and same else model


def _metadata(model: onnx.ModelProto, card: ModelCard, *, argmax: str, kernels: Kernels) -> dict[str, str]:
    return {
        "edgeailite.version": __version__,
        "edgeailite.kind": "float",
        "edgeailite.argmax": argmax,
        "edgeailite.kernels": kernels,
        "edgeailite.weights_sha256": weights_hash(model),
        **card_entries(card),
    }


def _quantization_metadata(model: fx.GraphModule) -> dict[str, str]:
    """Return the metadata of quantization: scheme, parts that are not 8-bit integers, settings for signed codes."""
    scheme = scheme_of(model)
    settings = SIGNED_CODES if scheme.signed else {}
    weaker = {WIDE_PROMISE: wide_parts(model), FLOAT_PARTS_PROMISE: float_parts_of(model)}
    about = {"edgeailite.scheme": scheme.name, SESSION_SETTINGS: json.dumps(settings)}
    return about | {WEAKER[promise]: json.dumps(parts) for promise, parts in weaker.items() if parts}
