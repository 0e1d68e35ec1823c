"""Predictions at the size of the labels, and what they are compared to. One code for torch and for files.

Logits and depth go to label size bilinearly (the published code takes the nearest neighbour of the classes), class maps
of files with ArgMax by nearest neighbour. Of several views, softmax shares at label size are averaged, and depths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgeailite.data.tensors import Sample
from edgeailite.evaluation.tally import ClassTally, DepthTally, Tally, Tasks, empty, merge
from edgeailite.evaluation.views import PLAIN, Views, resize_batch
from edgeailite.evaluation.windows import need_values
from edgeailite.metrics import boundary_counts, confusion_matrix, contour_scores, depth_sums
from edgeailite.runs.predictors import Predict


def evaluate(
    predict: Predict,
    loader: Iterable[Sample],
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
    total = empty(tasks)
    for images, targets in loader:
        size = next(iter(targets.values())).shape[1:]
        outputs = outputs_at(predict, images, (size[0], size[1]), views=views)
        found = {name: results(outputs[name]) for name in tasks}
        for index in range(len(images[0])):
            picture: Tally = {
                name: _tally(targets[name][index].numpy(), found[name][index], classes, boundary=boundary)
                for name, classes in tasks.items()
            }
            total = merge([total, picture])
            on_picture(picture)
    return total


def outputs_at(
    predict: Predict, images: tuple[Tensor, ...], size: tuple[int, int], *, views: Views = PLAIN
) -> dict[str, Tensor]:
    """Predict every output at `size` (height, width).

    Returns logits or mean shares (N,C,H,W), depth (N,1,H,W), or class maps (N,H,W) of files with ArgMax.
    """
    if views.plain:
        return {name: _resized(value, size) for name, value in predict(images).items()}
    total: dict[str, Tensor] = {}
    height, width = images[0].shape[2:]
    looks = [(view, mirrored) for view in views.sizes(height, width) for mirrored in (False, True)[: 1 + views.flip]]
    for view, mirrored in looks:
        shown = tuple(resize_batch(image, view, views.interpolation) for image in images)
        for name, value in predict(tuple(image.flip(3) for image in shown) if mirrored else shown).items():
            need_values(name, value)
            share = _shares(_resized(value.flip(3) if mirrored else value, size))
            total[name] = total[name] + share if name in total else share
    return {name: value / len(looks) for name, value in total.items()}


def class_maps(
    predict: Predict, images: tuple[Tensor, ...], size: tuple[int, int], *, output: str, views: Views = PLAIN
) -> NDArray[np.integer]:
    """Predict the class maps (N,H,W) of one output at `size` (height, width)."""
    if views.plain:
        return _results_at(predict(images)[output], size)
    return results(outputs_at(predict, images, size, views=views)[output])


def _results_at(value: Tensor, size: tuple[int, int]) -> NDArray[Any]:
    """Return `results` of an output at `size`, with little memory for logits on the CPU."""
    if value.ndim == 4 and 1 < value.shape[1] <= 256 and value.device.type == "cpu" and value.is_contiguous():
        return _class_by_class(value, size)
    return results(_resized(value, size))


def _class_by_class(value: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the argmax of resized logits with two planes in memory instead of one for each class.

    It also takes half the time: argmax over the second dimension jumps through memory. Equal values give the first.
    """
    best = _resized(value[:, :1], size)[:, 0]
    labels = torch.zeros(best.shape, dtype=torch.uint8)
    for index in range(1, value.shape[1]):
        plane = _resized(value[:, index : index + 1], size)[:, 0]
        labels.masked_fill_(plane > best, index)
        best = torch.maximum(best, plane)
    found: NDArray[np.uint8] = labels.numpy()
    return found


def results(value: Tensor) -> NDArray[Any]:
    """Turn logits, shares or class maps into class maps (N,H,W), and one channel into depths (N,H,W)."""
    if value.ndim == 4:
        value = value[:, 0] if value.shape[1] == 1 else value.argmax(1)
    return value.cpu().numpy()


def results_at(outputs: Mapping[str, Tensor], size: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Return the first picture's classes (H,W) uint8 and depths at `size`, from the outputs of a predictor."""
    found = {name: _results_at(value[:1], (size[0], size[1]))[0] for name, value in outputs.items()}
    return {name: value if value.dtype == np.float32 else value.astype(np.uint8) for name, value in found.items()}


def _shares(value: Tensor) -> Tensor:
    """Apply softmax over the classes; depth stays as it is."""
    return value if value.shape[1] == 1 else value.softmax(1)


def _resized(value: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(value.shape[-2:]) == size:
        return value
    if value.is_floating_point():
        return F.interpolate(value, size, mode="bilinear", align_corners=False)
    return F.interpolate(value[:, None].float(), size, mode="nearest")[:, 0].long()


def _tally(
    target: NDArray[Any], found: NDArray[Any], classes: int | None, *, boundary: bool
) -> ClassTally | DepthTally:
    """Count one output on one picture."""
    if classes is None:
        return DepthTally((depth_sums(target, found),))
    confusion = confusion_matrix(target, found, classes)
    if not boundary:
        return ClassTally(confusion, np.zeros((classes, 2), np.int64))
    return ClassTally(confusion, boundary_counts(target, found, classes), (contour_scores(target, found, classes),))
