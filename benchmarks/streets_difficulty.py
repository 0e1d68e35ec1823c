"""How hard is the generated data set `streets`? The mIoU of a random forest on colour and position, and the speed.

The forest sees, per pixel, RGB, position and the mean RGB of the 5x5 neighbourhood. mIoU is the project's: one
confusion matrix over all validation pixels, mean over the classes that occur in label or prediction. Needs
scikit-learn (the extra `bench`).

    python benchmarks/streets_difficulty.py --seed 1 --train 150 --val 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from edgeailite.data.streets.dataset import VAL_START, Scene, generate_scene, write_streets

NAMES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    13: "fence",
    17: "pole",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    28: "bus",
    33: "bicycle",
}
SAMPLES_PER_SCENE = 1500


def features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 to (H*W, 8): RGB, x, y, 5x5 mean RGB."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    mean = cv2.blur(image.astype(np.float32), (5, 5))
    planes = [image, columns[:, :, None] / width, rows[:, :, None] / height, mean]
    return np.concatenate(planes, axis=2).reshape(-1, 8).astype(np.float32)


def train_forest(seed: int, count: int) -> RandomForestClassifier:
    """Forest of 60 trees on pixels sampled evenly from the first `count` training scenes."""
    rng = np.random.default_rng(seed)
    inputs, labels = [], []
    for index in range(count):
        scene = generate_scene(seed, index)
        chosen = rng.choice(scene.label_ids.size, SAMPLES_PER_SCENE, replace=False)
        inputs.append(features(scene.image)[chosen])
        labels.append(scene.label_ids.ravel()[chosen])
    forest = RandomForestClassifier(60, min_samples_leaf=4, n_jobs=1, random_state=seed)
    return forest.fit(np.concatenate(inputs), np.concatenate(labels))


def confusion(forest: RandomForestClassifier, scenes: list[Scene]) -> NDArray[np.int64]:
    """(256, 256) pixel counts by label id and prediction."""
    total = np.zeros(256 * 256, np.int64)
    for scene in scenes:
        predicted = forest.predict(features(scene.image)).astype(np.int64)
        total += np.bincount(scene.label_ids.ravel().astype(np.int64) * 256 + predicted, minlength=total.size)
    return total.reshape(256, 256)


def print_classes(matrix: NDArray[np.int64], scenes: list[Scene]) -> None:
    """IoU, share of the pixels and share of the scenes per class, then the mean."""
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    occurring = np.flatnonzero(union)
    iou = np.diag(matrix)[occurring] / union[occurring]
    print(f"{'class':14s} {'IoU %':>6s} {'pixels %':>9s} {'scenes %':>9s}")
    for label, value in zip(occurring.tolist(), iou, strict=True):
        share = matrix[label].sum() / matrix.sum()
        present = np.mean([(scene.label_ids == label).any() for scene in scenes])
        print(f"{NAMES.get(label, str(label)):14s} {100 * value:6.1f} {100 * share:9.2f} {100 * present:9.0f}")
    print(f"classes in val: {np.count_nonzero(matrix.sum(1))}")
    print(f"random forest mIoU: {100 * iou.mean():.1f} %")


def print_speed(seed: int, count: int = 60) -> None:
    """Scenes per CPU second at 256x128, without and with writing all files; other load does not count."""
    cv2.setNumThreads(1)
    start = time.process_time()
    for index in range(count):
        generate_scene(seed, index)
    print(f"generate_scene: {count / (time.process_time() - start):.1f} scenes per CPU second")
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_streets(Path(folder) / "streets", seed=seed, train=count, val=0)
        print(f"write_streets:  {count / (time.process_time() - start):.1f} scenes per CPU second")


def main() -> None:
    """Parse the arguments and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=int, default=150, help="training scenes of the forest")
    parser.add_argument("--val", type=int, default=60, help="validation scenes")
    arguments = parser.parse_args()
    print(f"seed={arguments.seed} train={arguments.train} val={arguments.val} size=256x128")
    print_speed(arguments.seed)
    scenes = [generate_scene(arguments.seed, VAL_START + index) for index in range(arguments.val)]
    print_classes(confusion(train_forest(arguments.seed, arguments.train), scenes), scenes)


if __name__ == "__main__":
    main()
