"""The page "Your own network": its commands and its code run as they stand, from a torch module to a proven file."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from edgeailite.runtime import load_onnx
from tests.foreign.onnx_models import model, weights
from tests.markdown import ROOT
from tests.test_python_page import as_folder

PAGE = ROOT / "docs/your_network.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXPORT, IN_PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    edgeailite (.*)$", TEXT, re.MULTILINE)
MACHINE = ("--device", "cpu", "--threads", "1")
SHORT = {
    "quantize": ("--epochs", "1", "--batch_size", "2", "--epoch_size", "2", "--calibration_images", "2"),
    "analyze": ("--images", "1", "--calibration_images", "1"),
    "verify": ("--images", "1", "--sizes", "65", "97"),
}
NOT_RUN = ("serve",)  # waits for callers
NETWORK = '''
import torch
from torch import nn

class Network(nn.Module):
    """Four classes at the picture's size."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid())
        self.up = nn.ConvTranspose2d(16, 4, 2, 2)

    def forward(self, x):
        y = self.first(x)
        y = self.up(y * self.gate(y))
        return nn.functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)
'''


class Noise(CalibrationDataReader):
    """One random picture."""

    def __init__(self, name: str) -> None:
        self.left = [{name: np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)}]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantize_elsewhere(source: Path, path: Path) -> None:
    """Quantize a float file with onnxruntime's own tool."""
    name = onnx.load(str(source)).graph.input[0].name
    quantize_static(str(source), str(path), Noise(name), weight_type=QuantType.QInt8, per_channel=True)


@pytest.fixture(scope="module")
def folder(miniature, tmp_path_factory):
    """A folder with the network, names of classes, pictures, and a labelled data set; the page's export is there."""
    folder = tmp_path_factory.mktemp("page")
    as_folder(miniature, folder / "own")
    (folder / "photos").symlink_to(folder / "own" / "images" / "val")
    (folder / "classes.txt").write_text("road\nbuilding\nsky\ncar\n")
    (folder / "network.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        exec(EXPORT, {})
    classifier = [
        ("Conv", "image w", "c", {"strides": [2, 2]}),
        ("GlobalAveragePool", "c", "g", {}),
        ("Flatten", "g", "f", {}),
        ("Gemm", "f v", "y", {"transB": 1}),
    ]
    constants = {"w": weights(8, 3, 3, 3), "v": weights(4, 8)}
    onnx.save(model(classifier, constants), folder / "classifier.onnx")
    for name, picture in zip(("sky", "car"), sorted((folder / "photos").iterdir()), strict=True):
        (folder / "by_class" / "val" / name).mkdir(parents=True)
        (folder / "by_class" / "val" / name / picture.name).symlink_to(picture)
    quantize_elsewhere(folder / "theirs.onnx", folder / "theirs_int8.onnx")
    yield folder
    sys.modules.pop("network", None)


def test_the_commands_run_in_their_order(folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    done = []
    for line in COMMANDS:
        verb, *words = shlex.split(line, comments=True)
        if verb in NOT_RUN:
            continue
        machine = MACHINE if verb not in ("card", "export", "verify", "report") else ()
        workers = ("--workers", "0") if verb in ("calibrate", "validate", "compare", "analyze", "quantize") else ()
        ended = command(verb, *words, *SHORT.get(verb, ()), *machine, *workers)
        assert ended.code == 0, (line, ended.err)
        done.append(verb)
    assert {"card", "calibrate", "export", "verify", "infer", "validate", "compare", "analyze", "quantize"} <= set(done)
    assert (folder / "labelled_qat" / "network.onnx").is_file()


def test_the_code_runs_as_it_stands(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    exec(IN_PYTHON, {})
    assert capsys.readouterr().out == "{'output': (1, 4, 64, 96)}\n"
    assert load_onnx(Path("model_int8.onnx")).kind == "int8"
