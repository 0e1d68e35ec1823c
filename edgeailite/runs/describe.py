"""Gives an ONNX file from elsewhere a card: names of inputs and outputs as ours, and our metadata.

The graph stays as it is, and the original file is not touched. A network that gives one answer for the whole picture,
(N,C), becomes one whose map has a single place, (N,C,1,1).
"""

from __future__ import annotations

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
    MOST_CHANNELS,
    OUTPUT_NAME,
    REGRESSION,
    TASKS,
    ModelCard,
    default_palette,
    input_name,
    task_type,
)
from edgeailite.onnxfile import OnnxFile, read_onnx, with_outside_data
from edgeailite.onnxfile.call import as_text
from edgeailite.onnxfile.shapes import Limits, sizes_of
from edgeailite.onnxfile.wire import Damaged, Port
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.dataset import PICTURES
from edgeailite.runs.onnx_model import card_entries, weights_hash
from edgeailite.runtime import load_onnx
from edgeailite.untrusted import printable, shown

LIMITS = Limits(elements=2**31, operations=2**53)
AXES_ARE_INPUTS = 13  # opset from which Unsqueeze takes its axes as an input
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
    sides = (file.graph.inputs[0].shape or ())[2:] if file.graph.inputs else ()
    fixed = [side for side in sides if isinstance(side, int) and side > 0]
    return (fixed[0], fixed[1]) if len(fixed) == 2 else None


def describe(path: Path, description: Description) -> tuple[onnx.ModelProto, ModelCard]:
    """Return a copy of an ONNX file with a card in its metadata, which `load_onnx` opens, and the card.

    Inputs are renamed to `image`, `image1`, ...; a single output, or the first with the classes, to `segmentation` or
    `depth`. Raises DataError for a file that is damaged, UsageError for one whose inputs or outputs are not those of a
    network for pictures, or that does not fit the description.
    """
    file = with_outside_data(read_onnx(path))
    shapes = _shapes(file, description.preprocessing.size)
    kept = _kept_outputs(file, description.outputs)
    names = _output_names(kept, shapes, description.classes)
    card = ModelCard(
        model_name=printable(path.stem)[:100],
        outputs={names[port.name]: shapes[port.name][1] for port in kept},
        classes=_classes(description.classes, [shapes[port.name][1] for port in kept], names, kept),
        palette=description.palette or default_palette(len(description.classes)),
        preprocessing=description.preprocessing,
        dataset_name=description.dataset_name,
        options={} if len(file.graph.inputs) == 1 else {"inputs": len(file.graph.inputs)},
    )
    card = replace(card, palette=_palette(card))
    model = _loaded(file)
    inputs = {port.name: input_name(index) for index, port in enumerate(file.graph.inputs)}
    _keep(model, [port.name for port in kept])
    names |= _as_maps(model, {name: names.pop(name) for name in list(names) if len(shapes[name]) == 2})
    _rename(model, inputs | names)
    _write_metadata(model, file, card)
    load_onnx(model.SerializeToString())
    return model, card


def _shapes(file: OnnxFile, size: tuple[int, int]) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of all tensors for one picture. Raises UsageError for inputs that take no pictures."""
    inputs = {}
    for port in file.graph.inputs:
        wanted = (1, 3, *size)
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


def _output_names(kept: Sequence[Port], shapes: Mapping[str, Sequence[int]], classes: Sequence[str]) -> dict[str, str]:
    """Return the new name of each output. Raises UsageError for an output that is no map of values."""
    for port in kept:
        shape = shapes[port.name]
        if len(shape) not in (2, 4) or shape[0] != 1 or shape[1] > MOST_CHANNELS:
            raise UsageError(
                f"output {printable(port.name)[:100]} is {as_text(shape)}, expected 1xCxHxW or 1xC",
                fix=f"name the outputs to keep with {option('outputs')}, or cut the graph where it has this form",
                code="wrong-kind",
            )
    fits = [port for port in kept if shapes[port.name][1] == len(classes)] if classes else list(kept)
    main = (fits or list(kept))[0]
    names: dict[str, str] = {}
    for port in kept:
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", port.name)[:64] or "output"
        is_task = plain.startswith(TASKS) and bool(OUTPUT_NAME.fullmatch(plain))
        if port is main and not is_task:
            plain = REGRESSION if shapes[port.name][1] == 1 else TASKS[0]
        while plain in names.values():
            plain = f"{plain[:60]}_{len(names)}"
        names[port.name] = plain
    return names


def _classes(
    classes: tuple[str, ...], channels: Sequence[int], names: Mapping[str, str], kept: Sequence[Port]
) -> tuple[str, ...]:
    """Check the names of classes against the outputs' channels. Raises UsageError."""
    counts = [
        count for port, count in zip(kept, channels, strict=True) if task_type(names[port.name], count) != REGRESSION
    ]
    if not counts and not classes:
        return ()
    if len(classes) not in counts:
        found = ", ".join(f"{names[port.name]} {count}" for port, count in zip(kept, channels, strict=True))
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


def _as_maps(model: onnx.ModelProto, names: Mapping[str, str]) -> dict[str, str]:
    """Give outputs (N,C) two more sides of 1; return the new name of each output by the one that it has now."""
    graph, changed = model.graph, {}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for port in graph.output:
        if port.name not in names:
            continue
        source, result = port.name, f"{port.name}_map"
        node = onnx.helper.make_node("Unsqueeze", [source], [result], name=f"{result}/Unsqueeze")
        if opset < AXES_ARE_INPUTS:
            node.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
        else:
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3], np.int64), f"{result}_axes"))
            node.input.append(f"{result}_axes")
        graph.node.append(node)
        port.name = result
        port.type.tensor_type.ClearField("shape")
        changed[result] = names[source]
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
