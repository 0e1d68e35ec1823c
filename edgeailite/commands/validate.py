"""`edgeailite validate`: accuracy of a run, a checkpoint or an ONNX file, by one metric and one preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from edgeailite.commands.common import print_result, progress, set_threads
from edgeailite.commands.datasets import open_labelled
from edgeailite.commands.opening import Opened, open_model
from edgeailite.config import ValidateConfig
from edgeailite.data import DataSource
from edgeailite.data.loader import eval_loader
from edgeailite.data.transforms import EvalTransform
from edgeailite.engine import evaluate, select_device
from edgeailite.errors import DataError
from edgeailite.metrics import Scores, scores
from edgeailite.modelcard import ModelCard


def run(config: ValidateConfig) -> int:
    """Print mIoU, pixel accuracy and IoU per class."""
    set_threads(config.threads)
    opened = open_model(
        config.model,
        device=select_device(config.device),
        integer_exact_mode=config.integer_exact,
        threads=config.threads,
    )
    source = dataset_of(opened.card, config.dataset_name, config.data_path, config.split)
    result = measure(
        opened, source, workers=config.workers, batch_size=config.batch_size, output_size=config.output_size
    )
    values = as_dict(result, source)
    if config.json:
        pre = opened.card.preprocessing
        what = {"model": str(config.model), "network": opened.card.model_name, "size": [pre.height, pre.width]}
        print(json.dumps({**what, "data": f"{source.name} {source.split}", **values}))
    else:
        print_result(f"{config.model} on {source.name} {source.split}, {len(source.items)} pictures", flat(values))
    return 0


def dataset_of(card: ModelCard, name: str | None, path: Path | None, split: str) -> DataSource:
    """The data set a model was trained on, or the one asked for. Raises DataError if its classes are others."""
    known = None if card.data_path is None else Path(card.data_path)
    source = open_labelled(name or card.dataset_name, path or known, split)
    if len(source.classes) != len(card.classes):
        raise DataError(
            f"data set {source.name} has {len(source.classes)} classes but the model has {len(card.classes)} "
            f"({', '.join(card.classes[:3])}, ...); give the data set it was trained on"
        )
    return source


def measure(
    opened: Opened,
    source: DataSource,
    *,
    workers: int | Literal["auto"],
    batch_size: int = 1,
    output_size: tuple[int, int] | None = None,
) -> Scores:
    """Scores over a split, at `output_size` (height, width) or at the labels' own."""
    pre = opened.card.preprocessing
    loader = eval_loader(
        source,
        EvalTransform((pre.height, pre.width), pre.interpolation, output_size),
        batch_size=batch_size,
        workers=workers,
    )
    with progress("validate", len(source.items)) as (bar, task):
        confusion, _ = evaluate(
            opened.predict, loader, len(source.classes), on_batch=lambda images: bar.advance(task, images)
        )
    return scores(confusion)


def as_dict(result: Scores, source: DataSource) -> dict[str, Any]:
    """Scores by name, in per cent; absent classes have None."""
    iou = {name: None if v != v else round(100 * v, 2) for name, v in zip(source.classes, result.iou, strict=True)}
    return {
        "miou": round(100 * result.miou, 3),
        "pixel_accuracy": round(100 * result.pixel_accuracy, 3),
        "overall": round(100 * result.overall, 3),
        "iou": iou,
    }


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """The same in one level, for a table."""
    rows = {key: value for key, value in values.items() if key != "iou"}
    return rows | {f"IoU {name}": "absent" if v is None else v for name, v in values["iou"].items()}
