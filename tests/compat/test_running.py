"""Phases of the published commands: what they open, what they chain, what they refuse."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from edgeailite.compat import running
from edgeailite.compat.weights import as_model, holds_network
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from tests.commands.real_runs import SMALL
from tests.compat.world import save_backbone, save_network
from tests.conftest import write_miniature

SCRIPT = "train_segmentation_main"
NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"
MOBILENET = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
FLAGS = [*SMALL, "--epochs", "1", "--evaluate_start", "False"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_miniature(tmp_path_factory.mktemp("data"), train=4, val=2)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


@pytest.fixture
def network(here) -> Path:
    return save_network(here / "net.pth", NAME)


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """The commands that would have run."""
    lines: list[list[str]] = []
    monkeypatch.setattr(running, "main", lambda words: lines.append(list(words)) or 0)
    return lines


def own_run(folder: Path, data: Path) -> Path:
    torch.manual_seed(0)
    model = create_model(NAME, 19)
    card = ModelCard(
        NAME, {"segmentation": 19}, ("c",) * 19, ((0, 0, 0),) * 19, Preprocessing(64, 64), "streets", str(data)
    )
    folder.mkdir()
    save_checkpoint(folder / LAST, Checkpoint(card, model.state_dict(), {}))
    return folder


def test_training_then_quantization(here, data, capsys):
    backbone = save_backbone(MOBILENET, here / "weights")
    words = ["--data_path", str(data), "--pretrained", str(backbone), *FLAGS, "--save_path", "run"]
    words += ["--quantize", "True", "--quantize_epochs", "1"]
    assert running.run(SCRIPT, words) == 0, capsys.readouterr().err
    assert load_checkpoint(here / "run" / LAST).quantization is None
    assert load_checkpoint(here / "run_qat" / LAST).quantization is not None
    with (here / "run_qat/metrics.csv").open() as file:
        assert 0 <= float(next(csv.DictReader(file))["lr"]) <= 1e-5


@pytest.mark.parametrize(
    "line, exported",
    [
        ("--save_path run", ["run"]),
        ("--resume old/last.pt", ["old"]),
        ("--resume both", ["both", "both_qat"]),
        ("--save_path run --dry_run True", []),
        ("--save_path run --quantize True", ["run", "run_qat"]),
        ("--save_path run --quantize True --dry_run True", []),
    ],
)
def test_save_onnx_exports_after_the_training(here, asked, line, exported):
    """Of both trainings, where quantization follows."""
    (here / "both_qat").mkdir()
    (here / "both_qat" / LAST).touch()
    assert running.run(SCRIPT, ["--save_onnx", "True", *line.split()]) == 0
    assert asked[0][0] == "train"
    assert asked[1:] == [["export", folder] for folder in exported]


@pytest.mark.parametrize(
    "line, verb", [("--quantize True", "quantize"), ("--phase calibration", "calibrate")], ids=["quantize", "calibrate"]
)
def test_save_onnx_exports_what_was_quantized(network, asked, data, line, verb):
    words = ["--pretrained", "net.pth", "--data_path", str(data), "--save_onnx", "True", *line.split()]
    assert running.run(SCRIPT, words) == 0
    assert [asked[0][0], asked[1][0]] == [verb, "export"]
    assert asked[1][1] == asked[0][asked[0].index("--save_path") + 1]
    asked.clear()
    assert running.run(SCRIPT, [*words, "--dry_run", "True"]) == 0
    assert [words[0] for words in asked] == [verb]


@pytest.mark.parametrize("line", ["--quantize True", "--phase calibration"])
def test_a_dry_run_of_a_quantization_keeps_nothing(network, data, capsys, line):
    before = sorted(network.parent.iterdir())
    words = ["--pretrained", "net.pth", "--data_path", str(data), "--dry_run", "True", *FLAGS, *line.split()]
    assert running.run(SCRIPT, words) == 0
    captured = capsys.readouterr()
    assert "dry run" in captured.out
    assert "--dry_run" not in captured.err
    assert sorted(network.parent.iterdir()) == before


def test_save_onnx_names_the_folder_that_it_exports(here, asked):
    running.run(SCRIPT, ["--save_onnx", "True"])
    assert asked[0][asked[0].index("--save_path") + 1] == asked[1][1]


def test_quantization_of_a_whole_network_does_not_train_it_first(network, asked, data):
    words = ["--pretrained", "net.pth", "--data_path", str(data), "--quantize", "True", "--lr", "2e-5"]
    running.run(SCRIPT, [*words, "--histogram_range", "False"])
    assert asked[0][0] == "quantize"
    words = " ".join(asked[0])
    assert "--epochs 10 --lr 2e-5" in words
    assert words.endswith("--observer ema")


def test_a_quantization_goes_on_in_its_folder(network, asked, data):
    """Epochs and rate of the published phase are not named for it: they are the run's own."""
    words = ["--pretrained", "net.pth", "--data_path", str(data), "--quantize", "True", "--resume", "old_qat/last.pt"]
    assert running.run(SCRIPT, words) == 0
    assert asked[0][2:] == ["--save_path", "old_qat", "--data_path", str(data), "--resume", "True"]


def test_a_backbone_is_trained_first(here, asked):
    backbone = save_backbone(MOBILENET, here / "weights")
    running.run(SCRIPT, ["--pretrained", str(backbone), "--quantize", "True"])
    words = " ".join(asked[0])
    assert words.startswith("train ")
    assert "--quantize_epochs 10 --quantize_lr 1e-5" in words
    assert "--quantize True" in words
    assert not holds_network([str(backbone)])
    assert not holds_network([])


def test_what_only_quantize_knows_waits_for_the_network(here, capsys):
    assert running.run(SCRIPT, ["--quantize", "True", "--bitwidth_weights", "7"]) == 2
    assert "train first, then give the run as --pretrained" in capsys.readouterr().err


@pytest.mark.parametrize("size, images", [("0", "4"), ("0.5", "2"), ("3", "3"), ("99", "4")])
def test_calibration_counts_pictures_as_epochs_do(network, asked, data, size, images):
    words = ["--phase", "calibration", "--pretrained", "net.pth", "--data_path", str(data), "--epoch_size", size]
    assert running.run(SCRIPT, words) == 0
    assert asked[0][0] == "calibrate"
    assert asked[0][asked[0].index("--calibration_images") + 1] == images


def test_calibration_counts_what_a_run_was_trained_on(here, asked, data):
    """Split and few pictures of the run, whatever the recipe of the script says."""
    for name, config, images in (("split", {"train_split": "val"}, "2"), ("few", {"overfit": 3}, "3")):
        run = own_run(here / name, data)
        checkpoint = load_checkpoint(run / LAST)
        save_checkpoint(run / LAST, Checkpoint(checkpoint.card, checkpoint.state_dict, config))
        words = ["--phase", "calibration", "--pretrained", name, "--epoch_size", "0"]
        assert running.run(SCRIPT, words) == 0
        assert asked[-1][asked[-1].index("--calibration_images") + 1] == images


def test_our_own_runs_are_opened_as_they_are(here, data, asked):
    run = own_run(here / "run", data)
    running.run(SCRIPT, ["--phase", "validation", "--pretrained", "run", "--epoch_size_val", "1", "--lr", "1"])
    assert asked[0] == ["validate", str(run.relative_to(here)), "--epoch_size", "1"]


def test_named_preprocessing_changes_the_card_of_a_run(here, data):
    own_run(here / "run", data)
    given = {"img_resize": ["96", "64"], "image_mean": ["1", "2", "3"], "input_channel_reverse": ["True"]}
    with as_model({"pretrained": ["run"]} | given, given) as path:
        assert path != Path("run")
        changed = load_checkpoint(path)
    expected = Preprocessing(96, 64, (1, 2, 3), (1 / 64, 1 / 64, 1 / 64), "BGR")
    assert changed.card.preprocessing == expected
    assert not path.exists()
    model = create_model(NAME, 19)
    model.load_state_dict(changed.state_dict)


def test_onnx_files_need_no_card(here):
    with as_model({"pretrained": ["a.onnx"]}, {}) as path:
        assert path == Path("a.onnx")


def test_published_weights_get_a_card_of_the_flags(network, data):
    options = {"pretrained": ["net.pth"], "model_name": [NAME], "dataset_name": ["cityscapes_segmentation"]}
    options |= {"data_path": [str(data)], "img_resize": ["64", "96"], "interpolation": ["area"]}
    with as_model(options, {}) as path:
        checkpoint = load_checkpoint(path)
    assert checkpoint.card.preprocessing == Preprocessing(64, 96, interpolation="area")
    assert checkpoint.card.classes[:2] == ("road", "sidewalk")
    assert (checkpoint.card.outputs, checkpoint.card.dataset_name) == ({"segmentation": 19}, "cityscapes_segmentation")
    published = torch.load("net.pth", weights_only=True)
    assert all(torch.equal(checkpoint.state_dict[key], value) for key, value in published.items())


@pytest.mark.parametrize(
    "words, code, reason",
    [
        (["--phase", "validation"], 2, "--pretrained is missing"),
        (["--phase", "validation", "--pretrained", "gone.pth"], 3, "gone.pth"),
        (["--phase", "validation", "--pretrained", "backbone.pth"], 3, "not a whole network; train from it: "),
        (["--phase", "validation", "--pretrained", "run", "--quantize", "True"], 2, "run is a float network"),
        (
            ["--phase", "calibration", "--pretrained", "run", "--epoch_size", "x"],
            2,
            "--epoch_size x: expected a number",
        ),
        (["--epoch", "3"], 2, "unknown flag --epoch; did you mean --epochs"),
    ],
)
def test_one_line_says_what_is_wrong(here, data, capsys, words, code, reason):
    own_run(here / "run", data)
    save_backbone(MOBILENET, here).rename(here / "backbone.pth")
    assert running.run(SCRIPT, [*words, "--data_path", str(data)]) == code
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert reason in error
