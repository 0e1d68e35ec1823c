"""The first hour with data of one's own: no name, no split, no idea, and every step says the next."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeailite.data.files.images import write_png
from edgeailite.data.lists import list_file
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from tests.commands.real_runs import FLAGS
from tests.data.trees import text

SIDE = 64


@pytest.fixture
def own(tmp_path):
    """Ten pictures and masks in a folder each, as labelling tools leave them."""
    for index in range(10):
        rng = np.random.default_rng(index)
        label = np.zeros((SIDE, SIDE), np.uint8)
        label[10:40, 10 + index : 50] = 1 + index % 2
        small = rng.integers(0, 80, (8, 8, 3)).astype(np.uint8)
        noise = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for folder, pixels in (("images", noise + 60 * label[..., None]), ("masks", label)):
            (tmp_path / "own" / folder).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "own" / folder / f"{index}.png", pixels)
    return tmp_path / "own"


def test_what_is_missing_is_an_error_with_the_command_that_helps(command, own):
    ended = command("data", "check", "--data_path", own, "--workers", 0)
    assert ended.code == 3
    assert f"`edgeailite data split {own}`" in ended.out
    ended = command("train", "--data_path", own, *FLAGS)
    assert ended.code == 3
    assert f"`edgeailite data split {own}`" in ended.err


def test_divided_checked_and_trained_without_a_name(command, own, tmp_path):
    ended = command("data", "split", own, "--val", 0.3)
    assert ended.code == 0, ended.err
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["train", "7", str(list_file(own, "train"))] in lines and ["val", "3", str(list_file(own, "val"))] in lines
    assert [line[0] for line in lines[-3:]] == ["class", "class", "class"]
    ended = command("data", "check", "--data_path", own, "--workers", 0)
    assert ended.code == 0, ended.out
    assert "is read as pictures and masks of your own" in ended.err
    ended = command("train", "--data_path", own, "--save_path", tmp_path / "run", *FLAGS, "--epochs", 1)
    assert ended.code == 0, ended.err
    config = load_checkpoint(tmp_path / "run" / LAST).config
    assert config["dataset_name"] == "folder"
    again = command("data", "split", own)
    assert (again.code, "has a split train already" in again.err or "has a split val already" in again.err) == (2, True)


def test_a_share_of_the_pictures_is_validated_on(command, own, tmp_path):
    words = ("train", "--data_path", own, *FLAGS, "--epochs", 1, "--val_share", 0.3)
    dry = command(*words, "--dry_run", True)
    assert (dry.code, "write the lists first: `edgeailite data split" in dry.err) == (2, True)
    assert not (own / "edgeailite_lists").exists()
    ended = command(*words, "--save_path", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert len(list_file(own, "val").read_text().splitlines()) == 3
    ended = command("validate", tmp_path / "run", "--workers", 0, "--device", "cpu", "--threads", 1)
    assert ended.code == 0, ended.err
    assert "folder val, 3 pictures" in ended.out


def test_a_single_split_is_an_error_of_the_check(command, own):
    text(own / "train.txt", *(str(index) for index in range(10)))
    ended = command("data", "check", "--data_path", own, "--workers", 0)
    assert ended.code == 3
    assert f"has train, no val; `edgeailite data split {own}` writes lists of both" in ended.out


def test_broken_files_are_left_out_by_every_verb(command, own, tmp_path):
    """Two masks that cannot be used: after --fix list the same training runs."""
    assert command("data", "split", own).code == 0
    (own / "masks/0.png").write_bytes(b"")
    (own / "masks/1.png").unlink()
    ended = command("data", "check", "--data_path", own, "--workers", 0, "--fix", "list")
    assert ended.code == 3
    named = "".join(list_file(own, split).read_text() for split in ("train", "val"))
    assert "images/0.png" not in named and "images/1.png" not in named and named.count("masks/") == 8
    ended = command("train", "--data_path", own, "--save_path", tmp_path / "run", *FLAGS, "--epochs", 1)
    assert ended.code == 0, ended.err


def test_the_colours_of_all_masks_are_named_once(command, tmp_path):
    """Of the split that says what classes there are."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 0), (0, 9, 9), (9, 0, 9)]
    for index, colour in enumerate(colours):
        split = "train" if index < 4 else "val"
        mask = np.zeros((SIDE, SIDE, 3), np.uint8)
        mask[:9] = colour
        for folder, pixels in (("images", np.full_like(mask, 10 * index)), ("labels", mask)):
            (tmp_path / folder / split).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / folder / split / f"{index}.png", pixels)
    ended = command("data", "check", "--data_path", tmp_path, "--workers", 0, "--show", 0)
    assert ended.code == 3
    assert ended.out.count("colors: {") == 1
    rows = ended.out.partition("colors: {")[2].partition("}")[0]
    assert all(f'"{red},{green},{blue}": CLASS' in rows for red, green, blue in [*colours[:4], (0, 0, 0)])


@pytest.mark.parametrize("device", ["stm32", "stm32f746", "esp32", "cortex-m7", "Arduino"])
def test_a_microcontroller_is_answered_and_not_guessed_at(command, device):
    ended = command("choose", "--device", device, "--max_ms", 5)
    assert ended.code == 2
    assert "microcontrollers are not estimated" in ended.err and "did you mean" not in ended.err
