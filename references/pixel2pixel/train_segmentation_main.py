"""The published training command, as it is printed in the edgeailite documentation, on top of `edgeailite train`.

    python references/pixel2pixel/train_segmentation_main.py --model_name deeplabv3plus_mobilenetv2_tv_edgeailite \\
        --dataset_name cityscapes_segmentation --data_path DIR --img_resize 384 768 --output_size 1024 2048 --gpus 0 1

Defaults are those of the published recipe (augmentation, schedule, learning rate); every option of `edgeailite train`
is accepted beside them. `--gpus` says which devices are visible; one is used.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeailite.__main__ import main

RECIPE = {
    "--model_name": ["deeplabv3plus_mobilenetv2_tv_edgeailite"],
    "--dataset_name": ["cityscapes_segmentation"],
    "--img_resize": ["384", "768"],
    "--pipeline": ["published"],
    "--interpolation": ["area"],
    "--optimizer": ["adam"],
    "--lr": ["4e-4"],
    "--weight_decay": ["1e-4"],
    "--scheduler": ["step"],
    "--milestones": ["100", "200"],
    "--multistep_gamma": ["0.25"],
    "--warmup_epochs": ["5"],
    "--epochs": ["250"],
    "--batch_size": ["12"],
}


def train_arguments(words: list[str]) -> tuple[list[str], list[str] | None]:
    """The published flags -> arguments of `edgeailite train`, and the GPUs to show (None: not said)."""
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            given[flag] = [value] if equals else []
        elif given:
            next(reversed(given.values())).append(word)
        else:
            return [word], None  # `edgeailite train` says what is wrong with it
    gpus = given.pop("--gpus", None)
    flags = {**RECIPE, **given}
    return [part for flag, values in flags.items() for part in (flag, *values)], gpus


if __name__ == "__main__":
    arguments, gpus = train_arguments(sys.argv[1:])
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    sys.exit(main(["train", *arguments]))
