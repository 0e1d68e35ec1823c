"""Which losses train which output, their weights, and the division by the mass of several processes."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeailite.errors import UsageError
from edgeailite.models import create_model
from edgeailite.training.losses import dice, focal, lovasz_softmax, ohem
from edgeailite.training.output_losses import (
    PIXEL_LOSSES,
    Distillation,
    TaskOptions,
    as_targets,
    distillation_losses,
    loss_values,
    output_losses,
)


def predictions() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs of a network with three tasks for 4 pictures of 6x5, and targets with unknown pixels."""
    generator = torch.Generator().manual_seed(7)
    shape = (4, 6, 5)
    outputs = {
        "segmentation": torch.randn(4, 5, 6, 5, generator=generator),
        "depth": 20 + torch.randn(4, 1, 6, 5, generator=generator),
        "motion": torch.randn(4, 2, 6, 5, generator=generator),
    }
    targets = {
        "segmentation": torch.randint(0, 5, shape, generator=generator),
        "depth": 20 + torch.randn(shape, generator=generator),
        "motion": torch.randint(0, 2, shape, generator=generator),
    }
    for name, target in targets.items():
        target[torch.rand(shape, generator=generator) < 0.3] = 0 if name == "depth" else 255
    targets["segmentation"][2:, 2:] = 255  # the later pictures have fewer labels: means of halves are not the mean
    return {name: output.requires_grad_() for name, output in outputs.items()}, targets


def test_each_output_has_the_loss_of_its_task():
    outputs, targets = predictions()
    values = loss_values(output_losses(outputs, targets, TaskOptions()))
    assert list(values) == ["segmentation", "depth", "motion"]
    for name in ("segmentation", "motion"):
        expected = F.cross_entropy(outputs[name], targets[name], ignore_index=255)
        assert values[name].item() == pytest.approx(expected.item(), rel=1e-6)
    error = [
        (prediction - target)[target > 0]
        for prediction, target in zip(outputs["depth"][:, 0].detach(), targets["depth"], strict=True)
    ]
    smooth = F.smooth_l1_loss(torch.cat(error), torch.zeros_like(torch.cat(error)))
    scale = torch.stack([e.mean().abs() for e in error]).mean()
    spread = torch.stack([e.std(correction=0) for e in error]).mean()
    expected = 0.125 * smooth + 0.125 * scale + 4 * spread
    assert values["depth"].item() == pytest.approx(expected.item(), abs=5e-3)  # Charbonnier's 1e-3 m, 4.125 times


def test_class_weights_belong_to_their_output():
    outputs, targets = predictions()
    weight = torch.tensor([0.2, 3.0])
    values = loss_values(output_losses(outputs, targets, TaskOptions(class_weights={"motion": weight})))
    plain = loss_values(output_losses(outputs, targets, TaskOptions()))
    expected = F.cross_entropy(outputs["motion"], targets["motion"], weight, ignore_index=255)
    assert values["motion"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert values["segmentation"].item() == plain["segmentation"].item()


@pytest.mark.parametrize("kind", PIXEL_LOSSES)
def test_dice_and_lovasz_are_added_to_the_pixel_loss(kind):
    outputs, targets = predictions()
    pair = outputs["segmentation"], targets["segmentation"]
    options = {"segmentation": kind, "focal_gamma": 1.5, "ohem_threshold": 0.2, "ohem_min_share": 0.1}
    main = {
        "cross_entropy": partial(focal, gamma=0.0),
        "ohem": partial(ohem, threshold=0.2, min_share=0.1),
        "focal": partial(focal, gamma=1.5),
    }[kind]
    losses = output_losses(outputs, targets, TaskOptions(dice=0.5, lovasz=2.0, **options))
    expected = main(*pair).mean() + 0.5 * dice(*pair).mean() + 2 * lovasz_softmax(*pair).mean()
    assert loss_values(losses)["segmentation"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert [len(terms) for terms in losses.values()] == [3, 3, 3]


def test_deep_supervision_counts_at_its_weight():
    outputs, targets = predictions()
    auxiliary = torch.randn(4, 5, 6, 5)
    with_auxiliary = {**outputs, "segmentation_deepsup": auxiliary}
    values = loss_values(output_losses(with_auxiliary, targets, TaskOptions()))
    main, added = (
        F.cross_entropy(x, targets["segmentation"], ignore_index=255) for x in (outputs["segmentation"], auxiliary)
    )
    assert list(values) == list(outputs)
    assert values["segmentation"].item() == pytest.approx((main + 0.4 * added).item(), rel=1e-6)
    without = output_losses(with_auxiliary, targets, TaskOptions(deep_supervision=0.0))
    assert [term.weight for term in without["segmentation"]] == [1.0]
    with_dice = output_losses(with_auxiliary, targets, TaskOptions(dice=2.0, deep_supervision=0.5))
    assert [term.weight for term in with_dice["segmentation"]] == [1.0, 2.0, 0.5, 1.0]


def test_a_real_network_with_deep_supervision_trains_in_every_output():
    model = create_model("resnet18dilated_ppm_deepsup", 4)
    image, target = torch.randn(2, 3, 64, 64), torch.randint(0, 4, (2, 64, 64))
    losses = output_losses(model(image), {"segmentation": target}, TaskOptions())
    assert [term.weight for term in losses["segmentation"]] == [1.0, 0.4]
    loss_values(losses)["segmentation"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_two_processes_together_have_the_loss_and_gradient_of_the_whole_batch():
    outputs, targets = predictions()
    options = TaskOptions(class_weights={"segmentation": torch.tensor([1.0, 2, 3, 4, 5])})
    whole = loss_values(output_losses(outputs, targets, options))
    parts = [
        output_losses(
            {k: v[i : i + 2] for k, v in outputs.items()}, {k: v[i : i + 2] for k, v in targets.items()}, options
        )
        for i in (0, 2)
    ]
    masses = [torch.stack([term.loss.mass for terms in part.values() for term in terms]) for part in parts]
    calls = []

    def mean_over_processes(own: Tensor) -> Tensor:
        calls.append(own)
        return (masses[0] + masses[1]) / 2

    values = [loss_values(part, reduce=mean_over_processes) for part in parts]
    assert [len(call) for call in calls] == [5, 5], "one vector per process"
    for name, value in whole.items():
        both = (values[0][name] + values[1][name]) / 2
        assert both.item() == pytest.approx(value.item(), rel=1e-5)
        gradients = [torch.autograd.grad(x, outputs[name], retain_graph=True)[0] for x in (both, value)]
        torch.testing.assert_close(*gradients)
    assert values[0]["segmentation"].item() != pytest.approx(values[1]["segmentation"].item(), rel=0.1)


def test_a_teacher_counts_at_its_weight_and_by_the_pixels_of_all_processes():
    outputs, _ = predictions()
    teacher = as_targets({name: output.detach() + 1 + output.detach() ** 2 for name, output in outputs.items()})
    whole = distillation_losses(outputs, teacher, Distillation(0.5))
    assert list(whole) == list(outputs)
    assert loss_values(whole)["depth"].item() == pytest.approx(
        0.5 * (1 + outputs["depth"] ** 2).mean().item(), rel=1e-5
    )
    parts = [
        distillation_losses(
            {k: v[a:b] for k, v in outputs.items()}, {k: v[a:b] for k, v in teacher.items()}, Distillation(0.5)
        )
        for a, b in ((0, 3), (3, 4))
    ]
    masses = [torch.stack([term.loss.mass for terms in part.values() for term in terms]) for part in parts]
    values = [loss_values(part, reduce=lambda own: (masses[0] + masses[1]) / 2) for part in parts]
    for name, value in loss_values(whole).items():
        assert ((values[0][name] + values[1][name]) / 2).item() == pytest.approx(value.item(), rel=1e-5)


def test_an_output_without_labels_is_zero():
    outputs, targets = predictions()
    targets["motion"] = torch.full_like(targets["motion"], 255)
    values = loss_values(output_losses(outputs, targets, TaskOptions(dice=1.0, lovasz=1.0)))
    values["motion"].backward()
    assert values["motion"].item() == 0
    assert (outputs["motion"].grad == 0).all()


def test_what_has_weight_zero_is_left_out():
    outputs, targets = predictions()
    losses = output_losses(outputs, targets, TaskOptions(depth=(0.0, 0.0, 1.0)))
    assert [term.weight for term in losses["depth"]] == [1.0]
    both = output_losses(outputs, targets, TaskOptions(depth=(0.0, 0.0, 1.0), depth_relative=2.0))
    assert [term.weight for term in both["depth"]] == [1.0, 2.0]
    alone = output_losses(outputs, targets, TaskOptions(depth=(0.0, 0.0, 0.0), depth_relative=2.0))
    assert [term.weight for term in alone["depth"]] == [2.0]


def test_an_output_without_target_is_named():
    outputs, targets = predictions()
    del targets["motion"]
    with pytest.raises(UsageError, match="output 'motion' has no target; targets are segmentation, depth"):
        output_losses(outputs, targets, TaskOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segmentation": "hinge"}, "'hinge' is unknown; known are cross_entropy, ohem, focal"),
        ({"dice": -1.0}, "dice is -1.0; expected 0 or more"),
        ({"lovasz": float("nan")}, "lovasz is nan; expected 0 or more"),
        ({"depth": (1.0, -1.0, 1.0)}, "expected weights of 0 or more"),
        ({"depth": (0.0, 0.0, 0.0)}, "one of them above 0"),
        ({"ohem_threshold": 0.0}, "ohem_threshold is 0.0; expected above 0, at most 1"),
        ({"ohem_min_share": 1.5}, "ohem_min_share is 1.5"),
        ({"deep_supervision": -0.4}, "deep_supervision is -0.4"),
        ({"focal_gamma": -2.0}, "focal_gamma is -2.0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; expected from 0 to below 1"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(UsageError, match=message):
        TaskOptions(**options)
