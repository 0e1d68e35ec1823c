"""Several processes give what one gives: BatchNorm, losses, weights, validation, in float64 to the last digits."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeailite.data.streets.dataset import write_streets
from edgeailite.distributed import ALONE, from_first, gather, lost_process, mean_over, start_processes
from edgeailite.errors import DataError
from tests import ranks

RANKS = 2
TINY = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small streets with depth."""
    return write_streets(tmp_path_factory.mktemp("streets") / "data", train=1, val=6, height=64, width=128)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    """What two processes found in the quick cases: started once for all of them."""
    cases = ["batchnorm", "told", "shared", "five_updates", "one_picture_each", "naive", "measured"]
    return ranks.of_ranks(RANKS, cases, tmp_path_factory.mktemp("ranks"), data=data)


@pytest.fixture(scope="module")
def five_alone(data):
    return ranks.alone("five_updates", data)


# --- BatchNorm


@pytest.mark.parametrize("name", ranks.BATCHNORMS)
def test_batchnorm_is_that_of_the_joined_batch(found, name):
    expected = ranks.batchnorm_passes(ranks.batchnorm_of(name), name, ALONE)
    # what a sum of squares of such numbers leaves of the digits, in torch as here
    tolerance = {"rtol": 1e-10, "atol": 1e-9 if name == "large mean" else 1e-12}
    for rank in range(RANKS):
        ours = found[rank]["batchnorm"][name]
        for key in ("y", "dx"):
            for value, whole in zip(ours[key], expected[key], strict=True):
                torch.testing.assert_close(value, whole[rank::RANKS], **tolerance)
        for key in ("dweight", "dbias", "eval", "state"):
            torch.testing.assert_close(ours[key], expected[key], **tolerance)


def test_batchnorm_keeps_its_digits_where_the_mean_is_large_in_float32():
    """Mean of squares minus square of mean would leave none of them."""
    x = (1e4 + 0.1 * torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))).float()
    centred = x - x.mean((0, 2, 3), keepdim=True)
    exact = x.double().var((0, 2, 3), correction=0)
    assert (centred.square().mean((0, 2, 3)) / exact - 1).abs().max() < 1e-2
    assert (x.square().mean((0, 2, 3)) - x.mean((0, 2, 3)).square()).sub(exact).abs().max() > exact.max()


def test_all_start_with_the_first_ones_parameters_and_statistics(found):
    first, second = found[0]["shared"], found[1]["shared"]
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["1.running_mean"].tolist() == [1.0, 1.0]


# --- training


def test_two_processes_with_half_the_batch_each_train_as_one(found, five_alone):
    for rank in range(RANKS):
        ours = found[rank]["five_updates"]
        assert len(ours["losses"]) == 5
        np.testing.assert_allclose(ours["losses"], five_alone["losses"], rtol=1e-10)
        torch.testing.assert_close(ours["state"], five_alone["state"], rtol=1e-7, atol=1e-9)
    assert five_alone["losses"][4] != five_alone["losses"][0]


def test_two_processes_with_one_picture_each_train_as_one_with_two(found, data):
    expected = ranks.alone("one_picture_each", data)
    for rank in range(RANKS):
        np.testing.assert_allclose(found[rank]["one_picture_each"]["losses"], expected["losses"], rtol=1e-10)


def test_a_mean_of_means_would_be_something_else(found, five_alone):
    """The labels are spread so unevenly that the test above sees the difference."""
    wrong = found[0]["naive"]["losses"]
    assert abs(wrong[0] / five_alone["losses"][0] - 1) > 1e-3
    assert abs(wrong[1] / five_alone["losses"][1] - 1) > 1e-3


@pytest.mark.slow
def test_two_processes_that_accumulate_train_as_one(data, tmp_path):
    expected = ranks.alone("two_of_two", data)
    for ours in ranks.of_ranks(RANKS, ["two_of_two"], tmp_path, data=data):
        np.testing.assert_allclose(ours["two_of_two"]["losses"], expected["losses"], rtol=1e-10)
        torch.testing.assert_close(ours["two_of_two"]["state"], expected["state"], rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_two_processes_balance_outputs_as_one(data, tmp_path):
    """Weights of outputs are float32 tensors: to their digits."""
    expected = ranks.alone("balanced", data)
    for ours in ranks.of_ranks(RANKS, ["balanced"], tmp_path, data=data):
        for name in ranks.BALANCES:
            for step, whole in zip(ours["balanced"][name], expected[name], strict=True):
                assert step == pytest.approx(whole, rel=1e-5), name
            assert expected[name][-1]["weight"] != 1.0


# --- validation


@pytest.mark.parametrize("part", ranks.PARTS)
def test_shared_validation_is_exactly_that_of_one_process(found, data, part):
    expected = ranks.alone("measured", data)[part]
    assert 0 < expected["confusion"].sum() <= ranks.PARTS[part] * 64 * 128
    for rank in range(RANKS):
        ours = found[rank]["measured"][part]
        assert torch.equal(ours["confusion"], expected["confusion"])
        assert ours["depth"] == expected["depth"]
        assert ours["miou"] == expected["miou"]


# --- what one tells the others


def test_values_and_errors_of_the_first_reach_all(found):
    for rank in range(RANKS):
        told = found[rank]["told"]
        assert told["value"]["rank"] == 0
        assert torch.equal(told["value"]["tensor"], torch.ones(2))
        assert told["gathered"] == [{"rank": 0}, {"rank": 1}]
        assert told["mean"].tolist() == [0.5, 0.5]
        assert told["own"].tolist() == [rank, rank]
        assert told["error"] == "process 0 found nothing"


@pytest.mark.slow
def test_the_others_wait_for_the_first_as_long_as_it_takes(data, tmp_path):
    results = ranks.of_ranks(RANKS, ["patient"], tmp_path, data=data)
    assert [result["patient"] for result in results] == [{"made": 0, "parts": [0, 1]}] * RANKS


def test_a_process_that_is_alone_asks_nobody():
    assert start_processes(torch.device("cpu")) is ALONE
    assert from_first(lambda: 3, ALONE) == 3
    assert gather(3, ALONE) == [3]
    values = torch.ones(2)
    assert mean_over(values, ALONE) is values
    with pytest.raises(DataError, match="gone"):
        from_first(lambda: (_ for _ in ()).throw(DataError("gone")), ALONE)


@pytest.mark.parametrize(
    "text, lost",
    [
        ("[gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:1", True),
        ("[enforce fail at ...] Timed out waiting 60000ms for recv operation to complete", True),
        ("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)", False),
    ],
)
def test_errors_that_mean_a_lost_process(text, lost):
    assert lost_process(RuntimeError(text)) is lost
    assert lost_process(torch.distributed.DistBackendError("x"))


def test_batchnorm_takes_over_the_module_and_none_of_its_hooks():
    module = nn.BatchNorm2d(3)
    module.register_forward_pre_hook(lambda module, inputs: None)
    new = ranks.AllReduceBatchNorm2d.of(module)
    assert new.weight is module.weight
    assert new.running_mean is module.running_mean
    assert not new._forward_pre_hooks
    assert len(module._forward_pre_hooks) == 1
