"""Wrong words and bad files through the command line: one line on stderr that names the value and the fix, and a code.

2 usage, 3 data, 5 diverged. Nothing else may appear on stderr, least of all a traceback.
"""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.data.files.images import write_png

FLAGS = ("--img_resize", 64, 64, "--batch_size", 2, "--epochs", 1, "--device", "cpu", "--threads", 1, "--amp", "off")
USAGE, DATA, DIVERGED = 2, 3, 5


class Payload:
    """What a hostile checkpoint holds: unpickling it would make the folder `path`."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"mkdir '{self.path}'",)


def says(ended, code: int, *parts: str) -> None:
    """One line of error after notes on what is used, the documented code, and everything that has to be named."""
    assert ended.code == code, ended
    *notes, error = ended.err.splitlines()
    assert all(line.startswith(("data: ", "weights: ")) for line in notes), ended.err
    assert error.startswith("error: ")
    for part in parts:
        assert part in error, (part, error)


def first(root: Path, kind: str) -> Path:
    return sorted((root / kind / "train").rglob("*.png"))[0]


def train(command, data: Path, *more: object, workers: int = 0):
    words = ("train", "--dataset_name", "streets", "--pretrained", "none", "--data_path", data, "--workers", workers)
    return command(*words, "--save_path", data.parent / "run", *FLAGS, *more)


# --- words

WORDS = {
    "verb": (["trian"], "unknown verb 'trian'", "did you mean train?"),
    "verb like no other": (["zzz"], "unknown verb 'zzz'", "edgeailite --help lists them"),
    "flag": (["train", "--epoch", "3"], "--epoch", "did you mean --epochs?"),
    "preset": (["preset", "camvit"], "'camvit'", "did you mean camvid?"),
    "no preset": (["preset"], "a name must follow", "`edgeailite presets` lists them"),
    "type": (["train", "--epochs", "many"], "--epochs", "many"),
    "negative epochs": (["train", "--epochs", "-1"], "--epochs -1", "at least 1"),
    "no epochs": (["train", "--epochs", "0"], "--epochs 0", "at least 1"),
    "no batch": (["train", "--batch_size", "0"], "--batch_size 0", "at least 1"),
    "no rate": (["train", "--lr", "0"], "--lr 0", "above 0"),
    "average of everything": (["train", "--ema", "1"], "--ema 1", "from 0 to below 1"),
    "no norm": (["train", "--clip_grad", "0"], "--clip_grad 0", "above 0"),
    "nothing accumulated": (["train", "--accumulate", "0"], "--accumulate 0", "at least 1"),
    "nothing to export": (["export"], "missing run", "usage: edgeailite export RUN"),
    "nothing to label with": (["infer"], "missing", "input", "model"),
    "data set": (["train", "--dataset_name", "kitti"], "--dataset_name kitti", "known: camvid"),
}


@pytest.mark.parametrize("words, parts", [(row[0], row[1:]) for row in WORDS.values()], ids=WORDS)
def test_words(command, words, parts):
    says(command(*words), USAGE, *parts)


def test_nothing_at_all_is_help_and_usage(command):
    ended = command()
    assert (ended.code, ended.err) == (USAGE, "")
    assert "usage: edgeailite VERB" in ended.out
    assert command("--help").code == 0


def test_unknown_model(command, own_miniature):
    says(train(command, own_miniature, "--model_name", "deeplab"), USAGE, "deeplab", "deeplabv3plus_mobilenetv2")


def test_cuda_without_gpu(command, own_miniature, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    says(train(command, own_miniature, "--device", "cuda"), USAGE, "--device cuda", "--device cpu")


def test_config_files(command, own_miniature, tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("epoch: 3\n")
    says(command("train", "--config", path), USAGE, str(path), "['epoch']", "names of the flags")
    path.write_text("dataset_name: kitti\n")
    says(command("train", "--config", path), USAGE, "--dataset_name kitti")
    path.write_text("epochs: 0\n")
    says(train(command, own_miniature, "--config", path, "--batch_size", 7), DATA, "6 pictures give no batch of 7")
    says(command("train", "--config", tmp_path / "gone.yaml"), DATA, "gone.yaml", "No such file")


# --- data


def test_folder_without_a_data_set(command, tmp_path):
    (tmp_path / "data").mkdir()
    says(train(command, tmp_path / "data"), DATA, "leftImg8bit/train does not exist", "--data_path")
    assert not (tmp_path / "run").exists()


def test_batch_larger_than_the_data_set(command, own_miniature):
    says(train(command, own_miniature, "--batch_size", 7), DATA, "6 pictures give no batch of 7", "--batch_size")


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_picture(command, own_miniature, workers):
    path = first(own_miniature, "leftImg8bit")
    path.write_bytes(path.read_bytes()[:-40])
    says(train(command, own_miniature, workers=workers), DATA, f"error: {path}: truncated picture", "replace it")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("weights", ["none", "enet"])
def test_label_out_of_range(command, own_miniature, workers, weights):
    path = first(own_miniature, "gtFine")
    label = np.full((64, 64), 7, np.uint8)
    label[3, 5] = 77
    write_png(path, label)
    ended = train(command, own_miniature, "--class_weights", weights, workers=workers)
    says(ended, DATA, f"error: {path}: label 77 (1 pixels, first at x=5 y=3)", "19 classes", "255 (ignore)")


def test_colour_mask_and_mask_of_another_size(command, own_miniature):
    path = first(own_miniature, "gtFine")
    write_png(path, np.random.default_rng(1).integers(0, 2, (64, 64, 3), np.uint8) * 255)
    says(train(command, own_miniature), DATA, f"{path}: colour mask (8 colours)", "index PNG")
    write_png(path, np.full((32, 64), 7, np.uint8))
    says(train(command, own_miniature), DATA, f"{path}: mask is 64x32", "is 64x64")


def test_missing_mask(command, own_miniature):
    first(own_miniature, "gtFine").unlink()
    says(train(command, own_miniature), DATA, "no label file", "add it or remove the picture")


def test_folder_that_cannot_be_written(command, own_miniature):
    (own_miniature.parent / "run").touch()
    says(train(command, own_miniature), DATA, f"{own_miniature.parent / 'run'}: cannot be written", "--save_path")


def test_divergence(command, own_miniature):
    says(train(command, own_miniature, "--lr", 1e30, "--warmup_epochs", 0), DIVERGED, "loss is", "lower --lr")


# --- checkpoints

OPENING = {
    "validate": lambda path: ["validate", path],
    "export": lambda path: ["export", path],
    "verify": lambda path: ["verify", path],
    "calibrate": lambda path: ["calibrate", path],
    "quantize": lambda path: ["quantize", path],
    "infer": lambda path: ["infer", path, path.parent / "street.png"],
    "report": lambda path: ["report", path.parent],
    "pretrained": lambda path: ["train", "--pretrained", path],
    "resume": lambda path: ["train", "--resume", path.parent],
}


@pytest.mark.parametrize("verb", OPENING)
@pytest.mark.parametrize("kind", ["truncated", "empty", "code"])
def test_bad_checkpoint(command, own_miniature, tmp_path, verb, kind):
    path, proof = tmp_path / "run" / "last.pt", tmp_path / "ran"
    write_png(path.parent / "street.png", np.zeros((40, 40, 3), np.uint8))
    if kind == "code":
        path.write_bytes(pickle.dumps({"state_dict": Payload(proof)}))
    else:
        torch.save({"state_dict": {"w": torch.ones(1000)}}, path)
        path.write_bytes(path.read_bytes()[:1500] if kind == "truncated" else b"")
    words = OPENING[verb](path)
    if verb == "pretrained":
        words += ["--data_path", own_miniature, "--save_path", tmp_path / "new"]
    says(command(*words), DATA, str(path), "code inside" if kind == "code" else "damaged checkpoint", "take")
    assert not proof.exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("verb", OPENING)
def test_missing_run(command, own_miniature, tmp_path, verb):
    words = OPENING[verb](tmp_path / "gone" / "last.pt")
    if verb == "pretrained":
        words += ["--data_path", own_miniature, "--save_path", tmp_path / "new"]
    says(command(*words), DATA, str(tmp_path / "gone"))


def test_weights_of_another_network(command, own_miniature, tmp_path):
    torch.save({"stem.weight": torch.ones(1)}, tmp_path / "w.pt")
    says(train(command, own_miniature, "--pretrained", tmp_path / "w.pt"), DATA, "w.pt", "missing", "stem.weight")
