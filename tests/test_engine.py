"""The loop with a network of one layer, so that every number can be computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from edgeailite import engine
from edgeailite.data.loader import EpochBatches
from edgeailite.engine import Step, is_better, select_amp, select_device, train_epoch
from edgeailite.errors import DivergedError, Interrupted, UsageError
from edgeailite.losses import cross_entropy
from edgeailite.preprocessing import Preprocessing

PLAIN = Preprocessing(2, 2, mean=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0))
CPU = torch.device("cpu")


class Pointwise(nn.Module):
    """Two classes from one 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, image):
        return {"segmentation": self.layer(image)}


def samples(count: int) -> list:
    generator = torch.Generator().manual_seed(2)
    return [
        (
            (torch.randint(0, 3, (1, 3, 2, 2), generator=generator, dtype=torch.uint8),),
            {"segmentation": torch.randint(0, 2, (1, 2, 2), generator=generator)},
        )
        for _ in range(count)
    ]


def loss_of(outputs, targets) -> torch.Tensor:
    return cross_entropy(outputs["segmentation"], targets["segmentation"])


def train(model, data, *, skip: int = 0, loss=loss_of, on_step=lambda step: None, total: float = 0.0) -> float:
    batches = EpochBatches(4, 1, seed=1)
    batches.epoch, batches.skip = 2, skip
    return train_epoch(
        model,
        data[skip:],
        batches,
        loss=loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        rate=lambda epoch: 0.1 * epoch,
        preprocessing=PLAIN,
        total=total,
        on_step=on_step,
    )


def weights(model: nn.Module) -> list:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_an_epoch_is_gradient_steps_at_the_rate_of_each_moment():
    model, twin, steps, losses = Pointwise(), Pointwise(), [], []
    mean = train(model, samples(4), on_step=steps.append)
    for index, (images, targets) in enumerate(samples(4)):
        loss = nn.functional.cross_entropy(twin.layer(images[0].float()), targets["segmentation"])
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                parameter -= 0.1 * (2 + index / 4) * gradient
        losses.append(loss.item())
    for ours, expected in zip(weights(model), weights(twin), strict=True):
        torch.testing.assert_close(ours, expected)
    assert [(step.epoch, step.step, step.steps) for step in steps] == [(2, index, 4) for index in (1, 2, 3, 4)]
    assert [step.lr for step in steps] == pytest.approx([0.2, 0.225, 0.25, 0.275])
    assert [step.loss for step in steps] == pytest.approx(losses)
    assert [step.total for step in steps] == pytest.approx(np.cumsum(losses).tolist())
    assert mean == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_stopping_and_going_on_equals_not_stopping(stop_after):
    whole, parts, seen = Pointwise(), Pointwise(), []

    def stop(step: Step) -> None:
        seen.append(step)
        if step.step == stop_after:
            raise Interrupted("stop")

    mean = train(whole, samples(4))
    with pytest.raises(Interrupted):
        train(parts, samples(4), on_step=stop)
    assert train(parts, samples(4), skip=stop_after, total=seen[-1].total) == mean
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(parts), strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update(value):
    model, calls = Pointwise(), []

    def loss(outputs, targets) -> torch.Tensor:
        calls.append(weights(model))
        return loss_of(outputs, targets) * (value if len(calls) == 3 else 1)

    with pytest.raises(DivergedError, match=r"loss is (nan|inf) at epoch 3, step 3; lower --lr \(now 0\.25\)"):
        train(model, samples(4), loss=loss)
    assert len(calls) == 3
    assert all(torch.equal(a, b) for a, b in zip(calls[-1], weights(model), strict=True))


def test_better():
    assert is_better(0.1, math.nan)
    assert is_better(0.2, 0.1)
    assert not is_better(0.1, 0.1)
    assert not is_better(math.nan, 0.1)


def test_device_and_mixed_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == CPU
    with pytest.raises(UsageError, match="--device cuda: torch sees no CUDA device; use --device cpu"):
        select_device("cuda")
    with pytest.raises(UsageError, match="--amp fp16: CPUs train in bf16"):
        select_amp("fp16", CPU)
    assert select_amp("off", CPU) is None
    assert select_amp("bf16", CPU) is torch.bfloat16
    for features, expected in ((["avx2"], None), (["avx2", "amx_bf16"], torch.bfloat16)):
        monkeypatch.setattr(engine, "cpu_features", lambda found=features: found)
        assert select_amp("auto", CPU) is expected
    assert select_amp("auto", torch.device("cuda")) is torch.bfloat16
