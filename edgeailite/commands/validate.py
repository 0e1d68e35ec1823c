"""`edgeailite validate`: accuracy of a run, a checkpoint or an ONNX file, by one metric and one preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from edgeailite.commands.common import log, print_result, progress, set_threads
from edgeailite.commands.measured import as_dict, flat, never_predicted, tasks_of, write_confusions
from edgeailite.commands.opening import Opened, open_model
from edgeailite.config import ValidateConfig
from edgeailite.data import DATASETS, DataSource, default_path, open_dataset
from edgeailite.data.loader import eval_loader
from edgeailite.data.source import ClassTarget
from edgeailite.engine import select_device
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import Protocol, Tally, Views, evaluate, part_of
from edgeailite.modelcard import ModelCard

AS_TRAINED = Protocol()


def run(config: ValidateConfig) -> int:
    """Print mIoU, pixel accuracy and IoU per class, ARD and RMSE of depth; of each output."""
    set_threads(config.threads)
    opened = open_model(
        config.model,
        device=select_device(config.device),
        integer_exact_mode=config.integer_exact,
        threads=config.threads,
    )
    protocol = protocol_of(config, opened)
    source = dataset_of(opened.card, config.dataset_name, config.data_path, config.split)
    tally = measure(opened, source, workers=config.workers, batch_size=config.batch_size, protocol=protocol)
    values = as_dict(tally, source, absent=config.miou_absent)
    if config.confusion is not None:
        values["confusion"] = [str(path) for path in write_confusions(config.confusion, tally, source)]
    if config.json:
        what = {
            "model": str(config.model),
            "network": opened.card.model_name,
            "type": opened.arithmetic,
            "size": protocol.input_size(opened.card.preprocessing),
            "data": f"{source.name} {source.split}",
        }
        print(json.dumps({**what, **values}))
    else:
        count = len(part_of(len(source.items), protocol.epoch_size))
        print_result(f"{config.model} on {source.name} {source.split}, {count} pictures", flat(values))
    for line in never_predicted(tally, source):
        log(line)
    return 0


def protocol_of(config: ValidateConfig, opened: Opened) -> Protocol:
    """How the options ask to measure. Raises UsageError for what the file cannot do."""
    views = Views(
        config.scales,
        config.flip,
        config.short_edges,
        padding=config.padding,
        max_size=config.max_size,
        interpolation=opened.card.preprocessing.interpolation,
    )
    protocol = Protocol(
        views,
        config.window,
        config.window_stride,
        img_resize=config.img_resize,
        output_size=config.output_size,
        epoch_size=config.epoch_size,
        boundary=config.boundary,
    )
    _check_size(protocol, opened.fixed_size, config.model)
    return protocol


def _check_size(protocol: Protocol, fixed: tuple[int, int] | None, model: Path) -> None:
    """Raises UsageError for sizes that a file of one size does not take."""
    if fixed is None:
        return
    asked = {
        "window": protocol.window if protocol.window != fixed else None,
        "short_edges": protocol.views.short_edges if protocol.window is None else None,
        "scales": protocol.views.scales if protocol.window is None and protocol.views.scales != (1.0,) else None,
        "img_resize": protocol.img_resize if protocol.window is None and protocol.img_resize != fixed else None,
    }
    for name, value in asked.items():
        if value:
            words = " ".join(map(str, value))
            raise UsageError(
                f"--{name} {words}: {model} takes pictures of {fixed[0]} {fixed[1]} only; export it with "
                f"`edgeailite export RUN --dynamic True`, or look through --window {fixed[0]} {fixed[1]}"
            )


def dataset_of(card: ModelCard, name: str | None, path: Path | None, split: str) -> DataSource:
    """The data set a model was trained on, or the one asked for; with labels for every output of the model.

    Raises UsageError for pictures without labels or of another number of inputs, DataError for other classes, or
    where nothing says in which folder it lies.
    """
    name = name or card.dataset_name
    found = path or (None if card.data_path is None else Path(card.data_path))
    if found is None and name in DATASETS and not default_path(name).is_dir():
        raise DataError(
            f"data set {name}: the model does not know where it lies, and {default_path(name)}/ does not exist; "
            "give --data_path DIR"
        )
    source = open_dataset(name, found, split)
    item = source.items[0]
    if not item.labels:
        raise UsageError(f"--dataset_name {source.name}: has pictures only, no labels to compare with")
    if len(item.images) != len(card.inputs):
        raise UsageError(
            f"--dataset_name {source.name}: has {len(item.images)} picture(s) per sample, but the model takes "
            f"{len(card.inputs)}; give the data set it was trained on"
        )
    for output, channels in card.outputs.items():
        _check_output(card, source, output, channels)
    return source


def _check_output(card: ModelCard, source: DataSource, output: str, channels: int) -> None:
    """Raises DataError where an output has no target, or one of other classes."""
    if output not in source.targets:
        raise DataError(
            f"data set {source.name} has labels for {', '.join(source.targets)}, none for the model's output {output}; "
            "give the data set it was trained on"
        )
    target = source.targets[output]
    count = len(target.classes) if isinstance(target, ClassTarget) else 1
    if count != channels:
        names = f" ({', '.join(card.classes[:3])}, ...)" if channels == len(card.classes) else ""
        raise DataError(
            f"data set {source.name} has {count} classes but the model has {channels}{names}"
            f"{'' if len(card.outputs) == 1 else f' in output {output}'}; give the data set it was trained on"
        )


def measure(
    opened: Opened,
    source: DataSource,
    *,
    workers: int | Literal["auto"],
    batch_size: int = 1,
    protocol: Protocol = AS_TRAINED,
) -> Tally:
    """What a network makes of a split, by output."""
    indices = part_of(len(source.items), protocol.epoch_size)
    transform = protocol.transform(opened.card.preprocessing)
    loader = eval_loader(source, transform, batch_size=batch_size, workers=workers, indices=indices)
    with progress("validate", len(indices)) as (bar, task):
        return evaluate(
            protocol.predictor(opened.predict),
            loader,
            tasks_of(source, opened.card.outputs),
            views=protocol.views,
            boundary=protocol.boundary,
            on_picture=lambda picture: bar.advance(task),
        )
