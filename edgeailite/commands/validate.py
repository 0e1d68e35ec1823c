"""`edgeailite validate`: accuracy of a run, a checkpoint or an ONNX file, by one metric and one preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

from edgeailite.config import ValidateConfig
from edgeailite.console import log, print_result
from edgeailite.device import select_device, set_threads
from edgeailite.errors import UsageError
from edgeailite.evaluation import Protocol, Views, part_of
from edgeailite.evaluation.measure import dataset_of, measure
from edgeailite.evaluation.summary import as_dict, flat, never_predicted, write_confusions
from edgeailite.runs.open import OpenModel, open_model


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


def protocol_of(config: ValidateConfig, opened: OpenModel) -> Protocol:
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
