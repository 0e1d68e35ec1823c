"""Predictions at the size of the labels, and what they are compared to. One code for torch and for files.

Logits and depth go to label size bilinearly (the published code takes the nearest neighbour of the classes), class maps
of files with ArgMax by nearest neighbour. Of several views, softmax shares at label size are averaged, and depths.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError
from edgeailite.evaluation.tally import (
    ClassTally,
    DepthTally,
    Part,
    PictureTally,
    Tally,
    Tasks,
    empty,
    merge,
    of_whole_pictures,
)
from edgeailite.evaluation.values import Values, mirrored, on_host, resized, softmax
from edgeailite.evaluation.views import PLAIN, Views, resize_batch
from edgeailite.evaluation.windows import need_values
from edgeailite.metrics import boundary_counts, confusion_matrix, contour_scores, depth_sums, placing
from edgeailite.runs.predictors import Predict

MERGED = 64  # pictures whose counts are joined at one time: joining copies what is known of every picture before

Batch = tuple[tuple[Values, ...], Mapping[str, Values]]
"""Pictures (N,3,H,W) uint8, one per input, and targets (N,H,W) by name."""


def evaluate(
    predict: Predict,
    loader: Iterable[Batch],
    tasks: Tasks,
    *,
    views: Views = PLAIN,
    boundary: bool = False,
    on_picture: Callable[[Tally], None] = lambda picture: None,
) -> Tally:
    """Compare every output in `tasks` (name -> number of classes, None for depth) with its labels; return the counts.

    `boundary` also counts what `boundary_iou` and `boundary_f` need. `on_picture` is called with each picture's own
    counts, in the order of the loader. Raises UsageError where the predictor does not allow `views`.
    """
    total, measured = empty(tasks), only(predict, tasks)
    waiting: list[Tally] = []
    for images, targets in loader:
        size = next(iter(targets.values())).shape[1:]
        outputs = outputs_at(measured, images, (size[0], size[1]), views=views)
        found = {name: answers(name, outputs[name], classes) for name, classes in tasks.items()}
        for index in range(len(images[0])):
            picture: Tally = {
                name: _tally(name, on_host(targets[name][index]), found[name][index], classes, boundary=boundary)
                for name, classes in tasks.items()
            }
            waiting.append(picture)
            if len(waiting) == MERGED:
                total, waiting = merge([total, *waiting]), []
            on_picture(picture)
    return merge([total, *waiting])


def only(predict: Predict, outputs: Collection[str]) -> Predict:
    """Return a predictor without the outputs that are not named."""
    return lambda images: {name: value for name, value in predict(images).items() if name in outputs}


def outputs_at(
    predict: Predict, images: tuple[Values, ...], size: tuple[int, int], *, views: Views = PLAIN
) -> dict[str, Values]:
    """Predict every output at `size` (height, width).

    Returns logits or mean shares (N,C,H,W), depth (N,1,H,W), or class maps (N,H,W) of files with ArgMax.
    """
    if views.plain:
        return {name: resized(value, size) for name, value in predict(images).items()}
    total: dict[str, Values] = {}
    height, width = images[0].shape[2:]
    looks = [(view, turned) for view in views.sizes(height, width) for turned in (False, True)[: 1 + views.flip]]
    for view, turned in looks:
        shown = tuple(resize_batch(image, view, views.interpolation) for image in images)
        for name, value in predict(tuple(map(mirrored, shown)) if turned else shown).items():
            need_values(name, value)
            share = _shares(resized(mirrored(value) if turned else value, size))
            total[name] = total[name] + share if name in total else share
    return {name: value / len(looks) for name, value in total.items()}


def class_maps(
    predict: Predict, images: tuple[Values, ...], size: tuple[int, int], *, output: str, views: Views = PLAIN
) -> NDArray[np.integer]:
    """Predict the class maps (N,H,W) of one output at `size` (height, width)."""
    if views.plain:
        return _results_at(predict(images)[output], size)
    return results(outputs_at(predict, images, size, views=views)[output])


def _results_at(value: Values, size: tuple[int, int]) -> NDArray[Any]:
    """Return `results` of an output at `size`, with little memory for logits on the CPU."""
    here = isinstance(value, np.ndarray) or (value.device.type == "cpu" and value.is_contiguous())
    if here and value.ndim == 4 and 1 < value.shape[1] <= 256:
        return _class_by_class(value, size)
    return results(resized(value, size))


def _class_by_class(value: Values, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the argmax of resized logits with two planes in memory instead of one for each class.

    It also takes half the time: argmax over the second dimension jumps through memory. Equal values give the first.
    """
    best = on_host(resized(value[:, :1], size))[:, 0]
    labels = np.zeros(best.shape, np.uint8)
    for index in range(1, value.shape[1]):
        plane = on_host(resized(value[:, index : index + 1], size))[:, 0]
        np.copyto(labels, index, where=plane > best)
        best = np.maximum(best, plane)
    return labels


def results(value: Values) -> NDArray[Any]:
    """Turn logits, shares or class maps into class maps (N,H,W), and one channel into depths (N,H,W)."""
    if value.ndim == 4:
        value = value[:, 0] if value.shape[1] == 1 else value.argmax(1)
    return on_host(value)


def answers(output: str, value: Values, classes: int | None) -> NDArray[Any]:
    """Return what an output is measured by: `results`, or for one class of the whole picture its scores (N,C).

    Raises DataError for scores of more than one place.
    """
    if not of_whole_pictures(output, classes):
        return results(value)
    scores = on_host(value)
    if scores.shape[1:] != (classes, 1, 1):
        raise DataError(f"output {output} has values of shape {scores.shape}, not one class for the picture")
    return scores[:, :, 0, 0]


def results_at(outputs: Mapping[str, Values], size: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Return the first picture's classes (H,W) uint8 and depths at `size`, from the outputs of a predictor."""
    found = {name: _results_at(value[:1], (size[0], size[1]))[0] for name, value in outputs.items()}
    return {name: value if value.dtype == np.float32 else value.astype(np.uint8) for name, value in found.items()}


def _shares(value: Values) -> Values:
    """Apply softmax over the classes; depth stays as it is."""
    return value if value.shape[1] == 1 else softmax(value)


def _tally(output: str, target: NDArray[Any], found: NDArray[Any], classes: int | None, *, boundary: bool) -> Part:
    """Count one output on one picture."""
    if classes is None:
        return DepthTally((depth_sums(target, found),))
    if of_whole_pictures(output, classes):
        return PictureTally(classes, (placing(found, int(target.item())),))
    confusion = confusion_matrix(target, found, classes)
    if not boundary:
        return ClassTally(confusion, np.zeros((classes, 2), np.int64))
    return ClassTally(confusion, boundary_counts(target, found, classes), (contour_scores(target, found, classes),))
