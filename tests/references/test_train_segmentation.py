"""The published commands, as printed: they parse, and on miniatures they train."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from edgeailite.checkpoint import LAST, load_checkpoint
from edgeailite.cli import parse
from tests.commands.test_train_datasets import write_ade20k, write_voc

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "references/pixel2pixel/train_segmentation_main.py"
WEIGHTS = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
REGNET = "https://dl.fbaipublicfiles.com/pycls/dds_baselines/160906036/RegNetX-800MF_dds_8gpu.pyth"
CITY = "--dataset_name cityscapes_segmentation --data_path ./data/datasets/cityscapes/data"
PRINTED = [
    f"--model_name deeplabv3plus_mobilenetv2_tv_edgeailite {CITY} --img_resize 384 768 --output_size 1024 2048 "
    f"--pretrained {WEIGHTS} --gpus 0 1",
    f"{CITY} --model_name fpn_aspp_regnetx800mf_edgeailite --img_resize 384 768 --output_size 1024 2048 --gpus 0 1 "
    f"--pretrained {REGNET}",
    f"--model_name deeplabv3plus_mobilenetv2_tv_edgeailite {CITY} --img_resize 768 1536 --rand_crop 512 1024 "
    f"--output_size 1024 2048 --pretrained {WEIGHTS} --gpus 0 1",
    f"--model_name fpn_aspp_mobilenetv2_tv_edgeailite {CITY} --img_resize 768 1536 --rand_crop 512 1024 "
    f"--output_size 1024 2048 --pretrained {WEIGHTS} --gpus 0 1",
    "--model_name deeplabv3plus_mobilenetv2_tv_edgeailite --dataset_name voc_segmentation --data_path "
    f"./data/datasets/voc --img_resize 512 512 --output_size 512 512 --pretrained {WEIGHTS} --gpus 0 1",
]


@pytest.fixture
def script(monkeypatch):
    """The script's functions, without leaving its folder on the path."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import train_segmentation_main

    return train_segmentation_main


@pytest.mark.parametrize("line", PRINTED)
def test_printed_commands_parse(script, line):
    arguments, gpus = script.train_arguments(shlex.split(line))
    config = parse("TrainConfig", arguments, prog="edgeailite train")
    assert gpus == ["0", "1"]
    assert config.pretrained in ((WEIGHTS,), (REGNET,))
    assert config.output_size in ((1024, 2048), (512, 512))
    assert (config.pipeline, config.optimizer, config.epochs, config.warmup_epochs) == ("published", "adam", 250, 5)


def test_flags_replace_the_recipe(script):
    arguments, gpus = script.train_arguments(["--lr=0.1", "--milestones", "3", "--optimizer", "sgd"])
    config = parse("TrainConfig", arguments, prog="edgeailite train")
    assert (config.lr, config.milestones, config.optimizer, gpus) == (0.1, (3,), "sgd", None)


@pytest.mark.parametrize(
    ("dataset", "write", "classes"), [("voc_segmentation", write_voc, 21), ("ade20k_segmentation", write_ade20k, 150)]
)
def test_a_published_command_trains_on_a_miniature(tmp_path, dataset, write, classes):
    write(tmp_path / "data")
    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v2().state_dict(), tmp_path / "mobilenet_v2.pth")
    words = ["--model_name", "deeplabv3plus_mobilenetv2_tv_edgeailite", "--dataset_name", dataset]
    words += ["--data_path", tmp_path / "data", "--img_resize", 64, 64, "--output_size", 48, 48, "--gpus", 0, 1]
    words += ["--pretrained", tmp_path / "mobilenet_v2.pth", "--save_path", tmp_path / "run"]
    words += ["--batch_size", 2, "--epochs", 1, "--workers", 0, "--device", "cpu"]
    ended = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "torchvision MobileNetV2 backbone" in ended.stderr
    card = load_checkpoint(tmp_path / "run" / LAST).card
    assert (len(card.classes), card.preprocessing.interpolation) == (classes, "area")
