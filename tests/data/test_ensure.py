"""What a verb does with data sets that are not one picture and one class map."""

from __future__ import annotations

import numpy as np
import pytest

from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.ensure import open_labelled
from edgeailite.data.files.images import write_png
from edgeailite.errors import UsageError
from tests.data.sets.test_cityscapes import write_cityscapes


def test_pictures_without_labels_are_refused(tmp_path):
    write_png(tmp_path / "leftImg8bit/val/city/city_0_leftImg8bit.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=r"cityscapes_segmentation_infer: has pictures only, no labels; take its form"):
        open_labelled("cityscapes_segmentation_infer", tmp_path, "val")


def test_a_missing_split_is_named_by_the_option_of_the_verb(tmp_path):
    for name in ("a", "b"):
        write_png(tmp_path / f"images/train/{name}.png", np.zeros((8, 8, 3), np.uint8))
        write_png(tmp_path / f"labels/train/{name}.png", np.zeros((8, 8), np.uint8))
    fix = r"add val, or name another: --val_split NAME, or divide the pictures: `edgeailite data split .*`"
    with pytest.raises(UsageError, match=rf"^--val_split val: .* has train; {fix}$"):
        open_labelled("folder", tmp_path, "val", option="val_split")
    with pytest.raises(UsageError, match=r"^--split val: .* has train$"):
        open_labelled("folder", tmp_path, "val")


def test_several_inputs_and_other_targets_are_taken(tmp_path):
    write_cityscapes(tmp_path)
    assert len(open_labelled("cityscapes_segmentation_multi_input", tmp_path, "train").items[0].images) == 2
    assert list(open_labelled("cityscapes_depth", tmp_path, "train").targets) == ["depth"]


def test_labels_at_output_size_have_no_new_values():
    label = np.random.default_rng(0).integers(0, 3, (31, 47)).astype(np.uint8) * 5
    image = np.zeros((31, 47, 3), np.uint8)
    _, targets = EvalTransform((32, 48), output_size=(64, 64))(
        (image,), {"segmentation": label}, np.random.default_rng(0)
    )
    assert targets["segmentation"].shape == (64, 64)
    assert set(np.unique(targets["segmentation"])) <= set(np.unique(label))
