"""What an answer that never looks at the picture scores: the bar that every trained output has to clear.

    python benchmarks/constant_predictor.py --data_path data/datasets/streets

Classes: the most frequent class of the training split, everywhere. Depth: the constant with the smallest absolute
relative difference on the training split (the median of depths weighted by 1 / depth), everywhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeailite.data import DataSource, open_dataset
from edgeailite.data.source import ClassTarget
from edgeailite.metrics import confusion_matrix, depth_scores, depth_sums, scores


def main() -> None:
    """Print a line per output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_name", default="streets_depth_semantic_motion_multi_input")
    parser.add_argument("--data_path", type=Path, default=None)
    parser.add_argument(
        "--train_images", type=int, default=300, help="training pictures that the constants are taken from"
    )
    args = parser.parse_args()
    train = open_dataset(args.dataset_name, args.data_path, "train")
    val = open_dataset(args.dataset_name, args.data_path, "val")
    for name, target in train.targets.items():
        labels = [values(train, name, index) for index in range(min(args.train_images, len(train.items)))]
        if isinstance(target, ClassTarget):
            print(class_line(val, name, most_frequent(labels, len(target.classes)), target.classes))
        else:
            print(depth_line(val, name, best_constant(labels)))


def values(source: DataSource, name: str, index: int) -> NDArray[np.generic]:
    """The target of one sample."""
    return source.targets[name].values(source.items[index].labels[name], source.name)


def most_frequent(labels: list[NDArray[np.generic]], classes: int) -> int:
    """The class with the most pixels."""
    return int(sum(np.bincount(label.ravel(), minlength=256)[:classes] for label in labels).argmax())


def best_constant(labels: list[NDArray[np.generic]]) -> float:
    """The depth c that minimises the mean of |c - d| / d."""
    depths = np.sort(np.concatenate([label[label > 0][::7] for label in labels]).astype(np.float64))
    weights = np.cumsum(1 / depths)
    return float(depths[np.searchsorted(weights, weights[-1] / 2)])


def class_line(val: DataSource, name: str, answer: int, classes: tuple[str, ...]) -> str:
    """MIoU and pixel accuracy of one class everywhere."""
    matrices = []
    for index in range(len(val.items)):
        label = values(val, name, index)
        matrices.append(confusion_matrix(label, np.full_like(label, answer), len(classes)))
    found = scores(np.sum(matrices, axis=0))
    return (
        f"{name}: {classes[answer]} everywhere: mIoU {100 * found.miou:.2f}, accuracy {100 * found.pixel_accuracy:.2f}"
    )


def depth_line(val: DataSource, name: str, answer: float) -> str:
    """ARD and RMSE of one depth everywhere."""
    pictures = []
    for index in range(len(val.items)):
        label = values(val, name, index)
        pictures.append(depth_sums(label, np.full_like(label, answer)))
    found = depth_scores(pictures)
    return f"{name}: {answer:.1f} m everywhere: ARD {100 * found.ard:.2f} %, RMSE {found.rmse:.2f} m"


if __name__ == "__main__":
    main()
