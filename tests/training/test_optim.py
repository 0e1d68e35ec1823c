"""Learning rates by formula, optimizers by what one step does to a number, averages by hand."""

import math

import pytest
import torch
from torch import nn

from edgeailite.config import Loop
from edgeailite.errors import UsageError
from edgeailite.training.learner import schedule
from edgeailite.training.optim import (
    RANGES,
    MovingAverage,
    freeze,
    learning_rate,
    make_optimizer,
    parameter_groups,
    set_rates,
)


def rate(epoch: float, scheduler: str, *, warmup: float = 0.0) -> float:
    return learning_rate(
        0.1, epoch, epochs=10, scheduler=scheduler, warmup_epochs=warmup, milestones=(4, 8), gamma=0.25
    )


@pytest.mark.parametrize(
    "scheduler, expected",
    [
        ("step", {0: 0.1, 3.99: 0.1, 4: 0.025, 7.5: 0.025, 8: 0.00625, 10: 0.00625}),
        ("cosine", {0: 0.1, 2.5: 0.1 * (1 + math.sqrt(0.5)) / 2, 5: 0.05, 10: 0.0, 11: 0.0}),
        ("poly", {0: 0.1, 5: 0.1 * 0.5**0.9, 9: 0.1 * 0.1**0.9, 10: 0.0, 11: 0.0}),
        ("constant", {0: 0.1, 5: 0.1, 10: 0.1, 11: 0.1}),
    ],
)
def test_schedule_by_hand(scheduler, expected):
    for epoch, value in expected.items():
        assert rate(epoch, scheduler) == pytest.approx(value, abs=1e-12), epoch


def test_power_of_poly():
    for power in (0.5, 1.0, 2.0):
        value = learning_rate(0.1, 4, epochs=10, scheduler="poly", warmup_epochs=0, power=power)
        assert value == pytest.approx(0.1 * 0.6**power)


@pytest.mark.parametrize("scheduler", ["step", "cosine", "poly", "constant"])
def test_warm_up_is_linear_and_starts_above_zero(scheduler):
    assert rate(0, scheduler, warmup=2) == pytest.approx(0.1 * 1e-3)
    assert rate(0.5, scheduler, warmup=2) == pytest.approx(0.025)
    assert rate(1, scheduler, warmup=2) == pytest.approx(0.05)
    assert rate(2, scheduler, warmup=2) == rate(2, scheduler)


def stepped(name: str) -> float:
    """A parameter at 1 with gradient 0.5, after one step of lr 0.1 and weight decay 0.2."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(name, [parameter], lr=0.1, weight_decay=0.2)
    parameter.grad = torch.full((1,), 0.5)
    optimizer.step()
    return parameter.item()


def test_one_step_by_hand():
    assert stepped("sgd") == pytest.approx(1 - 0.1 * (0.5 + 0.2))
    assert stepped("adam") == pytest.approx(1 - 0.1)  # Adam's first step is lr whatever the gradient
    assert stepped("adamw") == pytest.approx(1 * (1 - 0.1 * 0.2) - 0.1)


def test_sgd_has_momentum():
    assert make_optimizer("sgd", [nn.Parameter(torch.ones(1))], lr=1, weight_decay=0).param_groups[0]["momentum"] == 0.9


def test_frozen_parameters_are_left_out():
    trained, frozen = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1), requires_grad=False)
    assert make_optimizer("adam", [frozen, trained], lr=1, weight_decay=0).param_groups[0]["params"] == [trained]


# --- schedules of a configuration


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"scheduler": "poly"}, {0: 1.0, 2.5: 0.75**0.9, 5: 0.5**0.9, 7.25: 0.275**0.9}),
        ({"scheduler": "poly", "schedule_by": "epoch"}, {0: 1.0, 0.99: 1.0, 2.5: 0.8**0.9, 7.25: 0.3**0.9}),
        ({"scheduler": "poly", "lr_power": 2.0}, {5: 0.25}),
        ({"scheduler": "step", "milestones": (2, 4), "multistep_gamma": 0.5}, {1: 1.0, 2: 0.5, 4: 0.25}),
        ({"scheduler": "constant", "warmup_epochs": 2.0}, {1: 0.5, 2: 1.0, 9: 1.0}),
    ],
)
def test_options_of_the_schedule(options, expected):
    factor = schedule(Loop(epochs=10, **{"warmup_epochs": 0.0, **options}))
    assert {epoch: factor(epoch) for epoch in expected} == pytest.approx(expected)


def test_every_group_has_its_own_rate():
    slow, fast = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    groups = [{"params": [slow], "lr": 0.1, "weight_decay": 0.0}, {"params": [fast], "lr": 0.4, "weight_decay": 0.0}]
    optimizer = make_optimizer("sgd", groups, lr=0.4, weight_decay=0.5, momentum=0.0)
    for factor in (0.5, 0.25):
        set_rates(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1 * factor, 0.4 * factor])
    slow.grad, fast.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert (slow.item(), fast.item()) == pytest.approx((1 - 0.025, 1 - 0.1))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_momentum(momentum):
    parameter = nn.Parameter(torch.ones(1))
    optimizer = make_optimizer("sgd", [parameter], lr=0.1, weight_decay=0, momentum=momentum)
    for _ in range(2):
        parameter.grad = torch.ones(1)
        optimizer.step()
    assert parameter.item() == pytest.approx(1 - 0.1 - 0.1 * (1 + momentum))
    assert make_optimizer("adamw", [parameter], lr=1, weight_decay=0, momentum=momentum).param_groups[0]["betas"] == (
        momentum,
        0.999,
    )


# --- groups and what is frozen


class Small(nn.Module):
    """An encoder and a decoder of a convolution and a BatchNorm each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.decoder = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def names_by_group(model: nn.Module, **options: object) -> dict[tuple[float, float], set[str]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    given = {"lr": 0.1, "lr_encoder": None, "weight_decay": 0.5, "decay": "all", **options}
    groups = parameter_groups(model, **given)
    return {(group["lr"], group["weight_decay"]): {names[p] for p in group["params"]} for group in groups}


def of(part: str, *numbers: str) -> set[str]:
    return {f"{part}.{number}" for number in numbers}


CONVOLUTION, VECTORS = ("0.weight",), ("0.bias", "1.weight", "1.bias")


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, {(0.1, 0.5): of("encoder", *CONVOLUTION, *VECTORS) | of("decoder", *CONVOLUTION, *VECTORS)}),
        (
            {"lr_encoder": 0.01},
            {(0.01, 0.5): of("encoder", *CONVOLUTION, *VECTORS), (0.1, 0.5): of("decoder", *CONVOLUTION, *VECTORS)},
        ),
        (
            {"decay": "weights"},
            {
                (0.1, 0.5): of("encoder", *CONVOLUTION) | of("decoder", *CONVOLUTION),
                (0.1, 0.0): of("encoder", *VECTORS) | of("decoder", *VECTORS),
            },
        ),
        (
            {"decay": "weights", "lr_encoder": 0.0},
            {
                (0.0, 0.5): of("encoder", *CONVOLUTION),
                (0.0, 0.0): of("encoder", *VECTORS),
                (0.1, 0.5): of("decoder", *CONVOLUTION),
                (0.1, 0.0): of("decoder", *VECTORS),
            },
        ),
    ],
)
def test_groups_by_rate_and_decay(options, expected):
    assert names_by_group(Small(), **options) == expected


def test_learned_ranges_have_a_rate_of_their_own_and_do_not_decay():
    model = Small()
    model.ranges = nn.Module()
    model.ranges.ends = nn.Parameter(torch.zeros(2))
    groups = parameter_groups(model, lr=0.1, lr_encoder=None, weight_decay=0.5, decay="all", lr_ranges=0.01)
    assert [group.get("name") for group in groups] == [RANGES, None]
    for name in ("sgd", "adam", "adamw"):
        first = make_optimizer(name, groups, lr=0.1, weight_decay=0.5).param_groups[0]
        assert (first["params"], first["initial_lr"], first["weight_decay"]) == ([model.ranges.ends], 0.01, 0.0)


def test_frozen_layers_are_in_no_group_and_their_statistics_are_named():
    model = Small()
    assert freeze(model, ()) == []
    assert freeze(model, ("encoder",)) == [model.encoder[1]]
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        f"decoder.{number}" for number in (*CONVOLUTION, *VECTORS)
    ]
    assert names_by_group(model) == {(0.1, 0.5): of("decoder", *CONVOLUTION, *VECTORS)}


def test_freezing_what_is_not_there_or_everything():
    with pytest.raises(UsageError, match=r"--freeze_layers backbone: no parameter has this .* encoder\.0, encoder\.1"):
        freeze(Small(), ("encoder", "backbone"))
    model = Small()
    freeze(model, ("encoder", "decoder"))
    with pytest.raises(UsageError, match="--freeze_layers: every parameter is frozen"):
        names_by_group(model)


# --- the moving average


def moved(model: nn.Module, average: MovingAverage, times: int) -> list[dict[str, torch.Tensor]]:
    """States of the network, which moves a little before each update of the average."""
    states = []
    for _ in range(times):
        model(torch.randn(2, 3, 4, 4))  # moves the statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(model)
        states.append({name: value.clone() for name, value in model.state_dict().items()})
    return states


@pytest.mark.parametrize("decay", [0.15, 0.999])
def test_average_by_hand(decay):
    model = Small()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    average = MovingAverage(model, decay)
    for updates, state in enumerate(moved(model, average, 5)):
        keep = min(decay, (1 + updates) / (10 + updates))
        for name, value in state.items():
            floating = value.is_floating_point()
            expected[name] = keep * expected[name] + (1 - keep) * value if floating else value
    torch.testing.assert_close(average.values, expected)
    assert average.values["encoder.1.num_batches_tracked"].item() == 5


def test_applied_and_given_back():
    model = Small()
    average = MovingAverage(model, 0.9)
    moved(model, average, 3)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    values = {name: value.clone() for name, value in average.values.items()}
    with pytest.raises(ZeroDivisionError), average.applied(model):
        assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
        raise ZeroDivisionError
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, values[name]) for name, value in average.values.items())


def test_average_goes_on_from_a_saved_state():
    model, twin = Small(), Small()
    whole, parts, again = MovingAverage(model, 0.5), MovingAverage(twin, 0.5), MovingAverage(Small(), 0.5)
    torch.manual_seed(2)
    moved(model, whole, 4)
    torch.manual_seed(2)
    moved(twin, parts, 2)
    saved = parts.state_dict()
    assert saved["updates"] == 2
    again.load_state_dict(saved)
    moved(twin, again, 2)
    assert again.updates == whole.updates == 4
    assert all(torch.equal(again.values[name], value) for name, value in whole.values.items())
