"""The published inference command: forms with and without labels, several inputs, parts of a split, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.compat import running
from edgeailite.data import open_dataset
from edgeailite.data.files.images import read_image, read_label
from edgeailite.metrics import confusion_matrix, scores
from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.pretrained import published_state_dict
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from tests.compat.world import write_cityscapes

SCRIPT = "infer_segmentation_main"
SMALL = "--img_resize 64 64 --output_size 32 48 --device cpu --threads 1 --save_path out"
STEM = "Task0/streets_streets_000000_000019_leftImg8bit"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("city"))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def infer(data: Path, form: str, *more: str, inputs: int = 1) -> int:
    torch.manual_seed(0)
    model = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", 19, inputs=inputs)
    torch.save(published_state_dict(model), "net.pth")
    words = ["--dataset_name", form, "--data_path", str(data), "--pretrained", "net.pth", *SMALL.split(), *more]
    return running.run(SCRIPT, words)


def test_accuracy_is_that_of_the_labels_that_were_written(here, data):
    assert infer(data, "cityscapes_segmentation_measure") == 0
    labels = read_label(here / f"out/{STEM}_label.png")
    assert labels.shape == (32, 48)
    source = data / "gtFine/val/streets/streets_000000_000019_gtFine_labelIds.png"
    ids = read_label(source)[np.arange(32) * 2][:, (np.arange(48) * 64) // 48]
    truth = np.select([ids == value for value in (7, 11, 23, 26)], [0, 2, 10, 13], 255)
    expected = scores(confusion_matrix(truth, labels, 19))
    metric = dict(line.split() for line in (here / "out/metric.txt").read_text().splitlines())
    assert float(metric["miou"]) == pytest.approx(100 * expected.miou, abs=0.001)
    assert float(metric["pixel_accuracy"]) == pytest.approx(100 * expected.pixel_accuracy, abs=0.001)


def test_pictures_without_labels_are_only_labelled(here, data, capsys):
    assert infer(data, "cityscapes_segmentation_infer") == 0
    assert not (here / "out/metric.txt").exists()
    assert "miou" not in capsys.readouterr().out
    overlay = read_image(here / f"out/{STEM}_overlay.png").astype(int)
    colours = read_image(here / f"out/{STEM}_color.png").astype(int)
    assert overlay.shape == (32, 48, 3)
    assert abs(overlay - colours // 2).max() <= 128
    assert (here / "out/Task0.mp4").stat().st_size > 0


def test_networks_of_two_pictures_get_both(here, data):
    assert infer(data, "cityscapes_segmentation_multi_input_measure", inputs=2) == 0
    assert (here / "out/metric.txt").exists()


def test_every_output_has_a_task_and_the_look_is_a_choice(here, data, capsys):
    """Depth, classes with the data set's own values, motion; side by side, as a VP9 video."""
    torch.manual_seed(0)
    form, outputs = "cityscapes_depth_semantic_motion_multi_input", {"depth": 1, "segmentation": 19, "motion": 2}
    model = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", outputs=outputs, inputs=2)
    options = changed_options(model.options)
    source = open_dataset(form, data, "val")
    card = ModelCard(model.name, outputs, source.classes, source.palette, Preprocessing(64, 64), form, None, options)
    save_checkpoint(Path("net.pt"), Checkpoint(card, model.state_dict(), {}))
    words = ["--dataset_name", form, "--data_path", str(data), "--pretrained", "net.pt", "--output_size", "32", "48"]
    look = "--write labels side_by_side --video side_by_side --video_format webm --fps 2 --original_ids True"
    more = [*look.split(), "--device", "cpu", "--threads", "1", "--save_path", "out", "--lr", "1"]
    assert running.run(SCRIPT, [*words, *more]) == 0
    name = STEM.removeprefix("Task0/")
    kinds = [("depth", "side_by_side"), ("label", "side_by_side"), ("label", "side_by_side")]
    expected = {f"Task{i}/{name}_{kind}.png" for i, pair in enumerate(kinds) for kind in pair}
    expected |= {"Task0.webm", "Task1.webm", "Task2.webm", "metric.txt"}
    assert {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()} == expected
    assert read_image(here / f"out/Task1/{name}_side_by_side.png").shape == (32, 96, 3)
    assert set(np.unique(read_label(here / f"out/Task2/{name}_label.png"))) <= {0, 255}
    assert "--lr: no effect in phase inference" in capsys.readouterr().err


def test_weights_of_another_number_of_inputs_are_refused(here, data, capsys):
    assert infer(data, "cityscapes_segmentation_measure", inputs=2) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "blocked, reason",
    [("out", "out/Task0.mp4: cannot be written"), ("out/metric.txt/x", "out/metric.txt: cannot be written")],
)
def test_results_that_cannot_be_written_are_said(here, data, capsys, blocked, reason):
    """A file where the folder should be; a folder where the file should be."""
    (here / blocked).parent.mkdir(parents=True, exist_ok=True)
    (here / blocked).touch()
    assert infer(data, "cityscapes_segmentation_measure") == 3
    assert reason in capsys.readouterr().err
