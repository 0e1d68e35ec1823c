"""`edgeailite validate`: accuracy of a run, a checkpoint or an ONNX file, by one metric and one preprocessing."""

from __future__ import annotations

from typing import Any

from edgeailite.config import ValidateConfig
from edgeailite.console import log, print_json, print_result
from edgeailite.evaluation import Validation, validate
from edgeailite.evaluation.summary import flat, never_predicted


def run(config: ValidateConfig) -> int:
    """Print mIoU, pixel accuracy and IoU per class, ARD and RMSE of depth; of each output."""
    found = _on_ray(config) if config.engine == "ray" else validate(config)
    data = f"{found.source.name} {found.source.split}"
    if config.json:
        what: dict[str, Any] = {
            "model": str(config.model),
            "network": found.model.card.model_name,
            "type": found.model.number_type,
            "arithmetic": found.model.arithmetic,
            "size": found.size,
            "data": data,
        }
        print_json({**what, **found.scores})
    else:
        how = "" if found.model.arithmetic is None else f" in the arithmetic {found.model.arithmetic}"
        print_result(f"{config.model}{how} on {data}, {found.pictures} pictures", flat(found.scores))
    for line in never_predicted(found.tally, found.source):
        log(line)
    return 0


def _on_ray(config: ValidateConfig) -> Validation:
    from edgeailite.fleet.validation import validate_job  # it brings in what labels pictures

    return validate_job(config)
