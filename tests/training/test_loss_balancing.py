"""Balances against closed forms, exact resume, and two processes that must agree."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgeailite.errors import UsageError
from edgeailite.models import create_model
from edgeailite.training.loss_balancing import (
    BALANCES,
    Balance,
    DynamicGradNorm,
    DynamicWeightAverage,
    GradNorm,
    Uncertainty,
    alone,
    last_weight,
    make_balance,
)

OUTPUTS = ("segmentation", "depth", "motion")
SLOPES = (1.0, 50.0, 0.2)


def shared() -> nn.Parameter:
    return nn.Parameter(torch.tensor([3.0, 4.0]))


def losses_of(weight: Tensor, *, slopes: tuple[float, ...] = SLOPES) -> dict[str, Tensor]:
    """Losses slope * |weight|^2 / 2, whose gradients have the norms slope * 5 at (3, 4)."""
    return {name: slope * (weight**2).sum() / 2 for name, slope in zip(OUTPUTS, slopes)}


def trained(balance: Balance, steps: int, *, weight: nn.Parameter, rate: float = 1e-3) -> list[float]:
    """Values of so many steps of gradient descent on the shared weight and on what the balance learns."""
    optimizer = torch.optim.SGD([weight, *balance.parameters()], lr=rate)
    values = []
    for step in range(steps):
        value = balance(losses_of(weight), [weight])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
        if step % 3 == 2:
            balance.epoch_done({name: loss.item() for name, loss in losses_of(weight).items()})
    return values


def test_fixed_weights():
    weight = shared()
    value = make_balance("fixed", OUTPUTS, weights={"depth": 0.5, "motion": 2.0})(losses_of(weight))
    value.backward()
    assert value.item() == pytest.approx((1 + 0.5 * 50 + 2 * 0.2) * 12.5)
    assert weight.grad.tolist() == pytest.approx([(1 + 25 + 0.4) * 3, (1 + 25 + 0.4) * 4])


@pytest.mark.parametrize("kind", BALANCES)
def test_one_output_is_just_its_loss(kind):
    balance, weight = make_balance(kind, ["depth"]), shared()
    value = balance(losses_of(weight), [])
    balance.epoch_done({"depth": 3.0})
    (gradient,) = torch.autograd.grad(value, weight)
    assert value.item() == losses_of(weight)["depth"].item()
    assert gradient.equal(torch.autograd.grad(losses_of(weight)["depth"], weight)[0])
    assert balance.weights() == {"depth": 1.0}
    assert not list(balance.parameters())


@pytest.mark.parametrize("kind", BALANCES)
def test_every_balance_begins_with_equal_weights(kind):
    balance, weight = make_balance(kind, OUTPUTS), shared()
    assert balance.weights() == dict.fromkeys(OUTPUTS, 1.0)
    assert balance(losses_of(weight), [weight]).item() == pytest.approx(sum(SLOPES) * 12.5)


@pytest.mark.parametrize("kind", BALANCES)
def test_resume_is_exact(kind):
    weight, balance = shared(), make_balance(kind, OUTPUTS)
    trained(balance, 8, weight=weight)
    file = io.BytesIO()
    torch.save({"balance": balance.state_dict(), "weight": weight.detach().clone()}, file)
    expected = trained(balance, 8, weight=weight)

    file.seek(0)
    state, resumed = torch.load(file, weights_only=True), make_balance(kind, OUTPUTS)
    resumed.load_state_dict(state["balance"])
    assert trained(resumed, 8, weight=nn.Parameter(state["weight"])) == expected
    assert resumed.weights() == balance.weights()


class TestUncertainty:
    def test_value_and_gradients_are_those_of_the_formula(self):
        balance, weight = Uncertainty(OUTPUTS), shared()
        with torch.no_grad():
            balance.log_variances.copy_(torch.tensor([0.5, -1.0, 2.0]))
        value = balance(losses_of(weight))
        s = balance.log_variances
        expected = (torch.exp(-s) * torch.stack(list(losses_of(weight).values())) + s / 2).sum()
        assert value.item() == pytest.approx(expected.item(), rel=1e-6)
        for name in (weight, s):
            ours, theirs = (torch.autograd.grad(x, name, retain_graph=True)[0] for x in (value, expected))
            torch.testing.assert_close(ours, theirs)

    def test_weights_come_to_one_over_twice_the_loss(self):
        balance = Uncertainty(OUTPUTS)
        optimizer = torch.optim.Adam(balance.parameters(), lr=0.05)
        constant = {name: torch.tensor(value) for name, value in zip(OUTPUTS, (0.1, 4.0, 1.0))}
        for _ in range(400):
            optimizer.zero_grad()
            balance(constant).backward()
            optimizer.step()
        assert list(balance.weights().values()) == pytest.approx([5.0, 0.125, 0.5], rel=1e-3)

    def test_an_output_without_labels_keeps_its_variance(self):
        balance = Uncertainty(OUTPUTS)
        balance(losses_of(shared(), slopes=(1.0, 0.0, 2.0))).backward()
        assert balance.log_variances.grad[1].item() == 0
        assert balance.log_variances.grad[0].item() == pytest.approx(-12.5 + 0.5)


class TestGradNorm:
    def test_gradients_come_to_one_size_where_all_learn_alike(self):
        balance, weight = GradNorm(OUTPUTS), shared()
        for _ in range(400):
            balance(losses_of(weight), [weight])
        weights = balance.weights()
        sizes = [weights[name] * slope for name, slope in zip(OUTPUTS, SLOPES)]
        assert sizes == pytest.approx([sizes[0]] * 3, rel=1e-3)
        assert sum(weights.values()) == pytest.approx(3)

    def test_an_output_that_learns_slowly_gets_larger_gradients(self):
        balance, weight = GradNorm(OUTPUTS), shared()
        balance(losses_of(weight), [weight])
        fallen = (0.5, 0.5 * 50.0, 1.0 * 0.2)  # the third has not learned since the first step
        for _ in range(600):
            balance(losses_of(weight, slopes=fallen), [weight])
        weights = balance.weights()
        sizes = np.array([weights[name] * slope for name, slope in zip(OUTPUTS, fallen)])
        relative = np.array([0.5, 0.5, 1.0]) / np.mean([0.5, 0.5, 1.0])
        assert sizes / sizes[0] == pytest.approx((relative / relative[0]) ** GradNorm.alpha, rel=1e-3)

    def test_value_has_the_weights_before_the_step(self):
        balance, weight = GradNorm(OUTPUTS), shared()
        for _ in range(3):
            before = balance.weights()
            value = balance(losses_of(weight), [weight])
            expected = sum(before[name] * loss.item() for name, loss in losses_of(weight).items())
            assert value.item() == pytest.approx(expected, rel=1e-6)
            value.backward()  # weights that changed in place would raise here
            assert balance.weights() != before

    @pytest.mark.parametrize("bad", [0.0, float("inf")], ids=["no labels", "overflow"])
    def test_a_step_without_an_output_leaves_the_others_balanced(self, bad):
        balance, weight = GradNorm(OUTPUTS), shared()
        balance(losses_of(weight, slopes=(1.0, bad, 0.2)), [weight])
        assert balance.first[1].item() == 0
        assert all(np.isfinite(list(balance.weights().values())))
        for _ in range(400):
            balance(losses_of(weight), [weight])
        weights = balance.weights()
        assert weights["depth"] * 50 == pytest.approx(weights["segmentation"], rel=1e-3)

    def test_frozen_encoders_are_refused(self):
        with pytest.raises(UsageError, match="is the encoder frozen"):
            GradNorm(OUTPUTS)(losses_of(shared()), [])

    def test_of_a_network_with_three_decoders(self):
        model = create_model(
            "deeplabv3plus_mobilenetv2_tv_edgeailite", outputs={"segmentation": 3, "depth": 1, "motion": 2}
        )
        outputs = model(torch.randn(2, 3, 64, 64))
        balance = GradNorm(OUTPUTS)
        weights = last_weight(model.encoder)
        assert [w.ndim for w in weights] == [4]
        losses = {name: (index + 1) * output.square().mean() for index, (name, output) in enumerate(outputs.items())}
        value = balance(losses, weights)
        assert all(p.grad is None for p in model.parameters()), "norms are taken beside the gradients"
        value.backward()
        assert all(p.grad is not None for p in model.parameters())
        assert len(set(balance.weights().values())) == 3


class TestDynamicWeightAverage:
    def test_softmax_of_the_last_two_epochs(self):
        balance = DynamicWeightAverage(OUTPUTS)
        for epoch in ((4.0, 2.0, 1.0), (2.0, 2.0, 0.1)):
            assert balance.weights() == dict.fromkeys(OUTPUTS, 1.0)
            balance.epoch_done(dict(zip(OUTPUTS, epoch)))
        power = np.exp(np.array([0.5, 1.0, 0.1]) / 2)
        assert list(balance.weights().values()) == pytest.approx((3 * power / power.sum()).tolist(), rel=1e-6)

    def test_an_epoch_without_labels_counts_as_one_without_change(self):
        balance = DynamicWeightAverage(OUTPUTS)
        for epoch in ((4.0, 0.0, 1.0), (4.0, 2.0, 0.0)):
            balance.epoch_done(dict(zip(OUTPUTS, epoch)))
        assert balance.weights() == dict.fromkeys(OUTPUTS, 1.0)

    def test_with_gradient_normalisation_the_epochs_give_the_rates(self):
        balance, weight = DynamicGradNorm(OUTPUTS), shared()
        for epoch in ((4.0, 2.0, 1.0), (2.0, 2.0, 0.5)):
            balance.epoch_done(dict(zip(OUTPUTS, epoch)))
        for _ in range(600):
            balance(losses_of(weight), [weight])
        weights = balance.weights()
        sizes = np.array([weights[name] * slope for name, slope in zip(OUTPUTS, SLOPES)])
        assert sizes / sizes[0] == pytest.approx([1.0, 2.0**1.5, 1.0], rel=1e-3)


class Pair:
    """Two threads that stand for two processes: `reduce` gives each the mean of what both bring."""

    def __init__(self) -> None:
        self.barrier, self.brought = threading.Barrier(2, timeout=20), [None, None]

    def reduce_of(self, rank: int) -> Callable[[Tensor], Tensor]:
        def reduce(own: Tensor) -> Tensor:
            self.brought[rank] = own
            self.barrier.wait()
            mean = (self.brought[0] + self.brought[1]) / 2
            self.barrier.wait()
            return mean

        return reduce

    def run(self, work: Callable[[int], object]) -> list[object]:
        results: list[object] = [None, None]

        def keep(rank: int) -> None:
            results[rank] = work(rank)

        threads = [threading.Thread(target=keep, args=(rank,)) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@pytest.mark.parametrize("kind", BALANCES)
def test_two_processes_have_equal_weights_and_those_of_one(kind):
    pair = Pair()
    slopes = ((1.0, 80.0, 0.1), (1.0, 20.0, 0.3))  # their mean is SLOPES

    def work(rank: int | None) -> tuple[list[dict[str, float]], list[list[float]]]:
        balance = make_balance(kind, OUTPUTS, reduce=alone if rank is None else pair.reduce_of(rank))
        weight, weights, gradients = shared(), [], []
        for _ in range(4):
            value = balance(losses_of(weight, slopes=SLOPES if rank is None else slopes[rank]), [weight])
            learned = list(balance.parameters())
            gradients.append([g.tolist() for g in torch.autograd.grad(value, [weight, *learned])])
            with torch.no_grad():
                for parameter in learned:
                    parameter -= 0.01 * torch.tensor(gradients[-1][1])
            balance.epoch_done({"segmentation": 2.0, "depth": 1.0 / (1 + len(weights)), "motion": 3.0})
            weights.append(balance.weights())
        return weights, gradients

    first, second = pair.run(work)
    expected = work(None)
    assert first[0] == second[0], "weights on every rank"
    for ours, theirs in zip(first[0], expected[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for one, two, whole in zip(first[1], second[1], expected[1], strict=True):
        assert one[1:] == two[1:], "gradients of what is learned need no reduction"
        assert (np.array(one[0]) + two[0]) / 2 == pytest.approx(np.array(whole[0]), rel=1e-4)


def one_of_two(rank: int, folder: Path) -> None:
    """Three steps in one of two processes with every balance; writes weights and network into the folder."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)

    def reduce(own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total / 2

    results = {}
    for kind in BALANCES:
        net, image = net_and_image()
        wrapped = DistributedDataParallel(net)
        results[kind] = three_steps(kind, wrapped, image[rank * 2 :][:2], net=net, reduce=reduce)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


def net_and_image() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1)), torch.randn(4, 3, 8, 8)


def three_steps(
    kind: str, model: nn.Module, image: Tensor, *, net: nn.Sequential, reduce: Callable[[Tensor], Tensor]
) -> tuple[dict[str, float], list[Tensor]]:
    balance = make_balance(kind, OUTPUTS, reduce=reduce)
    optimizer = torch.optim.SGD([*net.parameters(), *balance.parameters()], lr=0.01)
    for step in range(3):
        means = (model(image) ** 2).mean((0, 2, 3))
        losses = {name: slope * mean for name, slope, mean in zip(OUTPUTS, SLOPES, means)}
        optimizer.zero_grad()
        balance(losses, last_weight(net[0])).backward()
        optimizer.step()
        balance.epoch_done({"segmentation": 1 / (1 + step), "depth": 1.0, "motion": 2.0})
    return balance.weights(), [p.detach() for p in net.parameters()]


@pytest.mark.slow
def test_distributed_data_parallel_trains_as_one_process(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for kind in BALANCES:
        net, image = net_and_image()
        weights, parameters = three_steps(kind, net, image, net=net, reduce=alone)
        assert first[kind][0] == second[kind][0] == pytest.approx(weights, rel=1e-5), kind
        for one, two, single in zip(first[kind][1], second[kind][1], parameters, strict=True):
            assert one.equal(two), kind
            torch.testing.assert_close(one, single)


def test_published_names():
    assert BALANCES["learned"] is BALANCES["pseudo_grad_norm"] is GradNorm
    assert BALANCES["dwa_grad_norm"] is DynamicGradNorm


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        ("pcgrad", None, "'pcgrad' is unknown; known are fixed, uncertainty"),
        ("fixed", {"flow": 2.0}, "loss weight of flow, but the outputs are segmentation, depth, motion"),
        ("grad_norm", {"depth": 2.0}, "finds its own; use 'fixed'"),
        ("fixed", {"depth": -1.0}, "loss weight of depth is -1.0; expected 0 or more"),
    ],
)
def test_what_cannot_work(kind, weights, message):
    with pytest.raises(UsageError, match=message):
        make_balance(kind, OUTPUTS, weights=weights)


def test_frozen_weights_are_not_the_last():
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    encoder[2].requires_grad_(False)
    assert last_weight(encoder)[0] is encoder[0].weight
    assert last_weight(encoder.requires_grad_(False)) == []
