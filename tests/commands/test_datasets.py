"""What a verb does with data sets that are not one picture and one class map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeailite.commands.datasets import open_labelled
from edgeailite.commands.train import class_weights
from edgeailite.data.images import write_png
from edgeailite.data.source import Item, segmentation
from edgeailite.data.transforms import EvalTransform
from edgeailite.errors import UsageError
from tests.data.test_cityscapes import write_cityscapes


def test_pictures_without_labels_are_refused(tmp_path):
    write_png(tmp_path / "leftImg8bit/val/city/city_0_leftImg8bit.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=r"cityscapes_segmentation_infer: has 1 picture\(s\) and labels for nothing"):
        open_labelled("cityscapes_segmentation_infer", tmp_path, "val")


def test_several_inputs_are_refused(tmp_path):
    write_cityscapes(tmp_path)
    with pytest.raises(UsageError, match=r"has 2 picture\(s\) and labels for segmentation per sample"):
        open_labelled("cityscapes_segmentation_multi_input", tmp_path, "train")
    with pytest.raises(UsageError, match=r"has 1 picture\(s\) and labels for depth per sample"):
        open_labelled("cityscapes_depth", tmp_path, "train")


def test_published_class_weights(tmp_path):
    items = (Item((tmp_path / "a.png",), {"segmentation": tmp_path / "b.png"}),)
    arguments = ("toy", "train", items, ("a", "b"), ((0, 0, 0),) * 2, {0: 0, 1: 1})
    weights = class_weights("published", segmentation(*arguments, class_weights=(0.5, 2.0)), torch.device("cpu"))
    assert weights is not None
    assert weights.tolist() == [0.5, 2.0]
    with pytest.raises(UsageError, match="none are published for toy"):
        class_weights("published", segmentation(*arguments), torch.device("cpu"))
    assert class_weights("none", segmentation(*arguments), torch.device("cpu")) is None


def test_labels_at_output_size_have_no_new_values():
    label = np.random.default_rng(0).integers(0, 3, (31, 47)).astype(np.uint8) * 5
    image = np.zeros((31, 47, 3), np.uint8)
    _, targets = EvalTransform((32, 48), output_size=(64, 64))(
        (image,), {"segmentation": label}, np.random.default_rng(0)
    )
    assert targets["segmentation"].shape == (64, 64)
    assert set(np.unique(targets["segmentation"])) <= set(np.unique(label))
