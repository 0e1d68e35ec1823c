"""Bad inputs A to C through the command line: every row of `fault_cases` by message and exit code, and what lists,
training and inference make of them.
"""

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.__main__ import main
from edgeailite.data import open_dataset
from edgeailite.data.files import images
from edgeailite.data.files.images import write_png
from edgeailite.data.files.listing import read_names
from edgeailite.data.items import read_item
from edgeailite.errors import DataError
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model, list_models
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from tests.data.corruption import WAYS, encoded, mask, picture, smooth
from tests.data.fault_cases import CASES, ERROR, OK, STEM, H, W, turned_with_mask, write_clean
from tests.data.stranger_cases import STRANGERS

ALL = CASES | STRANGERS


def read_all(root: Path) -> None:
    """What training reads."""
    for split in ("train", "val"):
        source = open_dataset("camvid", root, split)
        for item in source.items:
            read_item(source, item)


def matches(finding: dict, file: Path, code: str, message: str) -> bool:
    name = re.escape(str(file)).replace(re.escape(".*"), r"\.\w+") if str(file) != "." else ".*"
    found = re.fullmatch(name, finding["file"]) and re.search(message, finding["message"])
    return bool(found) and finding["code"] == code


def test_the_table_is_long_enough_and_covers_the_groups():
    assert len(CASES) >= 60
    assert {name[0] for name in CASES} == set("ABC")
    assert len(ALL) == len(CASES) + len(STRANGERS)


@pytest.mark.parametrize("name", ALL)
def test_fault(capfd, tmp_path, name):
    row = ALL[name]
    root = write_clean(tmp_path / "data")
    file, code = row.make(root, "train", STEM)
    capfd.readouterr()
    ended = main(["data", "check", "--dataset_name", "camvid", "--data_path", str(root), "--json", "True"])
    captured = capfd.readouterr()
    findings = json.loads(captured.out)["findings"]
    assert ended == row.exit, findings
    assert captured.err == ""
    if row.message:
        assert [f for f in findings if matches(f, file, code, row.message)], findings
    else:
        assert [f for f in findings if f["code"] != "split-missing"] == []
    if row.refused:
        with pytest.raises(DataError) as caught:
            read_all(root)
        assert "\n" not in str(caught.value)
        assert file.stem in str(caught.value) or code == "empty-split"
    else:
        read_all(root)
    assert capfd.readouterr().err == ""  # OpenCV and the format libraries say nothing of their own


def test_unreadable_file_is_named(command, tmp_path, monkeypatch):
    root = write_clean(tmp_path / "data")
    locked = picture(root, "train", STEM)
    plain = images.read_regular

    def refuse(path: Path, *, limit: int) -> bytes:  # the tests may run as root, who reads files of mode 000 as well
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return plain(path, limit=limit)

    monkeypatch.setattr(images, "read_regular", refuse)
    ended = command("data", "check", "--dataset_name", "camvid", "--data_path", root, "--workers", 0)
    assert ended.code == ERROR
    assert f"{locked}: cannot be read (Permission denied)" in ended.out


def test_clean_data_set(command, tmp_path):
    root = write_clean(tmp_path / "data")
    ended = command("data", "check", "--dataset_name", "camvid", "--data_path", root / ".." / "data", "--workers", 0)
    assert (ended.code, ended.err) == (OK, "")
    assert "5 pictures: 0 errors, 0 warnings, 1 note" in ended.out  # there is no split test


def test_every_fault_at_once(command, tmp_path):
    """One bad file does not hide another."""
    root = write_clean(tmp_path / "data")
    planted = []
    for number, name in enumerate(WAYS):
        stem = f"way {number} x"
        picture(root, "train", stem).write_bytes(encoded(".jpg", smooth(H, W, 300 + number)))
        shutil.copyfile(mask(root, "train", "b x"), mask(root, "train", stem))
        planted.append(WAYS[name](root, "train", stem))
    ended = command("data", "check", "--dataset_name", "camvid", "--data_path", root, "--json", True, "--workers", 0)
    found = {(finding["file"], finding["code"]) for finding in json.loads(ended.out)["findings"]}
    assert ended.code == ERROR
    assert {(str(file), code) for file, code in planted} <= found


# --- training and inference on them


def train_words(root: Path, run: Path, batch_size: int) -> list[object]:
    flags = ["--img_resize", 64, 64, "--epochs", 1, "--device", "cpu", "--workers", 0, "--amp", "off", "--threads", 1]
    return [
        "train", "--dataset_name", "camvid", "--data_path", root, "--save_path", run, "--batch_size", batch_size,
        "--pretrained", "none", *flags,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name, reason",
    [
        ("A JPEG 50 %", "truncated picture"),
        ("A PNG bomb", "header says 18000x18000"),
        ("A HEIC", "HEIC is not supported"),
        ("B label 34", "label 34 (6 pixels, first at x=3 y=2)"),
        ("B other size", "mask is 64x40"),
        ("B missing", "no label file"),
        ("C link to nothing", "gone.jpg"),
    ],
)
def test_training_stops_with_one_line(command, tmp_path, name, reason):
    root = write_clean(tmp_path / "data")
    CASES[name].make(root, "train", STEM)
    flags = (
        "--img_resize",
        64,
        64,
        "--batch_size",
        3,
        "--epochs",
        1,
        "--device",
        "cpu",
        "--workers",
        0,
        "--amp",
        "off",
    )
    words = ("train", "--dataset_name", "camvid", "--data_path", root, "--save_path", tmp_path / "run", *flags)
    ended = command(*words, "--pretrained", "none")
    assert ended.code == ERROR
    assert ended.err.startswith("error: ")
    assert reason in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder with a network of three classes and random weights."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    colours = ((128, 64, 128), (0, 0, 142), (70, 130, 180))
    card = ModelCard(
        list_models()[0], {"segmentation": 3}, ("a", "b", "c"), colours, Preprocessing(64, 64), dataset_name="none"
    )
    save_checkpoint(folder / LAST, Checkpoint(card, create_model(card.model_name, 3).state_dict(), {}))
    return folder


def test_inference_skips_and_names_what_cannot_be_read(command, run, tmp_path):
    root = write_clean(tmp_path / "data")
    pictures, refused = tmp_path / "pictures", {}
    pictures.mkdir()
    for number, (name, row) in enumerate(CASES.items()):
        if name.startswith("A ") and row.refused and row.make is not turned_with_mask:
            file, _ = row.make(root, "train", STEM)
            copy = pictures / f"{number}{file.suffix}"
            shutil.move(file, copy)
            refused[copy] = row
            picture(root, "train", STEM).write_bytes(encoded(".jpg", smooth(H, W, 30)))
    readable = [path for path, row in refused.items() if row.message.startswith(("1x1", "4000x1"))]
    ended = command("infer", run, pictures, "--save_path", tmp_path / "out", "--device", "cpu")
    weights, *lines = ended.err.splitlines()
    assert (ended.code, weights.startswith("weights: ")) == (1, True)
    assert len(lines) == len(refused) - len(readable) >= 20
    for path, row in refused.items():
        said = [line for line in lines if line.startswith(f"skipped {path}: ")]
        assert len(said) == (0 if path in readable else 1)
        assert path in readable or re.search(row.message, said[0])
    assert len(list((tmp_path / "out").glob("*_*.png"))) == 3 * len(readable)


def test_batches_of_ignored_pixels_only_have_loss_zero_and_a_split_of_them_is_refused(command, tmp_path):
    root = write_clean(tmp_path / "data")
    masks = sorted((root / "labels" / "train").iterdir())
    for path in masks[1:]:
        write_png(path, np.full((H, W), 11, np.uint8))
    ended = command(*train_words(root, tmp_path / "run", 1))
    assert ended.code == OK, ended.err
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert 0 < float(dict(zip(rows[0].split(","), rows[1].split(","), strict=True))["loss"]) < 10
    write_png(masks[0], np.full((H, W), 11, np.uint8))
    ended = command(*train_words(root, tmp_path / "refused", 3))
    assert ended.code == ERROR
    assert "split train: no pixel has a class" in ended.err
    assert "ignored is label 11 (9216 pixels, 100.0 %)" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "refused").exists()


def test_batch_of_one_trains_or_says_what_to_do(command, tmp_path):
    """Statistics of one value per channel: the pooling branch of ASPP at batch 1."""
    root = write_clean(tmp_path / "data")
    ended = command(*train_words(root, tmp_path / "run", 1))
    assert ended.code == OK, ended.err


def test_one_picture_gives_no_batch_of_two(command, tmp_path):
    root = write_clean(tmp_path / "data")
    for stem in ("b x", "c x"):
        picture(root, "train", stem).unlink()
        mask(root, "train", stem).unlink()
    ended = command(*train_words(root, tmp_path / "run", 2))
    assert ended.code == ERROR
    assert "1 pictures give no batch of 2; lower --batch_size" in ended.err


def test_file_that_vanishes_is_named(tmp_path):
    root = write_clean(tmp_path / "data")
    source = open_dataset("camvid", root, "train")
    picture(root, "train", STEM).unlink()
    with pytest.raises(DataError, match=r"a picture x\.jpg: cannot be read \(No such file"):
        read_item(source, source.items[0])


# --- lists


def test_list_of_100_000_lines_is_read_in_seconds(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(b"folder/picture_%06d.jpg\r\n" % n for n in range(100_000)))
    began = time.monotonic()
    assert len(read_names(path, root=tmp_path)) == 100_000
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "line, reason",
    [
        ("C:\\data\\b x", "line 2: .* is a path of a Windows machine"),
        ("\\\\server\\b x", "line 2: .* is a path of a Windows machine"),
        ("/elsewhere/b x", "line 2: .* is an absolute path outside the data set"),
        ("../b x", r"line 2: .* leaves the data set"),
        ("gone x", "line 2: no picture gone x"),
        ("c x", "line 2: c x is named again"),
    ],
)
def test_bad_line_of_a_list_in_use_is_an_error_and_the_rest_is_checked(command, tmp_path, line, reason):
    root = write_clean(tmp_path / "old")
    flat = tmp_path / "data"
    for kind in ("images", "labels"):
        shutil.copytree(root / kind / "train", flat / kind)
    picture(flat, ".", STEM).write_bytes(b"")
    (flat / "train.txt").write_text(f"{STEM}\n{line}\nc x\n", encoding="utf-8")
    if line == "c x":
        (flat / "train.txt").write_text(f"c x\nc x\n{STEM}\n", encoding="utf-8")
    ended = command("data", "check", "--data_path", flat, "--split", "train", "--json", True, "--workers", 0)
    findings = json.loads(ended.out)["findings"]
    assert ended.code == ERROR
    assert [f for f in findings if f["level"] == "error" and re.search(reason, f["message"])], findings
    assert [f for f in findings if f["code"] == "empty-file" and f["file"].endswith(f"{STEM}.jpg")]
    assert all(f["file"].startswith((str(flat), "split ")) for f in findings)  # not those of the mirror
