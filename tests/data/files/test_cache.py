"""A cache changes no byte of a training, and is not used when it is stale or damaged."""

import json
import os
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from edgeailite.commands.data_cache import run
from edgeailite.config import DataCacheConfig
from edgeailite.data import open_dataset
from edgeailite.data.augment.ade20k import Ade20kTransform
from edgeailite.data.augment.extras import Extras
from edgeailite.data.augment.published import PublishedTransform
from edgeailite.data.augment.transforms import TrainTransform
from edgeailite.data.files.cache import DATA, INDEX, cache_folder, open_cache, write_cache
from edgeailite.data.files.images import write_png
from edgeailite.data.loader import Samples, train_loader
from edgeailite.data.source import DataSource, DepthTarget, Item, segmentation
from edgeailite.errors import DataError, UsageError

EXTRAS = Extras(color_jitter=0.3, blur=1.0, cutout=0.2)
PIPELINES = {
    "affine": TrainTransform((40, 48), (32, 32), extras=EXTRAS),
    "affine, area": TrainTransform((40, 48), (32, 32), interpolation="area"),
    "affine, as stored": TrainTransform((64, 64), (48, 48)),
    "published": PublishedTransform((40, 48), (32, 32), extras=EXTRAS),
    "ade20k": Ade20kTransform((32, 64), extras=EXTRAS),
}


def train_of(root) -> DataSource:
    return open_dataset("streets", root, "train")


def equal(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True)) and all(
        torch.equal(first[1][name], second[1][name]) for name in first[1] | second[1]
    )


def write(source, folder, transform):
    write_cache(source, folder, size=transform.stored, interpolation=transform.interpolation)
    return open_cache(source, folder, size=transform.stored, interpolation=transform.interpolation)


@pytest.mark.parametrize("transform", PIPELINES.values(), ids=PIPELINES)
def test_samples_are_the_same_bytes(miniature, tmp_path, transform):
    source = train_of(miniature)
    cached = write(source, tmp_path, transform)
    for epoch in range(3):
        for index in range(len(source.items)):
            plain = Samples(source, transform, seed=1)[epoch, index]
            assert equal(Samples(cached, transform, seed=1)[epoch, index], plain)


def test_batches_from_loader_processes_are_the_same_and_a_map_is_not_pickled(miniature, tmp_path):
    source, transform = train_of(miniature), PIPELINES["affine"]
    cached = write(source, tmp_path, transform)
    cached.read(0)
    assert len(pickle.dumps(cached)) < 20_000
    plain, again = (
        list(train_loader(s, transform, batch_size=2, seed=1, workers=w)[0]) for s, w in ((source, 0), (cached, 2))
    )
    assert all(equal(a, b) for a, b in zip(plain, again, strict=True))


def test_depth_and_what_is_not_known_survive(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(2)]
    for path in paths:
        write_png(path, np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8))
    items = tuple(Item((path, path), {"depth": index}) for index, path in enumerate(paths))
    source = DataSource("depths", "train", items, {"depth": DepthTarget(read=depth_of)})
    cached = write(source, tmp_path / "cache", PIPELINES["affine"])
    images, targets = cached.read(1)
    assert len(images) == 2
    assert targets["depth"].dtype == np.float32
    assert set(np.unique(targets["depth"])) == {0, 1.5}


def depth_of(label) -> np.ndarray:
    return np.where(np.arange(30) < 15, 0, label + 0.5).astype(np.float32) + np.zeros((20, 1), np.float32)


def test_a_current_cache_is_left_and_a_stale_one_replaced(own_miniature, tmp_path):
    source = train_of(own_miniature)
    folder = write_cache(source, tmp_path, size=(32, 32))
    before = (folder / DATA).stat().st_mtime_ns
    assert write_cache(source, tmp_path, size=(32, 32)) == folder
    assert (folder / DATA).stat().st_mtime_ns == before
    write_png(source.items[0].image, np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="stale, files of streets have changed"):
        open_cache(source, tmp_path, size=(32, 32))
    write_cache(source, tmp_path, size=(32, 32))
    assert not open_cache(source, tmp_path, size=(32, 32)).read(0)[0][0].any()
    assert [path.name for path in tmp_path.iterdir() if path.name != "data"] == [folder.name]


def touch(source) -> None:
    os.utime(source.items[2].label, (1, 1))


def remove_a_pair(source) -> None:
    for path in (source.items[5].image, source.items[5].label):
        path.unlink()


@dataclass(frozen=True)
class Drawing:
    """A label that is no file."""

    outlines: tuple[np.ndarray, ...]


def test_a_label_that_is_drawn_is_watched_too(tmp_path):
    picture = tmp_path / "a.png"
    write_png(picture, np.zeros((8, 8, 3), np.uint8))

    def source(last: float) -> DataSource:
        outline = np.append(np.zeros(5000), last)
        item = Item((picture,), {"segmentation": Drawing((outline,))})
        return segmentation("drawn", "train", (item,), ("a",), ((0, 0, 0),), {0: 0}, drawn)

    write_cache(source(1.0), tmp_path / "cache", size=None)
    assert open_cache(source(1.0), tmp_path / "cache", size=None).read(0)[1]["segmentation"].shape == (8, 8)
    with pytest.raises(DataError, match="stale"):
        open_cache(source(2.0), tmp_path / "cache", size=None)


def drawn(label: Drawing) -> np.ndarray:
    return np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize("change", [touch, remove_a_pair])
def test_any_change_of_a_file_is_noticed(own_miniature, tmp_path, change):
    source = train_of(own_miniature)
    write_cache(source, tmp_path, size=None)
    change(source)
    with pytest.raises(DataError, match="stale"):
        open_cache(train_of(own_miniature), tmp_path, size=None)


def test_a_cache_of_another_size_rule_or_split_is_not_taken(miniature, tmp_path):
    source = train_of(miniature)
    write_cache(source, tmp_path, size=(32, 32))
    for other, size, rule in (
        (source, (32, 48), "linear_exact"),
        (source, (32, 32), "area"),
        (source, None, "linear_exact"),
        (open_dataset("streets", miniature, "val"), (32, 32), "linear_exact"),
    ):
        with pytest.raises(DataError, match=r"no cache streets_\w+ in it; write it with `edgeailite data cache"):
            open_cache(other, tmp_path, size=size, interpolation=rule)


def flip_a_byte(folder) -> None:
    data = bytearray((folder / DATA).read_bytes())
    data[100] ^= 1
    (folder / DATA).write_bytes(data)


def cut_off(folder) -> None:
    (folder / DATA).write_bytes((folder / DATA).read_bytes()[:-1])


def no_data(folder) -> None:
    (folder / DATA).unlink()


def no_index(folder) -> None:
    (folder / INDEX).unlink()


def cut_index(folder) -> None:
    (folder / INDEX).write_text((folder / INDEX).read_text()[:50])


def other_format(folder) -> None:
    (folder / INDEX).write_text(json.dumps(json.loads((folder / INDEX).read_text()) | {"format": 99}))


@pytest.mark.parametrize(
    "row",
    [
        None, [1, 2], [-64, [32, 32, 3], "|u1", 0], [0, [32, 32, 3], "|O", 0], [0, ["a"], "|u1", 0],
        [0.5, [1], "|u1", 0],
        [0, [2**40, 2**40], "|u1", 0], [2**70, [1], "|u1", 0],
    ],
)  # fmt: skip
def test_places_that_cannot_be(miniature, tmp_path, row):
    source = train_of(miniature)
    folder = write_cache(source, tmp_path, size=(32, 32))
    index = json.loads((folder / INDEX).read_text())
    for items in ([[[row], {"segmentation": row}]] * len(source.items), [[[row], []]], index["items"][:-1], "no list"):
        (folder / INDEX).write_text(json.dumps(index | {"items": items}))
        with pytest.raises(DataError, match="damaged"):
            open_cache(source, tmp_path, size=(32, 32)).read(0)


def test_an_index_that_is_no_file_or_nested_deeply(miniature, tmp_path):
    source = train_of(miniature)
    folder = write_cache(source, tmp_path, size=(32, 32))
    for make in (lambda path: path.write_text("[" * 100_000), os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (folder / INDEX).unlink()
        make(folder / INDEX)
        with pytest.raises(DataError, match="damaged"):
            open_cache(source, tmp_path, size=(32, 32))


def test_no_link_leads_the_writer_elsewhere_and_leftovers_go(miniature, tmp_path):
    source = train_of(miniature)
    folder = cache_folder(tmp_path, source, size=(32, 32), interpolation="linear_exact")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("somebody's")
    folder.with_name(folder.name + ".partial").symlink_to(tmp_path / "other")
    (tmp_path / f".{folder.name}.0123.partial").symlink_to(tmp_path / "other")
    (tmp_path / f".{folder.name}.4567.partial").mkdir()
    assert write_cache(source, tmp_path, size=(32, 32)) == folder
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]
    assert not (tmp_path / f".{folder.name}.4567.partial").exists()


@pytest.mark.parametrize("damage", [flip_a_byte, cut_off, no_data, no_index, cut_index, other_format])
def test_damage_is_an_error_and_writing_again_repairs_it(miniature, tmp_path, damage):
    source = train_of(miniature)
    folder = write_cache(source, tmp_path, size=(32, 32))
    damage(folder)
    with pytest.raises(DataError, match="damaged"):
        list(
            train_loader(
                open_cache(source, tmp_path, size=(32, 32)), PIPELINES["affine"], batch_size=2, seed=1, workers=0
            )[0]
        )
    if damage is not flip_a_byte:  # found when it is read
        write_cache(source, tmp_path, size=(32, 32))
        assert open_cache(source, tmp_path, size=(32, 32)).read(0)[0][0].shape == (32, 32, 3)


def test_a_damaged_picture_leaves_nothing_behind(own_miniature, tmp_path):
    source = train_of(own_miniature)
    source.items[4].image.write_bytes(b"text")
    with pytest.raises(DataError, match="not a readable picture"):
        write_cache(source, tmp_path / "cache", size=None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_written(miniature, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*; choose another --cache"):
        write_cache(train_of(miniature), tmp_path / "file", size=None)


@pytest.mark.parametrize("pipeline, form", [("affine", "32x48_area"), ("published", "own_size")])
def test_the_command_writes_what_the_training_asks_for(miniature, tmp_path, capsys, pipeline, form):
    config = DataCacheConfig(
        data_path=miniature, cache=tmp_path, img_resize=(32, 48), interpolation="area", pipeline=pipeline
    )
    assert run(config) == 0
    size = (32, 48) if pipeline == "affine" else None
    folder = cache_folder(tmp_path, train_of(miniature), size=size, interpolation="area")
    assert folder.name == f"streets_train_{form}"
    assert str(folder.name) in capsys.readouterr().out
    assert len(open_cache(train_of(miniature), tmp_path, size=size, interpolation="area").items) == 6


def test_wrong_size_is_refused():
    with pytest.raises(UsageError, match="--img_resize"):
        DataCacheConfig(img_resize=(0, 32))
