"""The scripts of the published commands: each starts by itself, from any folder, and one of them trains to the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from edgeailite.compat import ade20k, pixel2pixel
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from tests.commands.test_train_datasets import write_ade20k, write_voc

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "references").rglob("*.py"))
PIXEL2PIXEL = ROOT / "references/pixel2pixel"


def run(script: Path, words: list[object], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )


def test_there_is_a_script_for_every_published_one():
    assert {path.stem for path in PIXEL2PIXEL.glob("*.py")} == set(pixel2pixel.SCRIPTS)
    assert {path.stem for path in (ROOT / "references/ade20k").glob("*.py")} == set(ade20k.SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_thin(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 20


@pytest.mark.parametrize("script", [PIXEL2PIXEL / "infer_segmentation_main.py", ROOT / "references/ade20k/test.py"])
def test_scripts_say_what_they_take_and_what_is_missing(tmp_path, script):
    ended = run(script, ["--help"], tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "docs/published_commands.md" in ended.stdout
    ended = run(script, [], tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: --")
    assert "is missing" in ended.stderr


@pytest.mark.parametrize(
    ("dataset", "write", "classes"), [("voc_segmentation", write_voc, 21), ("ade20k_segmentation", write_ade20k, 151)]
)
def test_a_published_command_trains_on_a_miniature(tmp_path, dataset, write, classes):
    write(tmp_path / "data")
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v2().state_dict(), tmp_path / "mobilenet_v2.pth")
    words = ["--model_name", "deeplabv3plus_mobilenetv2_tv_edgeailite", "--dataset_name", dataset]
    words += ["--data_path", tmp_path / "data", "--img_resize", 64, 64, "--output_size", 48, 48, "--gpus", 0, 1]
    words += ["--pretrained", tmp_path / "mobilenet_v2.pth", "--save_path", tmp_path / "run", "--parallel_model", False]
    words += ["--batch_size", 2, "--epochs", 1, "--workers", 0, "--device", "cpu", "--evaluate_start", False]
    ended = run(PIXEL2PIXEL / "train_segmentation_main.py", words, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "torchvision MobileNetV2 backbone" in ended.stderr
    assert "note: --parallel_model: " in ended.stderr
    card = load_checkpoint(tmp_path / "run" / LAST).card
    assert (len(card.classes), card.preprocessing.interpolation) == (classes, "area")
