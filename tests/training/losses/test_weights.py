"""Class weights against numbers computed apart from this code, and against CamVid itself where it is at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.data import open_dataset
from edgeailite.training.losses import enet_weights, median_frequency_weights

# CamVid (SegNet's 11-class version), training split: labelled pixels and images per class; 1/ln(1.02 + share);
# the weights of Eigen and Fergus, where an image's pixels that are not labelled count among those around a class
CAMVID_PIXELS = [10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967]
CAMVID_IMAGES = [366, 365, 366, 367, 349, 319, 351, 173, 360, 317, 201]  # of 480x360
CAMVID_ENET = [5.603, 4.295, 33.574, 3.335, 15.486, 8.739, 31.542, 32.012, 12.829, 38.014, 43.907]
CAMVID_MEDIAN = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]


def test_enet_weights_of_camvid():
    weights = enet_weights(torch.tensor(CAMVID_PIXELS))
    assert weights.tolist() == pytest.approx(CAMVID_ENET, abs=6e-4)


def test_enet_weights_of_an_absent_class_are_finite():
    assert torch.isfinite(enet_weights(torch.tensor([0, 10]))).all()
    assert torch.isfinite(enet_weights(torch.tensor([0, 0]))).all()


def test_median_frequency_weights_of_camvid():
    images = torch.tensor(CAMVID_IMAGES) * 480 * 360
    weights = median_frequency_weights(torch.tensor(CAMVID_PIXELS), images)
    assert weights.tolist() == pytest.approx(CAMVID_MEDIAN, abs=6e-5)


@pytest.mark.skipif("EDGEAILITE_CAMVID" not in os.environ, reason="EDGEAILITE_CAMVID names no folder")
def test_weights_counted_from_camvid_itself():
    source = open_dataset("camvid", Path(os.environ["EDGEAILITE_CAMVID"]), "train")
    (target,) = source.targets.values()
    maps = [target.values(item.label, source.name) for item in source.items]
    counts = np.stack([np.bincount(values.ravel(), minlength=256)[:11] for values in maps])
    around = np.stack([(count > 0) * values.size for count, values in zip(counts, maps, strict=True)])
    pixels = torch.from_numpy(counts.sum(0))
    weights = median_frequency_weights(pixels, torch.from_numpy(around.sum(0)))
    assert weights.tolist() == pytest.approx(CAMVID_MEDIAN, abs=6e-5)
    assert enet_weights(pixels).tolist() == pytest.approx(CAMVID_ENET, abs=6e-4)


def test_median_of_an_even_number_is_the_mean_of_the_middle_two():
    weights = median_frequency_weights(torch.tensor([10, 20, 40, 80]), torch.tensor([100, 100, 100, 100]))
    assert weights.tolist() == pytest.approx([3.0, 1.5, 0.75, 0.375])


def test_a_class_without_pixels_weighs_one_and_leaves_the_others_alone():
    weights = median_frequency_weights(torch.tensor([10, 0, 20, 40]), torch.tensor([100, 0, 100, 100]))
    assert weights.tolist() == pytest.approx([2.0, 1.0, 1.0, 0.5])
    assert median_frequency_weights(torch.zeros(2), torch.zeros(2)).tolist() == [1, 1]
