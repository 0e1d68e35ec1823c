"""Sizes of views, against a table made by the published ADE20K code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.data.augment.transforms import resize_image
from edgeailite.evaluation import PLAIN, Views
from edgeailite.evaluation.views import resize_batch

TABLE = json.loads((Path(__file__).parents[1] / "reference/csail/size_table.json").read_text())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['w']}x{row['h']} pad {row['pad']}")
def test_sizes_of_the_published_ade20k_code(row):
    edges = tuple(map(int, row["targets"]))
    sizes = Views(short_edges=edges, padding=row["pad"]).sizes(row["h"], row["w"])
    assert [[width, height] for height, width in sizes] == list(row["targets"].values())


def test_scales_are_factors_of_the_size_given():
    assert Views((0.5, 1.0, 1.75)).sizes(65, 97) == [(32, 48), (65, 97), (114, 170)]


def test_what_is_plain():
    assert PLAIN.plain
    assert not any(views.plain for views in (Views((0.5,)), Views(flip=True), Views(short_edges=(300,))))


@pytest.mark.parametrize("interpolation", ["linear_exact", "area"])
def test_pictures_are_resized_as_in_preprocessing(interpolation):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    resized = resize_batch(batch, (9, 14), interpolation)
    for picture, found in zip(pictures, resized, strict=True):
        assert np.array_equal(found.permute(1, 2, 0).numpy(), resize_image(picture, (9, 14), interpolation))
    assert resize_batch(batch, (20, 30), interpolation) is batch
