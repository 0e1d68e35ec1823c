"""Accuracy of a run: what training wrote is what validation finds, by hand, and what cannot be measured is said."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.cost.accuracies import read_accuracies
from edgeailite.data import open_dataset
from edgeailite.data.files.images import read_image
from edgeailite.errors import DataError, UsageError
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.folder import LAST

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


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ((), list(SIZE)),
        (("--img_resize", 32, 64, "--flip", True), [32, 64]),
        (("--window", 32, 32), None),
        (("--window", 32, 32, "--img_resize", 64, 64), None),
        (("--short_edges", 32), None),
        (("--scales", 0.5, 1), None),
    ],
)
def test_the_size_that_an_accuracy_belongs_to(command, run, tmp_path, words, size):
    """And what is printed is a results file of `choose` and `complexity`."""
    ended = command("validate", run, "--workers", 0, "--device", "cpu", "--json", True, *words)
    values = json.loads(ended.out)
    assert (values["size"], values["type"]) == (size, "float")
    (tmp_path / "results.json").write_text(ended.out)
    [found] = read_accuracies(tmp_path / "results.json")
    assert (found.size, found.miou) == (None if size is None else tuple(size), values["miou"])
    assert (found.data, found.classes, found.arithmetic) == ("streets val", 19, "float")


def test_checkpoint_and_folder_are_the_same(command, run):
    outputs = [command("validate", run / name, "--workers", 0, "--json", True).out for name in ("", LAST)]
    first, second = (json.loads(output) for output in outputs)
    assert {**first, "model": None} == {**second, "model": None}


def test_table_names_absent_classes(command, run):
    ended = command("validate", run, "--workers", 0)
    assert ended.code == 0
    assert "IoU road" in ended.out
    assert "mIoU, %" in ended.out and "pixel accuracy, %" in ended.out
    assert ended.err.endswith("were never predicted\n"), "random weights know few classes"


def test_a_model_that_does_not_know_where_its_data_lies(miniature, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = ModelCard("net", {"segmentation": 19}, (), (), Preprocessing(*SIZE), "streets")
    reason = r"data set streets: the model does not know where it lies, and data/datasets/streets/ does not exist; give"
    with pytest.raises(DataError, match=reason):
        dataset_of(card, None, None, "val")
    assert len(dataset_of(card, None, miniature, "val").items) == 2
    with pytest.raises(UsageError, match="unknown data set"):
        dataset_of(card, "street", None, "val")
    (tmp_path / "data/datasets").mkdir(parents=True)
    (tmp_path / "data/datasets/streets").symlink_to(miniature)
    assert len(dataset_of(card, None, None, "val").items) == 2


def test_what_cannot_be_measured(command, run, miniature, tmp_path):
    for words, code, reason in (
        (["--split", "dev"], 2, "--split dev: streets has train, val, test"),
        (["--split", "test"], 3, "leftImg8bit/test does not exist"),
        (["--dataset_name", "kitti"], 2, "--dataset_name kitti: unknown data set"),
        (["--integer_exact", True], 2, "is a float run; quantize it first"),
        (["--arithmetic", "xnnpack"], 2, "--arithmetic xnnpack: "),
        (["--data_path", tmp_path], 3, f"folder {tmp_path}/leftImg8bit/val does not exist"),
    ):
        ended = command("validate", run, "--workers", 0, *words)
        assert ended.code == code, ended
        assert reason in ended.err.splitlines()[-1]
        assert all(line.startswith("weights: ") for line in ended.err.splitlines()[:-1])


def test_data_set_of_other_classes(command, run, tmp_path):
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        (tmp_path / kind / "val").mkdir(parents=True)
        (tmp_path / kind / "val" / f"a.{suffix}").touch()
    ended = command("validate", run, "--dataset_name", "camvid", "--data_path", tmp_path)
    assert ended.code == 3
    assert "camvid has 11 classes but the model has 19" in ended.err


def test_absent_classes_as_zero(command, run):
    words = ("--workers", 0, "--device", "cpu", "--json", True)
    left_out = json.loads(command("validate", run, *words).out)
    zero = json.loads(command("validate", run, *words, "--miou_absent", "zero").out)
    assert zero["iou"] == left_out["iou"]
    present = [value for value in left_out["iou"].values() if value is not None]
    assert len(present) < len(left_out["iou"])
    assert zero["miou"] == pytest.approx(sum(present) / len(left_out["iou"]), abs=0.01)


def test_confusion_matrix_in_files(command, run, miniature, tmp_path):
    words = ("--workers", 0, "--device", "cpu", "--json", True)
    values = json.loads(command("validate", run, *words, "--confusion", tmp_path / "m.csv").out)
    assert values["confusion"] == [str(tmp_path / "m.csv")]
    rows = list(csv.reader((tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()))
    classes = open_dataset("streets", miniature, "val").classes
    assert (tuple(rows[0][1:]), tuple(row[0] for row in rows[1:])) == (classes, classes)
    counts = np.array([row[1:] for row in rows[1:]], np.int64)
    assert counts.sum() == 2 * 64 * 64
    assert 100 * np.trace(counts) / counts.sum() == pytest.approx(values["pixel_accuracy"], abs=1e-3)
    assert command("validate", run, *words, "--confusion", tmp_path / "m.png").code == 0
    assert read_image(tmp_path / "m.png").shape[2] == 3
    (tmp_path / "file").touch()
    ended = command("validate", run, *words, "--confusion", tmp_path / "file/m.csv")
    assert (ended.code, "cannot be written" in ended.err) == (3, True)


def test_edges_are_measured_when_asked_for(command, run):
    words = ("--workers", 0, "--device", "cpu", "--json", True)
    plain = json.loads(command("validate", run, *words).out)
    edges = json.loads(command("validate", run, *words, "--boundary", True).out)
    assert set(edges) - set(plain) == {"boundary_iou", "boundary_f"}
    assert {name: edges[name] for name in plain} == plain
    assert all(0 <= edges[name] <= 100 for name in ("boundary_iou", "boundary_f"))


@pytest.mark.parametrize(
    "words, reason",
    [
        (("--scales", 0), "--scales (0.0,): expected numbers above 0"),
        (("--short_edges", 300, "--scales", 0.5), "--scales (0.5,): expected none beside short_edges"),
        (("--short_edges", 300, "--img_resize", 64, 64), "--img_resize (64, 64): expected none beside short_edges"),
        (("--window_stride", 8, 8), "--window_stride (8, 8): expected a window beside it"),
        (("--window", 32, 32, "--window_stride", 8, 33), "--window_stride (8, 33): expected at most the window"),
        (("--window", 8, 8), "--window (8, 8): expected height and width of at least 32"),
        (("--confusion", "m.txt"), "--confusion m.txt: expected a file name *.csv or *.png"),
        (("--epoch_size", -1), "--epoch_size -1.0: expected 0 or more"),
        (("--padding", 0), "--padding 0: expected at least 1"),
    ],
)
def test_options_that_do_not_go_together(command, run, words, reason):
    ended = command("validate", run, *words)
    assert ended.code == 2
    assert reason in ended.err
    assert len(ended.err.splitlines()) == 1


def test_the_longer_edge_is_limited(command, run, miniature):
    """Square pictures: a limit below the short edge takes its place."""

    def measured(*words: object) -> dict[str, object]:
        ended = command("validate", run, "--data_path", miniature, "--workers", 0, "--json", True, *words)
        assert ended.code == 0
        return json.loads(ended.out)

    limited, plain, small = ("--short_edges", 128, "--max_size", 64), ("--short_edges", 128), ("--short_edges", 64)
    assert measured(*limited) == measured(*small) != measured(*plain)
