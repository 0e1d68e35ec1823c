"""Large pictures through a window: overlapping predictions of logits are averaged."""

from __future__ import annotations

import numpy as np

from edgeailite.data.augment.extras import BORDER
from edgeailite.errors import UsageError
from edgeailite.evaluation.values import Values, alike, is_class_map, on_host, zeros
from edgeailite.runs.predictors import Predict


def sliding_window(predict: Predict, window: tuple[int, int], stride: tuple[int, int]) -> Predict:
    """Return a predictor that calls `predict` on windows of size (height, width), `stride` pixels apart.

    The last window of a row or column ends with the picture. Pictures smaller than the window are filled up with the
    mean colour. Raises UsageError for the class maps of a file with ArgMax, which cannot be averaged.
    """

    def slide(images: tuple[Values, ...]) -> dict[str, Values]:
        """Return the average of the predictions of all windows that see a pixel."""
        height, width = images[0].shape[2:]
        padded = tuple(filled(image, window) for image in images)
        total: dict[str, Values] = {}
        seen = np.zeros(padded[0].shape[2:], np.float32)
        for y in starts(padded[0].shape[2], window[0], stride[0]):
            for x in starts(padded[0].shape[3], window[1], stride[1]):
                place = (..., slice(y, y + window[0]), slice(x, x + window[1]))
                seen[place] += 1
                for name, value in predict(tuple(image[place] for image in padded)).items():
                    need_values(name, value)
                    if name not in total:
                        total[name] = zeros(value, (*value.shape[:2], *seen.shape))
                    total[name][place] += value
        return {name: (value / alike(seen, value))[..., :height, :width] for name, value in total.items()}

    return slide


def starts(size: int, window: int, stride: int) -> list[int]:
    """Return the first pixels of the windows that cover `size` pixels, at least one window wide."""
    return sorted({min(start, size - window) for start in range(0, size - window + stride, stride)})


def filled(image: Values, size: tuple[int, int]) -> Values:
    """Pad pictures (N,3,H,W) uint8 to at least `size` with mean colour, below and at the right."""
    below, right = (max(0, wanted - side) for wanted, side in zip(size, image.shape[2:], strict=True))
    if not (below or right):
        return image
    return alike(np.pad(on_host(image), ((0, 0), (0, 0), (0, below), (0, right)), constant_values=BORDER[0]), image)


def need_values(name: str, value: Values) -> None:
    """Raise UsageError for a class map, which cannot be averaged."""
    if is_class_map(value):
        raise UsageError(
            f"output {name}: a file with ArgMax gives classes, which cannot be averaged over views or windows; "
            "export it with `edgeailite export RUN --argmax none`",
            code="wrong-kind",
        )
