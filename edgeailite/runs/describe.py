"""Gives an ONNX file from elsewhere a card: names of inputs and outputs as ours, and our metadata.

The graph stays as it is but for its ends, and the original file is not touched. Whatever the file takes and gives, the
copy takes pictures (N,3,H,W) and gives maps (N,C,H,W): an answer for the whole picture, (N,C) or (N,), becomes a map
with a single place, and tensors with channels last are transposed.
"""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_model

from edgeailite import __version__
from edgeailite.errors import DataError, UsageError, option
from edgeailite.modelcard import (
    CLASSIFICATION,
    FEATURES,
    MOST_CHANNELS,
    OUTPUT_NAME,
    REGRESSION,
    TASKS,
    ModelCard,
    default_palette,
    has_classes,
    input_name,
)
from edgeailite.onnxfile import OnnxFile, read_onnx, with_outside_data
from edgeailite.onnxfile.call import as_text
from edgeailite.onnxfile.shapes import Limits, sizes_of
from edgeailite.onnxfile.wire import TO_FIRST, TO_LAST, Damaged, Port
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.dataset import PICTURES
from edgeailite.runs.onnx_model import card_entries, weights_hash
from edgeailite.runtime import load_onnx
from edgeailite.untrusted import printable, shown

LIMITS = Limits(elements=2**31, operations=2**53)
AXES_ARE_INPUTS = 13  # opset from which Unsqueeze takes its axes as an input
ADDED_SIDES = {4: (), 3: (3,), 2: (2, 3), 1: (0, 2, 3), 0: (0, 1, 2, 3)}  # by the sides of an output for one picture
QUANTIZERS = ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Description:
    """Facts that a person gives about a file: names of classes and their colours, rules for pictures, data set.

    `outputs` are the file's outputs that are kept, the one with the classes first; () keeps all.
    """

    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    outputs: tuple[str, ...] = ()
    dataset_name: str = PICTURES


def input_size(path: Path) -> tuple[int, int] | None:
    """Return the height and width that a file's first input is fixed to, None if they are open. Raises DataError."""
    file = read_onnx(path)
    port = next(iter(file.graph.inputs), None)
    sides = () if port is None or port.shape is None else port.shape[1:3] if port.channels_last else port.shape[2:]
    fixed = [side for side in sides if isinstance(side, int) and side > 0]
    return (fixed[0], fixed[1]) if len(fixed) == 2 else None


def describe(path: Path, description: Description) -> tuple[onnx.ModelProto, ModelCard]:
    """Return a copy of an ONNX file with a card in its metadata, which `load_onnx` opens, and the card.

    Inputs are renamed to `image`, `image1`, ...; a single output, or the first with the classes, to `segmentation`,
    `depth`, `classification` or `features`. Raises DataError for a file that is damaged, UsageError for one whose
    inputs or outputs are not those of a network for pictures, or that does not fit the description.
    """
    file = with_outside_data(read_onnx(path))
    shapes = _shapes(file, description.preprocessing.size)
    kept = [_Output.of(file, port, shapes[port.name], description) for port in _kept_outputs(file, description.outputs)]
    names = _output_names(kept, description.classes)
    card = ModelCard(
        model_name=printable(path.stem)[:100],
        outputs={names[output.port.name]: output.channels for output in kept},
        classes=_classes(description.classes, names, kept),
        palette=description.palette or default_palette(len(description.classes)),
        preprocessing=description.preprocessing,
        dataset_name=description.dataset_name,
        options={} if len(file.graph.inputs) == 1 else {"inputs": len(file.graph.inputs)},
    )
    card = replace(card, palette=_palette(card))
    model = _loaded(file)
    _keep(model, [output.port.name for output in kept])
    inputs = _with_planes(model, {port.name: input_name(index) for index, port in enumerate(file.graph.inputs)}, file)
    _rename(model, inputs | _as_maps(model, kept, names))
    _write_metadata(model, file, card)
    load_onnx(model.SerializeToString())
    return model, card


@dataclass(frozen=True)
class _Output:
    """An output that is kept: its channels, the sides of 1 that make it a map, and whether its channels are last.

    `is_map` tells those with more than one place from answers for the whole picture.
    """

    port: Port
    channels: int
    added: tuple[int, ...]
    channels_last: bool
    is_map: bool

    @classmethod
    def of(cls, file: OnnxFile, port: Port, shape: tuple[int, ...], description: Description) -> _Output:
        """Return what an output with this shape for one picture is. Raises UsageError for one that is no map."""
        last = len(shape) == 4 and _is_last(file, shape, len(description.classes))
        batch_is_gone = len(shape) < 2 and not _fixed_batch(file)
        added = (1, 2, 3) if batch_is_gone else ADDED_SIDES.get(len(shape))
        channels = 1 if batch_is_gone or not shape else shape[0] if len(shape) == 1 else shape[3 if last else 1]
        if added is None or (len(shape) > 1 and shape[0] != 1) or channels > MOST_CHANNELS:
            raise UsageError(
                f"output {printable(port.name)[:100]} is {as_text(shape)}, expected 1xCxHxW, 1xC or one number, with "
                f"at most {MOST_CHANNELS} channels",
                fix=f"name the outputs to keep with {option('outputs')}, or cut the graph where it has this form",
                code="wrong-kind",
            )
        if batch_is_gone and shape != (1,):
            raise UsageError(
                f"output {printable(port.name)[:100]} is {as_text(shape) if shape else 'one number'}, so that "
                "the pictures of a batch cannot be told apart",
                fix="export it for one picture, with its batch fixed to 1",
                code="wrong-kind",
            )
        places = shape[1:3] if last else shape[2:]
        return cls(port, channels, added, last, is_map=not added and places != (1, 1))


def _fixed_batch(file: OnnxFile) -> bool:
    """Tell if a file takes one picture at a time."""
    return all((port.shape or ("",))[0] == 1 for port in file.graph.inputs)


def _is_last(file: OnnxFile, shape: Sequence[int], classes: int) -> bool:
    """Tell if a map has channels last: where the number of classes does not say it, maps are as pictures are."""
    first, last = shape[1] == classes, shape[3] == classes
    if first != last:
        return last
    one_channel = shape[1] == 1 and shape[3] != 1
    return file.graph.inputs[0].channels_last and not one_channel


def _shapes(file: OnnxFile, size: tuple[int, int]) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of all tensors for one picture. Raises UsageError for inputs that take no pictures."""
    inputs = {}
    for port in file.graph.inputs:
        wanted = port.picture_shape(1, size)
        given = port.shape or ()
        sides = tuple(
            side if isinstance(side, int) and side > 0 else own for side, own in zip(given, wanted, strict=False)
        )
        if sides != wanted or len(given) != 4 or port.element != 1:
            name, expected = printable(port.name)[:100], f"1x3x{size[0]}x{size[1]} float32"
            found = "x".join(map(str, given)) or "without shape"
            raise UsageError(
                f"input {name} is {printable(found)[:80]}, expected {expected}",
                path=file.name,
                fix=f"export it for one normalised picture (N,3,H,W), or change {option('img_resize')}",
            )
        inputs[port.name] = wanted
    try:
        return sizes_of(file.graph, inputs, LIMITS).shapes
    except Damaged as error:
        raise DataError(
            f"its sizes cannot be computed ({printable(str(error))[:300]})", path=file.name, fix="simplify the file"
        ) from None


def _kept_outputs(file: OnnxFile, wanted: Sequence[str]) -> list[Port]:
    ports = {port.name: port for port in file.graph.outputs}
    unknown = next((name for name in wanted if name not in ports), None)
    if unknown is not None:
        known = tuple(ports)
        raise UsageError(
            f"the file has no such output, but {printable(', '.join(known))[:300]}",
            about="outputs",
            value=unknown,
            known=known,
        )
    return [ports[name] for name in dict.fromkeys(wanted)] or list(ports.values())


def _output_names(kept: Sequence[_Output], classes: Sequence[str]) -> dict[str, str]:
    """Return the new name of each output, which says what it is: the main one has the classes."""
    fits = [output for output in kept if output.channels == len(classes)] if classes else list(kept)
    main = (fits or list(kept))[0]
    names: dict[str, str] = {}
    for output in kept:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", output.port.name)[:64] or "output"
        is_task = plain.startswith(TASKS[:3]) and bool(OUTPUT_NAME.fullmatch(plain))
        if output is main and not (is_task and output.is_map and (classes or output.channels == 1)):
            plain = _main_name(output, classes)
        elif output is not main and (not output.is_map or (output.channels > 1 and not classes)):
            plain = f"{FEATURES}_{plain}"[:64]
        elif plain.startswith(CLASSIFICATION) and output.is_map:
            plain = f"map_{plain}"[:64]
        while plain in names.values():
            plain = f"{plain[:60]}_{len(names)}"
        names[output.port.name] = plain
    return names


def _main_name(output: _Output, classes: Sequence[str]) -> str:
    """Return the task of the main output: without names of classes, its numbers have no meaning that is known."""
    if output.is_map and output.channels == 1:
        return REGRESSION
    if not classes:
        return FEATURES
    return TASKS[0] if output.is_map else CLASSIFICATION


def _classes(classes: tuple[str, ...], names: Mapping[str, str], kept: Sequence[_Output]) -> tuple[str, ...]:
    """Check the names of classes against the outputs' channels. Raises UsageError."""
    counts = [output.channels for output in kept if has_classes(names[output.port.name], output.channels)]
    if not classes:  # further outputs may have classes that nothing names
        return ()
    if len(classes) not in counts:
        found = ", ".join(f"{names[output.port.name]} {output.channels}" for output in kept)
        raise UsageError(
            f"{len(classes)} names, but the channels of the outputs are {found}",
            about="classes",
            value=" ".join(classes)[:100] or "none",
            fix="give one name for each channel",
        )
    return classes


def _palette(card: ModelCard) -> tuple[tuple[int, int, int], ...]:
    if len(card.palette) != len(card.classes):
        raise UsageError(
            f"{len(card.palette)} colours for {len(card.classes)} classes",
            about="palette",
            value=shown(card.palette)[:60],
            fix="give three numbers for each class, or leave it out",
        )
    return card.palette


def _loaded(file: OnnxFile) -> onnx.ModelProto:
    """Load a file that was checked, with its weights in memory."""
    model = onnx.load(io.BytesIO(file.data), load_external_data=False)
    if file.path is not None:
        load_external_data_for_model(model, str(file.path.parent))
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    return model


def _keep(model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Keep these outputs, in this order, and the nodes that they need."""
    ports = {port.name: port for port in model.graph.output}
    chosen = [ports[name] for name in outputs]
    needed = set(outputs)
    nodes = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    del model.graph.output[:], model.graph.node[:]
    model.graph.output.extend(chosen)
    model.graph.node.extend(reversed(nodes))


def _with_planes(model: onnx.ModelProto, names: Mapping[str, str], file: OnnxFile) -> dict[str, str]:
    """Let inputs (N,H,W,3) take (N,3,H,W); return the new name of each input by the one that it has now."""
    changed = {}
    last = {port.name for port in file.graph.inputs if port.channels_last}
    for port in model.graph.input:
        source = port.name
        if source in last:
            source = f"{port.name}_planes"
            _transpose(model, source, port.name, TO_LAST, first=True)
            sides = [copy.deepcopy(side) for side in port.type.tensor_type.shape.dim]
            del port.type.tensor_type.shape.dim[:]
            port.type.tensor_type.shape.dim.extend(sides[axis] for axis in TO_FIRST)
        if port.name in names:
            changed[source] = names[port.name]
        port.name = source
    return changed


def _transpose(model: onnx.ModelProto, source: str, result: str, order: Sequence[int], *, first: bool = False) -> None:
    node = onnx.helper.make_node("Transpose", [source], [result], name=f"{result}/Transpose", perm=list(order))
    model.graph.node.insert(0 if first else len(model.graph.node), node)


def _as_maps(model: onnx.ModelProto, kept: Sequence[_Output], names: Mapping[str, str]) -> dict[str, str]:
    """Give every output the sides of a map, channels first; return its new name by the one that it has now."""
    graph, changed = model.graph, {}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for port, output in zip(graph.output, kept, strict=True):
        source = port.name
        if output.added:
            port.name = f"{source}_map"
            node = onnx.helper.make_node("Unsqueeze", [source], [port.name], name=f"{port.name}/Unsqueeze")
            if opset < AXES_ARE_INPUTS:
                node.attribute.append(onnx.helper.make_attribute("axes", list(output.added)))
            else:
                axes = onnx.numpy_helper.from_array(np.array(output.added, np.int64), f"{port.name}_axes")
                graph.initializer.append(axes)
                node.input.append(axes.name)
            graph.node.append(node)
        elif output.channels_last:
            port.name = f"{source}_planes"
            _transpose(model, source, port.name, TO_FIRST)
        if port.name != source:
            port.type.tensor_type.ClearField("shape")
        changed[port.name] = names[source]
    return changed


def _rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename inputs and outputs everywhere; an inner tensor that has such a name already gets another one."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - names.keys()
    changed = dict(names) | {name: f"{name}_inner" for name in taken & set(names.values())}
    for node in graph.node:
        for names_of in (node.input, node.output):
            for index, name in enumerate(names_of):
                names_of[index] = changed.get(name, name)
    for part in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.name = changed.get(part.name, part.name)


def _write_metadata(model: onnx.ModelProto, file: OnnxFile, card: ModelCard) -> None:
    quantized = any(node.op in QUANTIZERS for node in file.graph.nodes)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != "ort_config"}
    ours = {
        "edgeailite.version": __version__,
        "edgeailite.kind": "int8" if quantized else "float",
        "edgeailite.argmax": "none",
        "edgeailite.weights_sha256": weights_hash(model),
        **card_entries(card),
    }
    del model.metadata_props[:]
    plain = {key: value for key, value in kept.items() if not key.startswith("edgeailite.")}
    onnx.helper.set_model_props(model, dict(sorted({**plain, **ours}.items())))
