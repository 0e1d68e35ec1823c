"""From options to what is minimised, by which optimizer, on which parameters."""

import dataclasses

import pytest
import torch
from torch import nn

from edgeailite.config import Loop, Objective
from edgeailite.data import open_dataset
from edgeailite.data.source import DataSource, DepthTarget, output_channels
from edgeailite.distributed import ALONE, AllReduceBatchNorm2d, Processes
from edgeailite.errors import UsageError
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.training import learner as learner_module
from edgeailite.training.learner import Place, make_learner, make_losses, task_balance, task_options
from edgeailite.training.loss_balancing import Balance, DynamicWeightAverage, GradNorm, Uncertainty
from edgeailite.training.output_losses import TaskOptions

CPU = torch.device("cpu")
MODEL = "deeplabv3plus_mobilenetv2_tv_edgeailite"


@pytest.fixture(scope="module")
def source(miniature) -> DataSource:
    """Classes of the miniature, and a depth that nothing reads."""
    found = open_dataset("streets", miniature, "train")
    return dataclasses.replace(found, targets={**found.targets, "depth": DepthTarget()})


def loss_of(source: DataSource, **options: object) -> dict[str, float]:
    """Losses of some outputs and targets under an objective, by output."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 19, 6, 8, generator=generator)
    outputs = {
        "segmentation": logits,
        "segmentation_deepsup": logits.flip(1),
        "depth": torch.rand(2, 1, 6, 8, generator=generator) * 9 + 1,
    }
    targets = {
        "segmentation": torch.randint(0, 19, (2, 6, 8), generator=generator),
        "depth": torch.rand(2, 6, 8, generator=generator) * 9 + 1,
    }
    losses = make_losses(task_options(Objective(**options), source, CPU), ALONE)
    return {name: value.item() for name, value in losses(outputs, targets).items()}


@pytest.mark.parametrize(
    "options, against",
    [
        ({"loss": "ohem", "ohem_threshold": 0.05}, {}),
        ({"loss": "ohem", "ohem_threshold": 0.01}, {"loss": "ohem", "ohem_threshold": 0.05}),
        ({"loss": "ohem", "ohem_share": 0.9, "ohem_threshold": 0.01}, {"loss": "ohem", "ohem_threshold": 0.01}),
        ({"loss": "focal"}, {}),
        ({"loss": "focal", "focal_gamma": 1.0}, {"loss": "focal"}),
        ({"label_smoothing": 0.1}, {}),
        ({"dice": 0.5}, {}),
        ({"lovasz": 0.5}, {}),
        ({"class_weights": "enet"}, {}),
        ({"class_weights": "median_frequency"}, {"class_weights": "enet"}),
        ({"class_weight_values": (2.0, *[1.0] * 18)}, {}),
        ({"deep_supervision": 0.0}, {}),
    ],
)
def test_options_of_the_loss_of_classes(source, options, against):
    plain = open_dataset_of(source)
    ours, other = loss_of(plain, **options), loss_of(plain, **against)
    assert ours["segmentation"] != pytest.approx(other["segmentation"], rel=1e-4)
    assert ours["depth"] == other["depth"]


def open_dataset_of(source: DataSource) -> DataSource:
    """Without the depth, whose labels do not exist."""
    return dataclasses.replace(source, targets={"segmentation": source.targets["segmentation"]})


def test_weights_of_the_parts_of_depth(source):
    single = [loss_of(source, depth_weights=weights)["depth"] for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert min(single) > 0
    assert loss_of(source, depth_weights=(0.5, 2.0, 3.0))["depth"] == pytest.approx(
        0.5 * single[0] + 2 * single[1] + 3 * single[2], rel=1e-5
    )
    relative = loss_of(source, depth_weights=(0, 0, 0), depth_relative=1.0)["depth"]
    assert loss_of(source, depth_weights=(1, 0, 0), depth_relative=2.0)["depth"] == pytest.approx(
        single[0] + 2 * relative, rel=1e-5
    )


def test_focal_with_gamma_0_is_cross_entropy(source):
    assert loss_of(source, loss="focal", focal_gamma=0.0) == pytest.approx(loss_of(source), rel=1e-5)


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("fixed", Balance),
        ("uncertainty", Uncertainty),
        ("grad_norm", GradNorm),
        ("learned", GradNorm),
        ("dwa", DynamicWeightAverage),
    ],
)
def test_balances(source, kind, expected):
    outputs = output_channels(source)
    assert outputs == {"segmentation": 19, "depth": 1}
    assert type(task_balance(Objective(task_balancing=kind), outputs, ALONE)) is expected
    assert type(task_balance(Objective(task_balancing=kind), {"segmentation": 19}, ALONE)) is Balance


def test_weights_of_outputs(source):
    outputs = output_channels(source)
    balance = task_balance(Objective(task_weights=(2.0, 0.5)), outputs, ALONE)
    assert balance.weights() == {"segmentation": 2.0, "depth": 0.5}
    with pytest.raises(UsageError, match="--task_weights: 1 numbers, expected one for each of segmentation, depth"):
        task_balance(Objective(task_weights=(2.0,)), outputs, ALONE)


def test_class_weights_that_do_not_fit(source):
    with pytest.raises(UsageError, match="--class_weight_values: 2 numbers, expected one for each of the 19 classes"):
        task_options(Objective(class_weight_values=(1.0, 2.0)), source, CPU)
    published = tuple(0.5 + index for index in range(19))
    target = dataclasses.replace(source.targets["segmentation"], class_weights=published)
    for kind in ("published", "auto"):
        known = dataclasses.replace(source, targets={"segmentation": target})
        found = task_options(Objective(class_weights=kind), known, CPU).class_weights
        assert {name: tuple(weights.tolist()) for name, weights in found.items()} == {"segmentation": published}
    target = dataclasses.replace(source.targets["segmentation"], class_weights=None)
    bare = dataclasses.replace(source, targets={"segmentation": target})
    with pytest.raises(UsageError, match="--class_weights published: none are published for segmentation of streets"):
        task_options(Objective(class_weights="published"), bare, CPU)


@pytest.mark.parametrize("kind", ["enet", "median_frequency"])
def test_labels_are_counted_by_the_first_process_for_all(source, monkeypatch, kind):
    objective, plain = Objective(class_weights=kind), open_dataset_of(source)
    expected = task_options(objective, plain, CPU).class_weights["segmentation"]
    asked = []

    def of_first(make, processes):
        asked.append(processes)
        return counted  # what the other process found

    counted = learner_module._count(plain, "segmentation", plain.targets["segmentation"])
    monkeypatch.setattr(learner_module, "from_first", of_first)
    monkeypatch.setattr(learner_module, "_count", lambda *_: pytest.fail("reads the labels"))
    found = task_options(objective, plain, CPU, Processes(1, 2)).class_weights["segmentation"]
    assert torch.equal(found, expected)
    assert asked == [Processes(1, 2)]


# --- the learner


def learner_of(config: Loop, *, processes: Processes = ALONE, balance: Balance | None = None):
    return make_learner(
        create_model(MODEL, 3),
        config,
        losses=lambda outputs, targets: {},
        balance=balance or Balance(["segmentation"]),
        preprocessing=Preprocessing(64, 64),
        place=Place(CPU, processes),
    )


def test_learned_weights_of_outputs_are_trained_without_decay():
    balance = Uncertainty(["segmentation", "depth"])
    learner = learner_of(Loop(weight_decay=0.1), balance=balance)
    *_, last = learner.optimizer.param_groups
    assert [id(p) for p in last["params"]] == [id(balance.log_variances)]
    assert last["weight_decay"] == 0.0


@pytest.mark.parametrize("sync_bn", [True, False])
def test_batchnorm_over_processes_is_an_option(monkeypatch, sync_bn):
    shared = []
    monkeypatch.setattr(
        learner_module, "share_model", lambda model, device, *, same_buffers: shared.append(same_buffers) or model
    )
    learner = learner_of(Loop(sync_bn=sync_bn), processes=Processes(0, 2))
    norms = [module for module in learner.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {isinstance(module, AllReduceBatchNorm2d) for module in norms} == {sync_bn}
    assert shared == [sync_bn]


def test_layout_average_and_limits():
    learner = learner_of(Loop(ema=0.9, clip_grad=2.0, accumulate=3, seed=5, amp="bf16"))
    assert learner.average is not None
    assert (learner.average.decay, learner.clip_grad, learner.accumulate, learner.seed) == (0.9, 2.0, 3, 5)
    assert learner.amp is torch.bfloat16
    weight = learner.model.encoder.get_parameter(next(n for n, p in learner.model.encoder.named_parameters()))
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert learner_of(Loop(channels_last=False, amp="off")).amp is None


def test_defaults_of_the_losses_are_those_of_the_options(source):
    assert task_options(Objective(), source, CPU) == TaskOptions()
