"""Predictions of small known functions at label size, and what they are counted as."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgeailite.errors import UsageError
from edgeailite.evaluation import ClassTally, DepthTally, Views, class_maps, evaluate, merge, outputs_at

TASKS = {"segmentation": 3, "depth": None, "motion": 2}
PICTURE = (torch.zeros(1, 3, 2, 2, dtype=torch.uint8),)


def pictures(count: int, *, size: tuple[int, int] = (6, 8), inputs: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8) for _ in range(inputs)
    )


def pointwise(images: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Three outputs that depend on each pixel of both inputs alone: mirrored pictures give mirrored results."""
    first, last = images[0].float() / 64, images[-1].float() / 64
    return {
        "segmentation": first + last.flip(1),
        "depth": 1 + first[:, :1] + last[:, 1:2],
        "motion": torch.stack([first[:, 0], last[:, 1]], 1),
    }


def samples(count: int, *, seed: int = 0) -> list:
    """Batches of one with two input pictures, labels with ignored pixels and depth that is not known everywhere."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        targets = {
            "segmentation": torch.from_numpy(rng.choice([0, 1, 2, 255], (1, 9, 10))),
            "depth": torch.from_numpy(rng.uniform(-3, 20, (1, 9, 10)).clip(0).astype(np.float32)),
            "motion": torch.from_numpy(rng.choice([0, 1, 255], (1, 9, 10))),
        }
        found.append((pictures(1, inputs=2, seed=index), targets))
    return found


def test_evaluation_counts_at_label_size():
    """Logits at half the size of the label, brighter on one side: bilinear, then argmax."""
    label = torch.tensor([[[0, 0, 1, 1]] * 3 + [[0, 1, 255, 1]]])

    def predict(images: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {"segmentation": torch.tensor([[[[1.0, -1.0]] * 2, [[-1.0, 1.0]] * 2]])}

    seen: list = []
    tally = evaluate(predict, [(PICTURE, {"segmentation": label})] * 2, {"segmentation": 2}, on_picture=seen.append)
    assert tally["segmentation"].confusion.tolist() == [[14, 0], [2, 14]]
    assert [part["segmentation"].confusion.tolist() for part in seen] == [[[7, 0], [1, 7]]] * 2


def test_class_maps_of_a_file_with_argmax_are_taken_as_they_are():
    labels = torch.tensor([[[3, 1], [0, 2]]], dtype=torch.uint8)
    enlarged = class_maps(lambda images: {"motion": labels}, PICTURE, (4, 4), output="motion")
    assert np.array_equal(enlarged, np.kron(labels.numpy(), np.ones((1, 2, 2), np.int64)))
    with pytest.raises(UsageError, match=r"output motion: a file with ArgMax .* export RUN --argmax none"):
        class_maps(lambda images: {"motion": labels}, PICTURE, (4, 4), output="motion", views=Views(flip=True))


def test_every_output_by_hand():
    [(images, targets)] = samples(1)
    tally = evaluate(pointwise, [(images, targets)], TASKS)
    for name, classes in (("segmentation", 3), ("motion", 2)):
        logits = torch.nn.functional.interpolate(pointwise(images)[name], (9, 10), mode="bilinear")
        expected = np.zeros((classes, classes), np.int64)
        for truth, guess in zip(targets[name].ravel().tolist(), logits.argmax(1).ravel().tolist(), strict=True):
            if truth != 255:
                expected[truth, guess] += 1
        assert np.array_equal(tally[name].confusion, expected)
    depth = torch.nn.functional.interpolate(pointwise(images)["depth"], (9, 10), mode="bilinear")[:, 0]
    known = targets["depth"] > 0
    gap = (depth - targets["depth"])[known].double()
    result = tally["depth"].scores()
    assert result.ard == pytest.approx(float((gap.abs() / targets["depth"][known]).mean()))
    assert result.rmse == pytest.approx(float(gap.square().mean().sqrt()))


def test_outputs_without_a_task_are_left_out():
    assert set(evaluate(pointwise, samples(1), {"motion": 2})) == {"motion"}


@given(st.lists(st.integers(0, 3), min_size=7, max_size=7), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_parts_of_a_split_merge_to_the_whole_to_the_last_bit(owners, seed):
    data = samples(7, seed=seed)
    whole = evaluate(pointwise, data, TASKS, boundary=True)
    shards = [[sample for sample, owner in zip(data, owners, strict=True) if owner == part] for part in range(4)]
    merged = merge([evaluate(pointwise, shard, TASKS, boundary=True) for shard in shards])
    for name, part in whole.items():
        other = merged[name]
        if isinstance(part, DepthTally):
            assert other.scores() == part.scores()
            continue
        assert isinstance(other, ClassTally)
        assert np.array_equal(other.confusion, part.confusion)
        assert (other.scores(), other.boundary_iou(), other.boundary_f()) == (
            part.scores(),
            part.boundary_iou(),
            part.boundary_f(),
        )


def test_batches_are_pictures_one_by_one():
    data = samples(4)
    batch = (
        tuple(torch.cat([images[stream] for images, _ in data]) for stream in range(2)),
        {name: torch.cat([targets[name] for _, targets in data]) for name in TASKS},
    )
    one_by_one, together = evaluate(pointwise, data, TASKS), evaluate(pointwise, [batch], TASKS)
    assert together["depth"] == one_by_one["depth"]
    assert np.array_equal(together["motion"].confusion, one_by_one["motion"].confusion)


def test_mirroring_changes_nothing_for_a_symmetric_network():
    images = pictures(2, inputs=2)
    plain = outputs_at(pointwise, images, (6, 8))
    flipped = outputs_at(pointwise, images, (6, 8), views=Views(flip=True))
    for name in TASKS:
        expected = plain[name] if name == "depth" else plain[name].softmax(1)
        torch.testing.assert_close(flipped[name], expected)


def test_views_average_shares_at_the_size_of_the_labels():
    """By hand: each view's logits go to the size of the labels, then softmax, then the mean."""
    images = pictures(1, size=(64, 96))
    shares = []
    for height, width in ((64, 96), (32, 48)):
        small = torch.nn.functional.interpolate(images[0].float(), (height, width), mode="bilinear").round()
        for mirrored in (False, True):
            logits = uneven((small.flip(3) if mirrored else small,))["segmentation"]
            logits = logits.flip(3) if mirrored else logits
            shares.append(torch.nn.functional.interpolate(logits, (50, 70), mode="bilinear").softmax(1))
    found = outputs_at(uneven, images, (50, 70), views=Views((1.0, 0.5), flip=True))["segmentation"]
    torch.testing.assert_close(found, torch.stack(shares).mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 50, 70))


def uneven(images: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Logits that grow to the right: mirroring and sizes matter."""
    image = images[0].float() / 128
    return {"segmentation": image * torch.linspace(0, 1, image.shape[3])}


def test_no_pictures_is_an_empty_tally():
    tally = evaluate(pointwise, [], TASKS)
    assert tally["segmentation"].confusion.shape == (3, 3)
    assert tally["depth"] == DepthTally()
    with pytest.raises(ValueError, match="merge: no parts"):
        merge([])


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "codes with ties"])
@pytest.mark.parametrize("sizes", [(8, 12, 8, 12), (8, 12, 33, 47), (64, 96, 37, 51), (16, 16, 1, 400), (7, 5, 720, 3)])
@pytest.mark.parametrize("classes", [2, 5, 19])
def test_class_maps_are_argmax_of_resized_logits(classes, sizes, quantized):
    logits = torch.randn(2, classes, *sizes[:2], generator=torch.Generator().manual_seed(classes))
    logits = (4 * logits).round() / 4 if quantized else logits
    found = class_maps(lambda images: {"segmentation": logits}, PICTURE, sizes[2:], output="segmentation")
    whole = torch.nn.functional.interpolate(logits, sizes[2:], mode="bilinear", align_corners=False)
    assert np.array_equal(found, whole.numpy().argmax(1))
