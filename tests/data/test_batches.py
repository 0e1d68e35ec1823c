"""Samplers are pure functions of (seed, epoch)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.batches import AspectBatches, EpochBatches
from edgeailite.errors import DataError

EDGES = (300, 375, 450)


def aspect(upright, batch_size: int = 3, *, seed: int = 1, epoch: int = 0, skip: int = 0):
    batches = AspectBatches(upright, batch_size, seed=seed, short_edges=EDGES)
    batches.epoch, batches.skip = epoch, skip
    return batches


@given(st.lists(st.booleans(), min_size=12, max_size=60), st.integers(1, 4), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_a_batch_is_upright_or_not_and_shares_its_short_edge(upright, size, seed, epoch):
    batches = aspect(upright, size, seed=seed, epoch=epoch)
    seen = list(batches)
    assert len(seen) == len(batches) == upright.count(True) // size + upright.count(False) // size
    assert seen == list(batches)
    used = [key[1] for batch in seen for key in batch]
    assert len(set(used)) == len(used) == len(seen) * size
    for batch in seen:
        assert len({upright[index] for _, index, _ in batch}) == 1
        assert len({edge for _, _, edge in batch}) == 1
        assert {key[0] for key in batch} == {epoch}


@pytest.mark.parametrize("skip", [0, 1, 4, 6])
def test_skipping_goes_on_in_the_same_order(skip):
    upright = [index % 3 == 0 for index in range(21)]
    assert list(aspect(upright, epoch=2, skip=skip)) == list(aspect(upright, epoch=2))[skip:]
    assert len(aspect(upright, skip=skip)) == 6 - skip


def test_epochs_and_seeds_differ_and_every_edge_is_drawn():
    upright = [False] * 60
    orders = [list(aspect(upright, epoch=epoch, seed=seed)) for epoch, seed in ((0, 1), (1, 1), (0, 2))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert {batch[0][2] for order in orders for batch in order} == set(EDGES)


def test_no_whole_batch_of_one_kind():
    with pytest.raises(DataError, match="2 upright and 2 other pictures, which are not mixed, give no batch of 3"):
        AspectBatches([True, False, True, False], 3, seed=1, short_edges=EDGES)


@pytest.mark.parametrize(
    "kind", [EpochBatches, lambda n, b, seed: AspectBatches([True] * n, b, seed=seed, short_edges=EDGES)]
)
def test_fewer_pictures_than_a_batch(kind):
    with pytest.raises(DataError, match="1 pictures give no batch of 2; lower --batch_size or add pictures"):
        kind(1, 2, seed=1)


def test_keys_are_plain_numbers():
    """They go to loader processes and into error messages."""
    batches = aspect([False] * 9)
    assert all(type(value) is int for batch in batches for key in batch for value in key)
    assert not isinstance(next(iter(EpochBatches(4, 2, seed=1)))[0][1], np.integer)
