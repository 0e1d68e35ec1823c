"""The confusion matrix of one picture: ours against torchmetrics and the ways of published training code, alternating.

    pip install torchmetrics; python benchmarks/confusion.py --size 1024 2048 --classes 19 --rounds 15 --threads 1 2

All count the same arrays, as int64 (what an argmax over logits gives) and as uint8, and must agree in every count.
The published code's exact form is not at hand; two common forms stand for it: `masked bincount` takes float tensors,
keeps the labelled pixels and counts label * C + prediction, `class loop` compares both maps with every class and gives
only intersections and unions (what an IoU needs). Memory bandwidth is that of reading the same arrays once in this run,
`copy` of reading and writing them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from edgeailite.environment import cpu_model
from edgeailite.metrics import confusion_matrix

IGNORE = 255
Array = NDArray[np.integer]
Count = Callable[[Array, Array, int], NDArray[np.int64]]


def main() -> None:
    """Print medians of every way, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    args = parser.parse_args()
    label, prediction = maps(args.size, args.classes)
    expected = confusion_matrix(label, prediction, args.classes)
    print(f"{cpu_model()}; torch {torch.__version__}, OpenCV {cv2.__version__}, numpy {np.__version__}")
    for kind in (np.int64, np.uint8):
        arrays = label.astype(kind), prediction.astype(kind)
        check(arrays, expected)
        for threads in args.threads:
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            print(f"{np.dtype(kind).name}, {threads} thread(s)")
            show(measure(arrays, args.classes, args.rounds), sum(array.nbytes for array in arrays))


def maps(size: tuple[int, int], classes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A label map of regions with 5 % ignored pixels, and a prediction that is right for about 80 %."""
    rng = np.random.default_rng(0)
    regions = rng.integers(0, classes, (16, 32)).astype(np.uint8)
    truth = np.asarray(cv2.resize(regions, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    noise = rng.integers(0, classes, truth.shape).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.8, truth, noise)
    return np.where(rng.random(truth.shape) < 0.05, np.uint8(IGNORE), truth), prediction


def by_torchmetrics(label: Array, prediction: Array, classes: int) -> NDArray[np.int64]:
    """MulticlassConfusionMatrix without its checks of the arguments."""
    metric = MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=False)
    metric.update(torch.from_numpy(prediction), torch.from_numpy(label))
    matrix: Tensor = metric.compute()
    return matrix.numpy()


def by_masked_bincount(label: Array, prediction: Array, classes: int) -> NDArray[np.int64]:
    """Float tensors, labelled pixels only, one code per pixel."""
    truth, guess = torch.from_numpy(label).float(), torch.from_numpy(prediction).float()
    labelled = truth != IGNORE
    code = (truth[labelled] * classes + guess[labelled]).long()
    return torch.bincount(code, minlength=classes**2).reshape(classes, classes).numpy()


def by_class_loop(label: Array, prediction: Array, classes: int) -> NDArray[np.int64]:
    """Intersection and union of every class; (C,2)."""
    truth, guess = torch.from_numpy(label), torch.from_numpy(prediction)
    labelled = truth != IGNORE
    rows = []
    for index in range(classes):
        labels, guesses = truth == index, (guess == index) & labelled
        rows.append([int((labels & guesses).sum()), int((labels | guesses).sum())])
    return np.array(rows)


WAYS: dict[str, Count] = {
    "ours": confusion_matrix,
    "torchmetrics": by_torchmetrics,
    "masked bincount": by_masked_bincount,
    "class loop": by_class_loop,
}


def check(arrays: tuple[Array, Array], expected: NDArray[np.int64]) -> None:
    """Every way agrees with the matrix, or with its intersections and unions."""
    hit = np.diag(expected)
    pairs = np.stack([hit, expected.sum(0) + expected.sum(1) - hit], 1)
    for name, way in WAYS.items():
        found = way(*arrays, len(expected))
        if not np.array_equal(found, pairs if name == "class loop" else expected):
            raise SystemExit(f"{name} counts otherwise")


def measure(arrays: tuple[Array, Array], classes: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every round; the first two warm up."""
    copies = [np.empty_like(array) for array in arrays]
    plain: dict[str, Callable[[], object]] = {
        "read": lambda: [array.view(np.uint64).max() for array in arrays],
        "copy": lambda: [np.copyto(copy, array) for copy, array in zip(copies, arrays, strict=True)],
    }
    ways = {name: (lambda way=way: way(*arrays, classes)) for name, way in WAYS.items()}
    times: dict[str, list[float]] = {name: [] for name in (*ways, *plain)}
    for index in range(rounds + 2):
        for name, call in {**ways, **plain}.items():
            began = time.perf_counter()
            call()
            if index >= 2:
                times[name].append(time.perf_counter() - began)
    return times


def show(times: dict[str, list[float]], nbytes: int) -> None:
    """Medians, ratios to ours, and how near it comes to reading the arrays once."""
    ours = np.array(times["ours"])
    for name, values in times.items():
        ratio = np.array(values) / ours
        low, median, high = np.percentile(ratio, (10, 50, 90))
        rate = nbytes / np.median(values) / 1e9
        print(
            f"  {name:<16} median {1e3 * np.median(values):8.2f} ms ({rate:5.1f} GB/s)   / ours: {median:6.2f}"
            f"   10 to 90 % {low:.2f} .. {high:.2f}"
        )
    print(f"  share of the read bandwidth: {np.median(times['read']) / np.median(ours):.2f}")


if __name__ == "__main__":
    main()
