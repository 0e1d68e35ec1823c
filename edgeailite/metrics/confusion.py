"""The confusion matrix: how many pixels of each class were given which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]


def confusion_matrix(
    label: NDArray[np.integer], prediction: NDArray[np.integer], num_classes: int, *, ignore: int = 255
) -> Confusion:
    """(C,C) counts, row = label, column = prediction, for arrays of one shape; pixels labelled `ignore` are left out.

    Raises ValueError for a prediction outside 0..C-1.
    """
    labelled = label != ignore
    truth, guess = label[labelled].astype(np.int64), prediction[labelled].astype(np.int64)
    if guess.size and (guess.min() < 0 or guess.max() >= num_classes):
        raise ValueError(f"prediction holds class {guess.max()}, expected 0..{num_classes - 1}")
    counts = np.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)
