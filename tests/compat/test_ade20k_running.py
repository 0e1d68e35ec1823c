"""ADE20K commands: weights to start from and to open, the folder of a run, where the data are."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeailite.compat import ade20k_running
from edgeailite.compat.ade20k_reading import read
from edgeailite.compat.ade20k_weights import find_weights, first_weights
from edgeailite.errors import DataError, UsageError
from edgeailite.runs.folder import LAST

CSAIL = "http://sceneparsing.csail.mit.edu/model"


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[list[str]]:
    """The commands that would have run."""
    lines: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(ade20k_running, "main", lambda words: lines.append(list(words)) or 0)
    return lines


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("", [f"{CSAIL}/pretrained_resnet/resnet34-places365.pth"]),
        ("--arch_encoder resnet101_dilated8", [f"{CSAIL}/pretrained_resnet/resnet101-imagenet.pth"]),
        ("MODEL.arch_encoder hrnetv2 MODEL.arch_decoder c1", [f"{CSAIL}/pretrained_resnet/hrnetv2_w48-imagenet.pth"]),
        ("--weights_encoder e.pth --weights_decoder d.pth", ["e.pth", "d.pth"]),
        ("--weights_encoder e.pth", ["e.pth"]),
        ("--weights_encoder None", []),
    ],
)
def test_weights_to_start_from(line, expected):
    assert first_weights(read("train", line.split())) == expected


def test_a_decoder_alone_is_refused():
    with pytest.raises(UsageError, match=r"give MODEL\.weights_encoder with it"):
        first_weights(read("train", ["--weights_decoder", "d.pth"]))


@pytest.mark.parametrize(
    "line, folder, resumed",
    [
        ("DIR runs/a TRAIN.start_epoch 0", "runs/a", False),
        ("DIR runs/a TRAIN.start_epoch 3", "runs/a", True),
        ("--id a --epoch_iters 5", "ckpt/a", False),
        ("--id a --start_epoch 1", "ckpt/a", False),
        ("--id a --ckpt out --start_epoch 2", "out/a", True),
    ],
)
def test_a_run_starts_or_goes_on_in_its_folder(asked, line, folder, resumed):
    assert ade20k_running.run("train", line.split()) == 0
    if resumed:
        assert asked == [["train", "--resume", folder]]
    else:
        assert value(asked[0], "--save_path") == folder
        assert value(asked[0], "--pretrained").startswith(CSAIL)


def test_options_of_ours_win(asked):
    ade20k_running.run(
        "train", ["--save_path", "x", "--pretrained", "w.pth", "--model_name", "resnet18_c1", "--ema", "0.9"]
    )
    assert (value(asked[0], "--save_path"), value(asked[0], "--pretrained")) == ("x", "w.pth")
    assert (value(asked[0], "--model_name"), value(asked[0], "--ema")) == ("resnet18_c1", "0.9")
    assert asked[0].count("--save_path") == asked[0].count("--pretrained") == 1


def test_data_where_they_are(asked, tmp_path):
    ade20k_running.run("train", [])
    assert "--data_path" not in asked[-1]  # the package's own place
    ade20k_running.run("train", ["--root_dataset", "elsewhere"])
    assert value(asked[-1], "--data_path") == "elsewhere"
    (tmp_path / "data/ADEChallengeData2016").mkdir(parents=True)
    ade20k_running.run("train", [])
    assert value(asked[-1], "--data_path") == "./data/"


def test_weights_to_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = read("eval", ["--id", "a", "--suffix", "_latest.pth"])
    with pytest.raises(DataError, match=r"ckpt/a: neither encoder_latest\.pth and decoder_latest\.pth nor a run"):
        find_weights(command, "VAL.checkpoint")
    folder = Path("ckpt/a")
    folder.mkdir(parents=True)
    (folder / LAST).touch()
    assert find_weights(command, "VAL.checkpoint") == ["ckpt/a"]
    for part in ("encoder", "decoder"):
        (folder / f"{part}_latest.pth").touch()
    pair = ["ckpt/a/encoder_latest.pth", "ckpt/a/decoder_latest.pth"]
    assert find_weights(command, "VAL.checkpoint") == pair
    named = read("eval", ["--id", "a", "--weights_encoder", "e", "--weights_decoder", "d"])
    assert find_weights(named, "VAL.checkpoint") == ["e", "d"]


def test_a_checkpoint_that_is_named_and_not_there_is_said(tmp_path, capsys):
    """The run's own last weights are opened instead."""
    (tmp_path / LAST).touch()
    find_weights(read("eval", ["DIR", str(tmp_path)]), "VAL.checkpoint")
    assert capsys.readouterr().err == ""
    named = read("eval", ["DIR", str(tmp_path), "VAL.checkpoint", "epoch_5.pth"])
    assert find_weights(named, "VAL.checkpoint") == [str(tmp_path)]
    assert f"VAL.checkpoint epoch_5.pth: not in {tmp_path}; its last.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, size",
    [("", "1000"), ("--imgMaxSize 300", "300"), ("--max_size 200", "200"), ("DATASET.imgMaxSize 400", "400")],
)
def test_the_longest_edge_reaches_the_measurement(asked, line, size):
    keys = "" if line.startswith("--") else "MODEL.weights_encoder e MODEL.weights_decoder d"
    flags = "--weights_encoder e --weights_decoder d" if line.startswith("--") else ""
    words = f"--pretrained a.onnx {flags} {line} {keys}" if flags else f"--pretrained a.onnx {keys} {line}"
    assert ade20k_running.run("eval", words.split()) == 0
    assert asked[0][:2] == ["validate", "a.onnx"]
    assert value(asked[0], "--max_size") == size


def test_published_pairs_are_found_by_the_name_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_weights(read("test", ["--imgs", "a"]), "TEST.checkpoint")
    name = "ade20k-resnet50dilated-ppm_deepsup"
    assert found == [f"{CSAIL}/pytorch/{name}/{part}_epoch_20.pth" for part in ("encoder", "decoder")]


def test_help_lists_every_key_and_flag(capsys):
    assert ade20k_running.run("train", ["--help"]) == 0
    printed = capsys.readouterr().out
    assert "--DATASET" not in printed
    assert "DATASET.imgSizes" in printed
    assert "--segSize" in printed
    assert "--imgSize N ... " in printed
