"""Validation inside training: every process measures its share of the pictures, the first one shows some of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import fx

from edgeailite.config import Loop
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import eval_loader
from edgeailite.distributed import gather, share_state
from edgeailite.evaluation import (
    ClassTally,
    DepthTally,
    PictureTally,
    Tally,
    Tasks,
    empty,
    evaluate,
    merge,
    outputs_at,
    part_of,
    torch_predictor,
)
from edgeailite.evaluation.evaluate import results
from edgeailite.evaluation.summary import never_predicted, tasks_of
from edgeailite.quantization import settle_scales
from edgeailite.training.monitor import Watch
from edgeailite.training.step import Learner

SCORE = "score"  # of several outputs: the mean of mIoU, and of 1 - ARD for depth


@dataclass(frozen=True)
class Validation:
    """Validation pictures, their preparation, and the measurements."""

    source: DataSource
    indices: tuple[int, ...]
    tasks: Tasks
    transform: EvalTransform
    workers: int | Literal["auto"]
    shown: int

    @property
    def columns(self) -> list[str]:
        """Return the names of the scores, as they stand in `metrics.csv`."""
        return list(scores_of(empty(self.tasks)))


def make_validation(source: DataSource, transform: EvalTransform, loop: Loop) -> Validation:
    """Return the validation as configured."""
    tasks = tasks_of(source, source.targets)
    indices = tuple(part_of(len(source.items), loop.epoch_size_val))
    return Validation(source, indices, tasks, transform, loop.workers, loop.overlays)


def validated(learner: Learner, validation: Validation, watch: Watch, *, epoch: int) -> dict[str, float]:
    """Return scores by column, of the weights that the run would give now; draw some pictures."""
    with learner.average.applied(learner.model) if learner.average is not None else nullcontext():
        share_state(learner.model, learner.processes)
        if isinstance(learner.model, fx.GraphModule):  # what is measured is what is saved
            settle_scales(learner.model)
        tally = measure(learner, validation, watch)
        if learner.processes.first and validation.shown:
            draw(learner, validation, watch, epoch=epoch)
    if learner.processes.first and len(validation.indices) > 1:  # one picture need not show every class
        watch.remarks = never_predicted(tally, validation.source)
    return scores_of(tally)


def measure(learner: Learner, validation: Validation, watch: Watch) -> Tally:
    """Return the tally over all processes; each measures every n-th picture, and the sum equals that of one process."""
    processes = learner.processes
    indices = validation.indices[processes.rank :: processes.count]
    own = empty(validation.tasks)
    if indices:
        done = 0

        def on_picture(picture: Tally) -> None:
            nonlocal done
            done += processes.count
            watch.checked(min(done, len(validation.indices)), len(validation.indices))

        loader = eval_loader(
            validation.source, validation.transform, batch_size=1, workers=validation.workers, indices=list(indices)
        )
        predict = torch_predictor(learner.model, learner.preprocessing)
        own = evaluate(predict, loader, validation.tasks, on_picture=on_picture)
    return merge(gather(own, processes))


def scores_of(tally: Tally) -> dict[str, float]:
    """Return scores by name, `miou` or `ard` etc.; for several outputs `<output>_<metric>` after a `score` of all."""
    found: dict[str, float] = {}
    mains = []
    for name, part in tally.items():
        start = "" if len(tally) == 1 and isinstance(part, ClassTally) else f"{name}_"
        if isinstance(part, PictureTally):
            found |= {f"{start}{kind}": share for kind, share in part.scores().items()}
            mains.append(part.scores()["top1"])
        elif isinstance(part, DepthTally):
            depth = part.scores()
            found |= {f"{start}ard": depth.ard, f"{start}rmse": depth.rmse}
            mains.append(1 - depth.ard)
        else:
            scores = part.scores()
            found |= {f"{start}miou": scores.miou, f"{start}pixel_accuracy": scores.pixel_accuracy}
            mains.append(scores.miou)
    return found if list(found)[:1] == ["miou"] else {SCORE: sum(mains) / len(mains), **found}


def score_of(row: Mapping[str, Any]) -> float:
    """Return the score that chooses `best`: 0 to 1, higher is better; NaN if the epoch was not validated."""
    value = row.get(SCORE, row.get("miou", ""))
    return math.nan if value == "" else float(value)


def is_better(value: float, best: float) -> bool:
    """Return True if a score is higher; anything but NaN beats NaN."""
    return not math.isnan(value) and (math.isnan(best) or value > best)


def draw(learner: Learner, validation: Validation, watch: Watch, *, epoch: int) -> None:
    """Draw sheets of a few pictures, evenly spaced over those that are measured."""
    chosen = [validation.indices[i] for i in part_of(len(validation.indices), validation.shown)]
    loader = eval_loader(validation.source, validation.transform, batch_size=1, workers=0, indices=chosen)
    predict = torch_predictor(learner.model, learner.preprocessing)
    rows: dict[str, list[tuple[str, Any, Any, Any]]] = {name: [] for name in validation.tasks}
    for index, (images, targets) in zip(chosen, loader, strict=True):
        item = validation.source.items[index]
        picture = images[item.camera][0].permute(1, 2, 0).numpy().astype(np.uint8)
        size = next(iter(targets.values())).shape[1:]
        outputs = outputs_at(predict, images, (size[0], size[1]))
        for name in validation.tasks:
            rows[name].append((item.image.stem, picture, targets[name][0].numpy(), results(outputs[name])[0]))
    for name, classes in validation.tasks.items():
        watch.pictures(epoch, rows[name], output=name, kind="depth" if classes is None else "segmentation")
