"""Accuracy of a run: what training wrote is what validation finds, by hand, and what cannot be measured is said."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.checkpoint import LAST, Checkpoint, save_checkpoint
from edgeailite.commands.measured import flat, score_values
from edgeailite.data import open_dataset
from edgeailite.data.images import read_image
from edgeailite.metrics import Scores
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing, preprocess

SIZE = (64, 96)  # not the size of the pictures, so that logits have to be resized


@pytest.fixture(scope="module")
def run(miniature, tmp_path_factory) -> Path:
    """A run folder with random weights."""
    source = open_dataset("streets", miniature, "val")
    torch.manual_seed(3)
    name, classes = "deeplabv3plus_mobilenetv2_tv_edgeailite", len(source.classes)
    card = ModelCard(
        name,
        {"segmentation": classes},
        source.classes,
        source.palette,
        Preprocessing(*SIZE),
        dataset_name="streets",
        data_path=str(miniature),
    )
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(folder / LAST, Checkpoint(card, create_model(name, classes).state_dict(), {}))
    return folder


def miou_by_hand(run: Path, data: Path, split: str) -> float:
    """The mIoU in per cent, one picture at a time, with sets of pixels instead of a confusion matrix."""
    source = open_dataset("streets", data, split)
    model = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", len(source.classes)).eval()
    model.load_state_dict(torch.load(run / LAST, weights_only=True)["state_dict"])
    truth, guess = [], []
    for item in source.items:
        x = torch.from_numpy(preprocess(read_image(item.image), Preprocessing(*SIZE)))
        label = source.class_map(item)
        with torch.inference_mode():
            logits = torch.nn.functional.interpolate(model(x)["segmentation"], label.shape, mode="bilinear")
        truth.append(label.ravel())
        guess.append(logits[0].argmax(0).numpy().ravel())
    t, g = np.concatenate(truth), np.concatenate(guess)
    t, g = t[t != 255], g[t != 255]
    present = sorted(set(t) | set(g))
    return 100 * float(np.mean([((t == c) & (g == c)).sum() / ((t == c) | (g == c)).sum() for c in present]))


@pytest.mark.parametrize("split", ["val", "train"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_accuracy_equals_counting_by_hand(command, run, miniature, split, batch_size):
    flags = ["--split", split, "--batch_size", batch_size, "--workers", 0, "--device", "cpu", "--json", True]
    ended = command("validate", run, *flags)
    assert ended.code == 0
    values = json.loads(ended.out)
    assert values["miou"] == pytest.approx(miou_by_hand(run, miniature, split), abs=2e-3)
    assert values["data"] == f"streets {split}"
    assert set(values["iou"]) == set(open_dataset("streets", miniature, split).classes)


def test_checkpoint_and_folder_are_the_same(command, run):
    outputs = [command("validate", run / name, "--workers", 0, "--json", True).out for name in ("", LAST)]
    first, second = (json.loads(output) for output in outputs)
    assert {**first, "model": None} == {**second, "model": None}


def test_table_names_absent_classes(command, run):
    ended = command("validate", run, "--workers", 0)
    assert ended.code == 0
    assert "IoU road" in ended.out
    assert "miou" in ended.out


def test_scores_as_values():
    values = score_values(Scores(0.5, 0.75, (1.0, 0.0, math.nan)), ("road", "sky", "car"))
    assert values == {
        "miou": 50.0,
        "pixel_accuracy": 75.0,
        "overall": 62.5,
        "iou": {"road": 100.0, "sky": 0.0, "car": None},
    }
    assert flat(values)["IoU car"] == "absent"


def test_what_cannot_be_measured(command, run, miniature, tmp_path):
    for words, code, reason in (
        (["--split", "dev"], 2, "--split dev: streets has train, val, test"),
        (["--split", "test"], 3, "leftImg8bit/test does not exist"),
        (["--dataset_name", "kitti"], 2, "--dataset_name kitti: unknown data set"),
        (["--integer_exact", True], 2, "is a float run; quantize it first"),
        (["--data_path", tmp_path], 3, f"folder {tmp_path}/leftImg8bit/val does not exist"),
    ):
        ended = command("validate", run, "--workers", 0, *words)
        assert ended.code == code, ended
        assert reason in ended.err
        assert len(ended.err.splitlines()) == 1


def test_data_set_of_other_classes(command, run, tmp_path):
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        (tmp_path / kind / "val").mkdir(parents=True)
        (tmp_path / kind / "val" / f"a.{suffix}").touch()
    ended = command("validate", run, "--dataset_name", "camvid", "--data_path", tmp_path)
    assert ended.code == 3
    assert "camvid has 11 classes but the model has 19" in ended.err
