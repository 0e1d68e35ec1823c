"""The loop with a network of one layer, so that every number can be computed by hand."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from edgeailite.data.loader import EpochBatches, Portion
from edgeailite.errors import DivergedError, Interrupted
from edgeailite.preprocessing import Preprocessing
from edgeailite.training import step as step_module
from edgeailite.training.loss_balancing import make_balance
from edgeailite.training.losses import cross_entropy
from edgeailite.training.optim import MovingAverage
from edgeailite.training.step import Learner, NonFiniteError, Step, train_epoch

PLAIN = Preprocessing(2, 2, mean=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0))
CPU = torch.device("cpu")
PICTURES = 4


class Pointwise(nn.Module):
    """Two classes per output, each from one 1x1 convolution."""

    def __init__(self, outputs: Sequence[str] = ("segmentation",)) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleDict({name: nn.Conv2d(3, 2, 1) for name in outputs})

    def forward(self, image):
        return {name: layer(image) for name, layer in self.layers.items()}


class Shuffled(nn.Module):
    """BatchNorm, dropout and a convolution: what has statistics and what is random."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.norm, self.dropout, self.layer = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 2, 1)
        self.seen: list[torch.Tensor] = []

    def forward(self, image):
        dropped = self.dropout(torch.ones(64))
        self.seen.append(dropped > 0)
        return {"segmentation": self.layer(self.norm(image)) * dropped.mean()}


def samples(count: int = PICTURES, outputs: Sequence[str] = ("segmentation",)) -> list:
    generator = torch.Generator().manual_seed(2)
    return [
        (
            (torch.randint(0, 3, (1, 3, 2, 2), generator=generator, dtype=torch.uint8),),
            {name: torch.randint(0, 2, (1, 2, 2), generator=generator) for name in outputs},
        )
        for _ in range(count)
    ]


def losses_of(outputs, targets) -> dict[str, torch.Tensor]:
    return {name: cross_entropy(logits, targets[name]) for name, logits in outputs.items()}


def learner_of(model: nn.Module, **changes: object) -> Learner:
    outputs = list(getattr(model, "layers", {"segmentation": None}))
    plain = Learner(
        model=model,
        call=model,
        optimizer=sgd(model),
        losses=losses_of,
        balance=make_balance("fixed", outputs),
        preprocessing=PLAIN,
        scaler=torch.amp.GradScaler("cpu", enabled=False),
    )
    return dataclasses.replace(plain, **changes)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def train(
    learner: Learner,
    data: list,
    *,
    skip: int = 0,
    total: float = 0.0,
    on_step: Callable[[Step], None] = lambda step: None,
) -> float:
    """The third epoch, at a rate of a tenth of the epoch; `skip` counts batches."""
    batches = EpochBatches(len(data), 1, seed=1, portion=Portion(group=learner.accumulate))
    batches.epoch, batches.skip = 2, skip
    schedule = lambda epoch: 0.1 * epoch  # noqa: E731 - one line of the table that calls it
    return train_epoch(learner, data[skip:], batches, schedule=schedule, total=total, on_step=on_step)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_equal(ours, expected) -> None:
    assert list(ours) == list(expected)
    assert all(torch.equal(ours[name], expected[name]) for name in ours)


def by_hand(model: Pointwise, group: list, weights=None) -> tuple[dict[str, float], list[torch.Tensor]]:
    """Mean loss of each output over the batches of an update, and the mean gradient of their weighted sum."""
    losses = {
        name: sum(nn.functional.cross_entropy(layer(images[0].float()), y[name]) for images, y in group) / len(group)
        for name, layer in model.layers.items()
    }
    total = sum((weights or {}).get(name, 1.0) * loss for name, loss in losses.items())
    gradients = torch.autograd.grad(total, list(model.parameters()))
    return {name: loss.item() for name, loss in losses.items()}, list(gradients)


def descend(model: nn.Module, gradients: list[torch.Tensor], rate: float) -> None:
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter -= rate * gradient


# --- what an epoch is


def test_an_epoch_is_gradient_steps_at_the_rate_of_each_moment():
    model, twin, steps, losses = Pointwise(), Pointwise(), [], []
    mean = train(learner_of(model), samples(), on_step=steps.append)
    for index, batch in enumerate(samples()):
        loss, gradients = by_hand(twin, [batch])
        descend(twin, gradients, 0.1 * (2 + index / 4))
        losses.append(loss["segmentation"])
    torch.testing.assert_close(state_of(model), state_of(twin))
    assert [(step.epoch, step.step, step.steps) for step in steps] == [(2, index, 4) for index in (1, 2, 3, 4)]
    assert [step.lr for step in steps] == pytest.approx([0.2, 0.225, 0.25, 0.275])
    assert [step.loss for step in steps] == pytest.approx(losses)
    assert [step.parts["segmentation"] for step in steps] == pytest.approx(losses)
    assert [step.total for step in steps] == pytest.approx(np.cumsum(losses).tolist())
    assert all(step.images_per_second > 0 for step in steps)
    assert mean == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("size", [2, 3])
def test_accumulated_batches_are_one_update_with_the_mean_gradient(size):
    model, twin, steps, data = Pointwise(), Pointwise(), [], samples(7)
    mean = train(learner_of(model, accumulate=size), data, on_step=steps.append)
    updates, losses = 7 // size, []
    for update in range(updates):
        loss, gradients = by_hand(twin, data[update * size : (update + 1) * size])
        descend(twin, gradients, 0.1 * (2 + update / updates))
        losses.append(loss["segmentation"])
    torch.testing.assert_close(state_of(model), state_of(twin))
    assert [(step.step, step.steps) for step in steps] == [(update + 1, updates) for update in range(updates)]
    assert [step.loss for step in steps] == pytest.approx(losses)
    assert mean == pytest.approx(np.mean(losses))


def test_several_outputs_are_weighed():
    outputs, weights = ("segmentation", "motion"), {"segmentation": 2.0, "motion": 0.25}
    model, twin, steps, data = Pointwise(outputs), Pointwise(outputs), [], samples(3, outputs)
    learner = learner_of(model, balance=make_balance("fixed", outputs, weights=weights))
    mean = train(learner, data, on_step=steps.append)
    sums = []
    for index, batch in enumerate(data):
        loss, gradients = by_hand(twin, [batch], weights)
        descend(twin, gradients, 0.1 * (2 + index / 3))
        assert dict(steps[index].parts) == pytest.approx(loss)
        sums.append(2.0 * loss["segmentation"] + 0.25 * loss["motion"])
    torch.testing.assert_close(state_of(model), state_of(twin))
    assert [step.loss for step in steps] == pytest.approx(sums)
    assert mean == pytest.approx(np.mean(sums))


def test_a_teacher_sees_the_same_pictures_and_stays_as_it_is():
    seen = []

    def losses(outputs, targets):
        seen.append((outputs, targets))
        return {name: output.square().mean() for name, output in outputs.items()}

    teacher = Pointwise()
    before = state_of(teacher)
    train(learner_of(Pointwise(), teacher=teacher, losses=losses), samples())
    outputs, targets = seen[0]
    assert set(targets) == {"segmentation", "teacher of segmentation"}
    assert torch.equal(targets["teacher of segmentation"], outputs["segmentation"])  # equal weights at first
    assert not targets["teacher of segmentation"].requires_grad
    assert_equal(state_of(teacher), before)


@pytest.mark.parametrize("largest", [0.05, 1e6])
def test_the_gradient_is_clipped_by_its_norm(largest):
    model, twin = Pointwise(), Pointwise()
    train(learner_of(model, clip_grad=largest), samples())
    for index, batch in enumerate(samples()):
        _, gradients = by_hand(twin, [batch])
        norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
        assert norm > 0.05, "this test must clip"
        descend(twin, gradients, 0.1 * (2 + index / 4) * min(1.0, largest / (norm + 1e-6)))
    torch.testing.assert_close(state_of(model), state_of(twin))


def test_the_moving_average_follows_every_update():
    model, states = Pointwise(), []
    learner = learner_of(model, average=MovingAverage(model, 0.5))
    initial = state_of(model)
    train(learner, samples(), on_step=lambda step: states.append(state_of(model)))
    for name, average in initial.items():
        for updates, state in enumerate(states):
            decay = min(0.5, (1 + updates) / (10 + updates))
            average = decay * average + (1 - decay) * state[name]
        torch.testing.assert_close(learner.average.values[name], average)


# --- going on


@pytest.mark.parametrize("accumulate, stop_after", [(1, 1), (1, 3), (1, 4), (2, 1), (2, 2)])
def test_stopping_and_going_on_equals_not_stopping(accumulate, stop_after):
    """Dropout included: its masks depend on the update's place in the training and on nothing that ran before."""
    whole, parts, seen = Shuffled(), Shuffled(), []
    stopping = learner_of(parts, accumulate=accumulate)

    def stop(step: Step) -> None:
        seen.append(step)
        stopping.stop = step.step == stop_after - 1  # as a signal does: noticed by the next update
        if stop_after == 1:
            raise Interrupted("stop")

    mean = train(learner_of(whole, accumulate=accumulate), samples())
    with pytest.raises(Interrupted):
        train(stopping, samples(), on_step=stop)
    assert seen[-1].step == stop_after
    torch.rand(17)  # whatever else draws in between
    going_on = learner_of(parts, accumulate=accumulate)
    assert train(going_on, samples(), skip=stop_after * accumulate, total=seen[-1].total) == mean
    assert_equal(state_of(parts), state_of(whole))
    assert all(torch.equal(a, b) for a, b in zip(parts.seen, whole.seen, strict=True))


def test_asking_to_stop_ends_behind_the_running_update():
    learner, steps = learner_of(Pointwise()), []

    def asked(step: Step) -> None:
        steps.append(step.step)
        learner.stop = step.step == 2

    with pytest.raises(Interrupted, match="stopped in epoch 3"):
        train(learner, samples(), on_step=asked)
    assert steps == [1, 2, 3]


def test_dropout_differs_by_seed_epoch_step_and_process():
    def masks(**changes: object) -> list[torch.Tensor]:
        model = Shuffled()
        train(learner_of(model, **changes), samples())
        return model.seen

    first, again = masks(), masks()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], masks(seed=2)[0])
    alone = step_module.ALONE
    learner = learner_of(Shuffled())
    drawn = []
    for epoch, step, rank in ((2, 0, 0), (2, 1, 0), (1, 2, 0), (2, 0, 1)):
        learner.processes = dataclasses.replace(alone, rank=rank)
        step_module._seed(learner, epoch, step)
        drawn.append(torch.rand(4).tolist())
    assert len({tuple(row) for row in drawn}) == 4


# --- what is still


def test_what_is_still_keeps_its_statistics_and_the_rest_moves():
    for still in (False, True):
        model = Shuffled()
        before = state_of(model)
        learner = learner_of(model, still=(model.norm,) if still else ())
        learner.train()
        train(learner, samples())
        same = {name: torch.equal(value, before[name]) for name, value in model.state_dict().items()}
        assert same["norm.running_mean"] == same["norm.running_var"] == same["norm.num_batches_tracked"] == still
        assert not same["norm.weight"], "parameters of what is still are trained, unless they are frozen"
        assert model.dropout.training


# --- what is not finite


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update(value):
    model, calls = Pointwise(), []

    def losses(outputs, targets) -> dict[str, torch.Tensor]:
        calls.append(state_of(model))
        return {name: loss * (value if len(calls) == 3 else 1) for name, loss in losses_of(outputs, targets).items()}

    data = samples()
    with pytest.raises(
        DivergedError, match=r"loss is (nan|inf) at epoch 3, step 3; lower --lr \(now 0\.25\)"
    ) as caught:
        train(learner_of(model, losses=losses), data)
    assert len(calls) == 3
    assert_equal(state_of(model), calls[-1])
    assert isinstance(caught.value, NonFiniteError)
    assert caught.value.batch is data[2]


class Steep(torch.autograd.Function):
    """The value itself, with an infinite gradient."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.inf


def steep_at(call: int) -> step_module.Losses:
    calls = []

    def losses(outputs, targets) -> dict[str, torch.Tensor]:
        calls.append(None)
        found = losses_of(outputs, targets)
        return {name: Steep.apply(loss) if len(calls) == call else loss for name, loss in found.items()}

    return losses


def test_a_norm_that_is_not_finite_stops_before_the_update():
    model, states = Pointwise(), []
    learner = learner_of(model, losses=steep_at(2), clip_grad=1.0)
    with pytest.raises(NonFiniteError, match=r"norm of the gradient is (nan|inf) at epoch 3, step 2; lower --lr"):
        train(learner, samples(), on_step=lambda step: states.append(state_of(model)))
    assert len(states) == 1
    assert_equal(state_of(model), states[-1])


@pytest.mark.parametrize("clip_grad", [None, 1e6])
def test_a_scaler_leaves_out_the_update_with_an_infinite_gradient_and_halves_its_scale(clip_grad):
    model, twin = Pointwise(), Pointwise()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    train(learner_of(model, losses=steep_at(2), scaler=scaler, clip_grad=clip_grad), samples())
    for index, batch in enumerate(samples()):
        if index != 1:
            descend(twin, by_hand(twin, [batch])[1], 0.1 * (2 + index / 4))
    torch.testing.assert_close(state_of(model), state_of(twin))
    assert scaler.get_scale() == 512.0


# --- device and precision


def test_mixed_precision_computes_the_network_in_it_and_the_loss_in_float32():
    types = []

    def losses(outputs, targets) -> dict[str, torch.Tensor]:
        types.append(outputs["segmentation"].dtype)
        found = losses_of(outputs, targets)
        types.append(found["segmentation"].dtype)
        return found

    train(learner_of(Pointwise(), losses=losses, amp=torch.bfloat16), samples(1))
    assert types == [torch.bfloat16, torch.float32]
