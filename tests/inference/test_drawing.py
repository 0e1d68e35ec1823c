"""Pictures of an output by kind, and what the files are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeailite.drawing.sheets import Scale, depth_colors
from edgeailite.inference.drawing import PICTURES, Output, draw, outputs_of
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing

OWN = ((1, 2, 3), (4, 5, 6))


def card(outputs: dict[str, int], **options: object) -> ModelCard:
    return ModelCard("none", outputs, ("a", "b"), OWN, Preprocessing(32, 32), "none", options=options)


@pytest.mark.parametrize(
    "outputs, expected",
    [
        ({"segmentation": 2}, ["x_label", "x_color", "x_overlay", "x_side_by_side"]),
        ({"depth": 1}, ["x_depth", "x_color", "x_overlay", "x_side_by_side"]),
        (
            {"depth": 1, "motion": 2},
            ["x_depth", "x_depth_color", "x_depth_overlay", "x_depth_side_by_side"]
            + ["x_motion_label", "x_motion_color", "x_motion_overlay", "x_motion_side_by_side"],
        ),
    ],
)
def test_names(outputs, expected):
    found = [output.path(Path("x"), kind) for output in outputs_of(card(outputs), {}) for kind in PICTURES]
    assert found == [Path(f"{name}.png") for name in expected]


def test_classes_and_colours_belong_to_the_main_output():
    depth, motion, main = outputs_of(card({"depth": 1, "motion": 2, "segmentation": 2}), {})
    assert (depth.is_depth, motion.is_depth) == (True, False)
    assert (main.classes, main.palette) == (("a", "b"), OWN)
    assert motion.classes == ("0", "1")
    assert len(set(motion.palette)) == 2


def test_classes_are_drawn():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    output = Output("segmentation", "", ("a", "b"), OWN, values=np.array([7, 9], np.uint8))
    made = draw(output, labels, image, PICTURES, alpha=0.5)
    assert (made["labels"] == np.array([7, 9])[labels]).all()
    assert (made["colors"] == np.array(OWN)[labels]).all()
    assert (made["side_by_side"] == np.concatenate([image, made["colors"]], 1)).all()
    assert (made["overlay"] == np.rint(50 + np.array(OWN)[labels] / 2)).all()


def test_depth_is_stored_in_256th_of_a_metre():
    depth = np.array([[0.0, 1.5, 300.0], [-1.0, np.nan, np.inf]], np.float32)
    output = outputs_of(card({"depth": 1}, output_range={"depth": (1, 80)}), {})[0]
    made = draw(output, depth, np.zeros((2, 3, 3), np.uint8), PICTURES, alpha=1)
    assert made["labels"].tolist() == [[0, 384, 65535], [0, 0, 0]]
    assert made["labels"].dtype == np.uint16
    assert (made["colors"] == depth_colors(depth, Scale(1.0, 80.0))).all()
    assert (made["overlay"] == made["colors"]).all()
