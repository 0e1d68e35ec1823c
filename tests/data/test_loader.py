"""Batches: what they hold depends on (seed, epoch, index) alone; errors of loader processes read as any other."""

import dataclasses
import os
import signal

import cv2
import numpy as np
import pytest
import torch

from edgeailite.data import open_dataset
from edgeailite.data.augment.ade20k import Ade20kTransform
from edgeailite.data.augment.extras import Extras
from edgeailite.data.augment.published import PublishedTransform
from edgeailite.data.augment.transforms import EvalTransform, TrainTransform
from edgeailite.data.files.images import write_png
from edgeailite.data.loader import EpochBatches, Samples, eval_loader, train_loader
from edgeailite.data.samples import worker_count
from edgeailite.data.source import Item, segmentation
from edgeailite.errors import DataError

VIEW = TrainTransform((64, 64), (48, 48))
WORKERS = [0, 2]
EVERYTHING = Extras(color_jitter=0.3, blur=1.0, cutout=0.3)
PIPELINES = {
    "affine": TrainTransform((64, 64), (48, 48), extras=EVERYTHING, balanced_crops=3),
    "published": PublishedTransform((40, 48), (32, 40), extras=EVERYTHING, balanced_crops=3),
    "ade20k": Ade20kTransform((32, 40, 48), extras=EVERYTHING),
}


def kill_the_process(images, targets, rng):
    """A transform during which the loader process dies as if the system had run out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def epoch_of(
    root, epoch: int, *, seed: int = 1, skip: int = 0, workers: int = 0, view=VIEW, start_method: str | None = None
) -> list[tuple[torch.Tensor, ...]]:
    """(images, labels) of every batch of an epoch."""
    loader, batches = train_loader(
        open_dataset("streets", root, "train"),
        view,
        batch_size=2,
        seed=seed,
        workers=workers,
        start_method=start_method,
    )
    batches.epoch, batches.skip = epoch, skip
    return [(images[0], targets["segmentation"]) for images, targets in loader]


def same(first, second) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second) for a, b in zip(one, other, strict=True)
    )


def test_samples_follow_the_contract(miniature):
    samples = Samples(open_dataset("streets", miniature, "train"), VIEW, seed=1)
    (image,), targets = samples[0, 3]
    assert len(samples) == 6
    assert (image.shape, image.dtype) == ((3, 48, 48), torch.uint8)
    assert list(targets) == ["segmentation"]
    assert (targets["segmentation"].shape, targets["segmentation"].dtype) == ((48, 48), torch.int64)
    assert set(targets["segmentation"].unique().tolist()) <= {0, 2, 10, 13, 255}


def test_workers_change_nothing_and_epochs_differ(miniature):
    alone = [epoch_of(miniature, epoch) for epoch in (0, 1)]
    assert same(alone[1], epoch_of(miniature, 1, workers=2))
    assert not same(alone[0], alone[1])
    assert not same(alone[0], epoch_of(miniature, 0, seed=2))
    assert [len(epoch) for epoch in alone] == [3, 3]


SPAWNED = [("ade20k", 1, "spawn"), ("published", 2, "spawn")]  # a spawned process takes seconds to start
SPAWNED_SLOWLY = [
    pytest.param(name, n, "spawn", marks=pytest.mark.slow)
    for name in PIPELINES
    for n in (1, 2, 4)
    if (name, n, "spawn") not in SPAWNED
]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker:UserWarning")  # on fewer cores
@pytest.mark.parametrize(
    "name, workers, start_method",
    [*((name, n, "fork") for name in PIPELINES for n in (1, 2, 4)), *SPAWNED, *SPAWNED_SLOWLY],
)
def test_every_pipeline_is_a_function_of_seed_epoch_and_index(miniature, name, workers, start_method):
    """Any number of loader processes, however they are started, and a resume in mid-epoch see the same tensors."""
    view = PIPELINES[name]
    whole = epoch_of(miniature, 3, view=view)
    assert len(whole) == 3
    resumed = epoch_of(miniature, 3, view=view, skip=1, workers=workers, start_method=start_method)
    assert same(resumed, whole[1:])
    if start_method == "fork":
        assert same(epoch_of(miniature, 3, view=view, workers=workers, start_method=start_method), whole)
        assert not same(epoch_of(miniature, 4, view=view), whole)


def test_batches_of_the_ade20k_pipeline_share_a_short_edge_and_are_padded(miniature):
    edges = set()
    for epoch in range(6):
        for images, labels in epoch_of(miniature, epoch, view=Ade20kTransform((30, 45), padding=32)):
            edges.add(images.shape[-1])
            assert images.shape[-2:] == labels.shape[-2:]
            side = {32: 30, 64: 45}[images.shape[-1]]
            assert (labels[:, side:] == 255).all()
            assert (labels[:, :side, :side] != 255).all()
            assert (images[..., side:] == 128).all()
    assert edges == {32, 64}


def test_a_file_that_is_removed_in_mid_epoch_is_named(own_miniature):
    loader, _ = train_loader(open_dataset("streets", own_miniature, "train"), VIEW, batch_size=2, seed=1, workers=0)
    batches = iter(loader)
    next(batches)
    for path in own_miniature.glob("leftImg8bit/train/*/*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"_leftImg8bit\.png: cannot be read \(No such file or directory\)"):
        list(batches)


def test_ignored_pictures_make_batches_as_others_do(own_miniature):
    for path in own_miniature.glob("gtFine/train/*/*.png"):
        write_png(path, np.zeros((64, 64), np.uint8))  # label id 0: unlabeled
    for view in PIPELINES.values():
        assert all((labels == 255).all() for _, labels in epoch_of(own_miniature, 0, view=view))


def test_colours_change_the_cameras_picture_only(tmp_path):
    rng = np.random.default_rng(1)
    paths = [tmp_path / f"{name}.png" for name in ("flow", "camera", "mask")]
    for path in paths[:2]:
        write_png(path, rng.integers(60, 190, (32, 32, 3), np.uint8))
    write_png(paths[2], np.zeros((32, 32), np.uint8))
    item = Item((paths[0], paths[1]), {"segmentation": paths[2]}, camera=1)
    source = segmentation("two", "train", (item,), ("a",), ((0, 0, 0),), {0: 0})
    plain = TrainTransform((32, 32), (32, 32))
    (flow, camera), _ = Samples(source, plain, seed=1)[0, 0]
    (same_flow, other), _ = Samples(source, dataclasses.replace(plain, extras=Extras(color_jitter=0.3)), seed=1)[0, 0]
    assert torch.equal(flow, same_flow)
    assert not torch.equal(camera, other)


def test_loader_processes_that_stay_follow_epoch_and_skip(miniature):
    loader, batches = train_loader(open_dataset("streets", miniature, "train"), VIEW, batch_size=2, seed=1, workers=1)
    for epoch, skip in ((0, 2), (1, 0)):
        batches.epoch, batches.skip = epoch, skip
        assert len(loader) == 3 - skip
        seen = [(images[0], targets["segmentation"]) for images, targets in loader]
        assert same(seen, epoch_of(miniature, epoch, skip=skip))


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_skipping_goes_on_in_the_same_order(miniature, skip):
    assert same(epoch_of(miniature, 4, skip=skip), epoch_of(miniature, 4)[skip:])


def test_an_epoch_sees_each_picture_once_and_drops_the_incomplete_batch():
    batches = EpochBatches(10, 3, seed=7)
    orders = []
    for epoch in range(3):
        batches.epoch = epoch
        keys = [key for batch in batches for key in batch]
        assert {key[0] for key in keys} == {epoch}
        orders.append([key[1] for key in keys])
        assert len(set(orders[-1])) == 9
    assert orders[0] != orders[1] != orders[2]


def test_batch_larger_than_the_data_set():
    with pytest.raises(DataError, match="5 pictures give no batch of 6; lower --batch_size or add pictures"):
        EpochBatches(5, 6, seed=1)


@pytest.mark.parametrize("workers", WORKERS)
def test_validation_is_in_order_at_label_size(miniature, workers):
    source = open_dataset("streets", miniature, "val")
    seen = list(eval_loader(source, EvalTransform((32, 48)), batch_size=1, workers=workers))
    assert [images[0].shape for images, _ in seen] == [(1, 3, 32, 48)] * 2
    samples = Samples(source, EvalTransform((32, 48)), seed=0)
    for index, (images, targets) in enumerate(seen):
        assert torch.equal(images[0][0], samples[0, index][0][0])
        assert targets["segmentation"].shape == (1, 64, 64)
    [(_, targets)] = eval_loader(source, EvalTransform((32, 48)), batch_size=1, workers=workers, indices=[1])
    assert torch.equal(targets["segmentation"], seen[1][1]["segmentation"])


@pytest.mark.parametrize("workers", WORKERS)
def test_labels_of_other_sizes_split_a_batch(own_miniature, workers):
    """Sizes 64, 64, 48, 64, 64, 64 in batches of 4: a batch holds its neighbours of one size, nothing is lost."""
    source = open_dataset("streets", own_miniature, "train")
    for path in (source.items[2].image, source.items[2].label):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:48]
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    found = list(eval_loader(source, EvalTransform((32, 48)), batch_size=4, workers=workers))
    assert [tuple(targets["segmentation"].shape[:2]) for _, targets in found] == [(2, 64), (1, 48), (1, 64), (2, 64)]
    single = list(eval_loader(source, EvalTransform((32, 48)), batch_size=1, workers=0))
    assert torch.equal(torch.cat([images[0] for images, _ in found]), torch.cat([images[0] for images, _ in single]))
    labels = [label for _, targets in found for label in targets["segmentation"]]
    assert all(torch.equal(a, b["segmentation"][0]) for a, (_, b) in zip(labels, single, strict=True))


def failure(loader) -> str:
    """The error of a pass. Keeps no traceback, which would hold loader processes until Python looks for cycles."""
    try:
        list(loader)
    except DataError as error:
        return str(error)
    pytest.fail("no error")


@pytest.mark.parametrize("workers", WORKERS)
def test_damaged_file_is_one_line_from_any_process(own_miniature, workers):
    source = open_dataset("streets", own_miniature, "train")
    source.items[3].image.write_bytes(b"text")
    loader, _ = train_loader(source, VIEW, batch_size=2, seed=1, workers=workers)
    message = failure(loader)
    assert message.startswith(f"{source.items[3].image}: not a readable picture (4 bytes)")
    assert "\n" not in message


def test_mask_of_another_size_is_named_with_both_sizes(own_miniature):
    source = open_dataset("streets", own_miniature, "val")
    write_png(source.items[1].label, np.full((32, 64), 7, np.uint8))
    with pytest.raises(DataError, match=r"gtFine_labelIds\.png: mask is 64x32 but .*\.png is 64x64"):
        list(eval_loader(source, EvalTransform((32, 32)), batch_size=1, workers=0))


def test_killed_loader_process_is_an_error_not_a_hang(miniature):
    loader, _ = train_loader(
        open_dataset("streets", miniature, "train"), kill_the_process, batch_size=2, seed=1, workers=1
    )
    message = failure(loader)
    assert "DataLoader worker (pid" in message
    assert message.endswith("lower --workers or --batch_size")
    assert "\n" not in message


def test_worker_count():
    assert worker_count(0) == 0
    assert worker_count(3) == 3
    assert 0 <= worker_count("auto") <= 8


@pytest.mark.parametrize("workers", WORKERS)
def test_loading_leaves_the_generator_of_torch_alone(miniature, workers):
    """Dropout draws from it: a resumed epoch, which starts a loader in its middle, must not shift it."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    epoch_of(miniature, 0, workers=workers)
    list(eval_loader(open_dataset("streets", miniature, "val"), VIEW, batch_size=1, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def mark_ignored_interrupt(images, targets, rng):
    """A transform whose label says whether Ctrl-C would stop this process."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    return images, {name: np.full_like(label, ignored) for name, label in targets.items()}


def test_loader_processes_leave_ctrl_c_to_the_training(miniature):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    source = open_dataset("streets", miniature, "train")
    for loader in (
        train_loader(source, mark_ignored_interrupt, batch_size=2, seed=1, workers=1)[0],
        eval_loader(source, mark_ignored_interrupt, batch_size=2, workers=1),
    ):
        assert all((targets["segmentation"] == 1).all() for _, targets in loader)
    assert signal.signal(signal.SIGINT, before) == signal.default_int_handler
