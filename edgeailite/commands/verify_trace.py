"""`edgeailite verify RUN --trace A B`: where two forms of a network first depart, and how the difference grows.

A and B: `float` (of a quantized run: its weights with the quantizers off), `fake_quant`, `integer_exact`; the run's
file as `ort`, `ort:LEVEL`, `openvino` or `openvino:f32` (float layers not in bf16); `FILE.onnx` (onnxruntime, ALL),
`FILE.onnx@LEVEL`, `FILE.onnx@openvino`, `FILE.onnx@openvino:f32`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from rich.table import Table
from torch import nn

from edgeailite.config import VerifyConfig
from edgeailite.console import print_json, print_table, progress
from edgeailite.data.files.images import read_image
from edgeailite.device import set_threads
from edgeailite.drawing.plots import growth_curve
from edgeailite.errors import UsageError
from edgeailite.evaluation.measure import dataset_of
from edgeailite.export.files import FILE_NAMES
from edgeailite.export.trace.compare import Row, Trace, trace
from edgeailite.export.trace.file_side import file_side, read_file
from edgeailite.export.trace.sides import Side
from edgeailite.export.trace.torch_side import torch_side
from edgeailite.files import write_result
from edgeailite.inference import find_pictures
from edgeailite.modelcard import ModelCard, input_name
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runs.checkpoint import run_folder
from edgeailite.runs.open import load_network
from edgeailite.runtime import card_of_metadata

TORCH_WORDS = ("float", "fake_quant", "integer_exact")
SUFFIX = ".onnx"
NAMED = 5  # tensors that a line of the summary names


@dataclass(frozen=True)
class Setting:
    """What the words of --trace refer to: the run's network and file, and how pictures become inputs."""

    module: nn.Module | None
    file: Path
    card: ModelCard | None
    preprocessing: Preprocessing
    inputs: int


def show_trace(config: VerifyConfig, words: tuple[str, str]) -> int:
    """Print the table, or JSON; draw the curve."""
    set_threads(config.threads)
    setting = _file_setting(config) if config.model.suffix == SUFFIX else _run_setting(config.model)
    first, second = (side_of(word, setting, threads=config.threads) for word in words)
    paths = _pictures(config, setting)
    with progress("trace", len(paths)) as (bar, task):
        found = trace(
            first,
            second,
            _inputs(paths, setting.preprocessing, on_picture=lambda: bar.advance(task)),
            local=config.trace_local,
        )
    if config.trace_plot is not None:
        write_result(config.trace_plot, draw(found), "trace_plot")
    if config.json:
        print_json(found.to_dict())
    else:
        print_table(table_of(found))
        print("\n".join(summary(found)))
    return 0


def side_of(word: str, setting: Setting, *, threads: int | None = None) -> Side:
    """The side that a word names. Raises UsageError for an unknown one."""
    if word in TORCH_WORDS:
        if setting.module is None:
            raise UsageError(f"--trace {word}: {setting.file} is a file; give the run folder to trace a torch network")
        return torch_side(word, setting.module)
    size = setting.preprocessing.size
    name, _, how = word.rpartition("@")
    if name.endswith(SUFFIX) or word.endswith(SUFFIX):
        path, runtime = (Path(name), how) if name.endswith(SUFFIX) else (Path(word), "ALL")
        return file_side(word, path, runtime=runtime, threads=threads, height_width=size)
    kind, _, level = word.partition(":")
    if kind == "ort":
        return file_side(word, setting.file, runtime=level or "ALL", threads=threads, height_width=size)
    if kind == "openvino":
        return file_side(word, setting.file, runtime=word, threads=threads, height_width=size)
    raise UsageError(
        f"--trace {word}: unknown; known are {', '.join(TORCH_WORDS)}, ort, ort:LEVEL, openvino, "
        "openvino:f32, FILE.onnx, FILE.onnx@LEVEL, FILE.onnx@openvino"
    )


def _run_setting(run: Path) -> Setting:
    checkpoint, module = load_network(run)
    file = run_folder(run) / FILE_NAMES[checkpoint.quantization is not None]
    card = checkpoint.card
    return Setting(module, file, card, card.preprocessing, len(card.inputs))


def _file_setting(config: VerifyConfig) -> Setting:
    """Preprocessing from our metadata; of another file its own size, or --img_resize, and the range of our networks."""
    model = read_file(config.model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if "edgeailite.card" in metadata:
        card = card_of_metadata(metadata, where=str(config.model))
        size = config.img_resize or card.preprocessing.size
        preprocessing = replace(card.preprocessing, height=size[0], width=size[1])
        return Setting(None, config.model, card, preprocessing, len(card.inputs))
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    height, width = config.img_resize or _own_size(config.model, inputs)
    return Setting(None, config.model, None, Preprocessing(height, width), len(inputs))


def _own_size(path: Path, inputs: Sequence[onnx.ValueInfoProto]) -> tuple[int, int]:
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim] if inputs else []
    if len(sizes) != 4 or not all(sizes[2:]):
        raise UsageError(f"{path}: its input is of open size and it has no edgeailite metadata; give --img_resize H W")
    return sizes[2], sizes[3]


def _pictures(config: VerifyConfig, setting: Setting) -> list[tuple[Path, ...]]:
    """Evenly spaced pictures, one per input: --trace_pictures, or the data set's."""
    if config.trace_pictures is not None:
        if setting.inputs != 1:
            names = ", ".join(map(input_name, range(setting.inputs)))
            raise UsageError(f"--trace_pictures: the network takes {setting.inputs} ({names}); trace with its data set")
        items: list[tuple[Path, ...]] = [
            (path,) for path in find_pictures(config.trace_pictures, apart_from=config.trace_pictures)
        ]
    elif setting.card is None:
        raise UsageError(f"{config.model}: names no data set; give --trace_pictures FOLDER")
    else:
        items = [item.images for item in dataset_of(setting.card, None, config.data_path, config.split).items]
    stride = 1 if config.images == 0 else max(1, -(-len(items) // config.images))
    return items[::stride]


def _inputs(
    paths: Sequence[tuple[Path, ...]], preprocessing: Preprocessing, *, on_picture: Callable[[], object]
) -> Iterator[tuple[NDArray[np.float32], ...]]:
    for group in paths:
        yield tuple(preprocess(read_image(path), preprocessing) for path in group)
        on_picture()


def table_of(found: Trace) -> Table:
    """A row per tensor."""
    steps = any(row.max_steps is not None for row in found.rows)
    table = Table(title=f"{found.sides[1]} against {found.sides[0]}{', layer by layer' if found.local else ''}")
    for name in ("tensor", "layer"):
        table.add_column(name, overflow="fold")
    for name in ("SQNR dB", "fall dB", "max |d|", *(["steps"] if steps else []), "mean shift", "equal %", ""):
        table.add_column(name, justify="right")
    for row in found.rows:
        name = row.second if row.first == row.second else f"{row.first} = {row.second}"
        sqnr = "equal" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
        fall = f"{row.fall_db:.1f}" if row.fall_db >= 0.05 else ""
        count = "" if row.max_steps is None else f"{row.max_steps:.0f}"
        mark = "departs" if row.departs else ""
        cells = [sqnr, fall, f"{row.max_difference:.3g}", *([count] if steps else []), f"{row.mean_shift:.2g}"]
        table.add_row(name, row.layer, *cells, per_cent(row.equal), mark)
    return table


def summary(found: Trace) -> list[str]:
    """What the table says, in a few lines."""
    lines = [f"{len(found.rows)} tensors matched by {found.matching.by}, {found.pictures} picture(s)"]
    for label, names in zip(found.sides, found.matching.unmatched, strict=True):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            lines.append(f"not matched in {label}: {', '.join(names[:NAMED])}{more}")
    if found.unread:
        lines.append(
            f"not read, since reading them would change OpenVINO's result: {len(found.unread)} inputs of additions"
        )
    for label, gap in zip(found.sides, found.disturbed, strict=True):
        if gap > 0:
            lines.append(f"reading the inner tensors of {label} changes its outputs by up to {gap:.3g}")
    first = _place(found.first_difference)
    if found.first_difference is None and _outputs_differ(found):
        first = "in the outputs alone; what else was compared is equal"
    lines.append(f"first difference: {first}")
    lines.append(f"first departure beyond rounding: {_place(found.first_departure)}")
    if costly := [f"{row.layer} ({row.fall_db:.1f} dB)" for row in found.costliest[:NAMED]]:
        lines.append(f"costs most: {', '.join(costly)}")
    for name, agreement in found.outputs.items():
        share, gap_or_none = agreement["equal_argmax"], agreement["max_difference"]
        equal = "" if share is None else f" argmax equal on {per_cent(share, 3)} % of pixels"
        gap_text = "" if gap_or_none is None else f" max |difference| {gap_or_none:.4g}"
        text = f"{equal}{',' if equal and gap_text else ''}{gap_text}" or " not comparable, the shapes differ"
        lines.append(f"output {name}:{text}")
    return lines


def _outputs_differ(found: Trace) -> bool:
    return any(values["equal_argmax"] not in (None, 1) or values["max_difference"] for values in found.outputs.values())


def per_cent(share: float, decimals: int = 2) -> str:
    """Rounded, but 100 only where it is all."""
    return f"{100 * share if share == 1 else min(100 * share, 100 - 10**-decimals):.{decimals}f}"


def _place(row: Row | None) -> str:
    if row is None:
        return "none"
    size = f"max |difference| {row.max_difference:.3g}" if row.max_steps is None else f"max {row.max_steps:.0f} steps"
    return f"{row.second} ({row.operator}, layer {row.layer}), {size}, equal {per_cent(row.equal)} %"


def draw(found: Trace) -> bytes:
    """The growth curve: SQNR over the graph's order, the costliest layers named."""
    named = {row.second for row in found.costliest[:NAMED]}
    points = [(row.layer if row.second in named else "", row.sqnr_db) for row in found.rows]
    departure = next((index for index, row in enumerate(found.rows) if row.departs), None)
    return growth_curve(points, title=f"{found.sides[1]} against {found.sides[0]}: SQNR, dB", departure=departure)
