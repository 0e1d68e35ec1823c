"""Samplers are pure functions of (seed, epoch)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeailite.data.batches import AspectBatches, EpochBatches, Portion
from edgeailite.errors import DataError, UsageError

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


# --- epochs of another length, and several processes

KINDS = {
    "plain": lambda size, batch, portion: EpochBatches(size, batch, seed=3, portion=portion),
    "aspect": lambda size, batch, portion: AspectBatches(
        [index % 3 == 0 for index in range(size)], batch, seed=3, short_edges=EDGES, portion=portion
    ),
}


@pytest.mark.parametrize(("size", "pictures"), [(0.0, 20), (0.5, 10), (0.01, 1), (7, 7), (45, 45)])
def test_epoch_size_is_a_share_or_a_number(size, pictures):
    assert Portion(size).pictures(20) == pictures


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_longer_epoch_is_several_passes_each_in_its_own_order(make):
    batches = make(12, 2, Portion(30))
    seen = [key for batch in batches for key in batch]
    assert len(batches) == 15
    assert len(seen) == 30
    counts = np.bincount([key[1] for key in seen], minlength=12)
    assert counts.min() >= 2
    assert counts.max() <= 4
    assert len({key[:2] for key in seen}) == 30, "a picture seen twice is augmented anew"


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("skip", [0, 1, 5])
def test_processes_share_the_batches_of_one(make, skip):
    portions = [Portion(0.0, 2, rank, 2) for rank in range(2)]
    alone, *parts = [make(30, 4, portion) for portion in (Portion(0.0, 2), *portions)]
    for batches in (alone, *parts):
        batches.skip = skip
    whole, *shares = [list(batches) for batches in (alone, *parts)]
    assert len(whole) == len(shares[0]) == len(shares[1])
    for batch, *own in zip(whole, *shares, strict=True):
        assert [len(part) for part in own] == [2, 2]
        assert sorted(key for part in own for key in part) == sorted(batch)


def test_batches_come_in_whole_groups():
    assert len(EpochBatches(20, 2, seed=1, portion=Portion(group=3))) == 9
    with pytest.raises(DataError, match="2 batches of 8 gives no update of 3 batches; lower --accumulate"):
        EpochBatches(20, 8, seed=1, portion=Portion(group=3))


def test_a_batch_that_processes_cannot_share():
    with pytest.raises(UsageError, match="--batch_size 5: expected a multiple of the 2 processes"):
        EpochBatches(20, 5, seed=1, portion=Portion(processes=2))
