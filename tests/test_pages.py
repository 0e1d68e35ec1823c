"""The commands of docs/infer.md and docs/serve.md, run as printed in a folder that holds what the pages speak of."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.inference.video import Writer
from tests.markdown import ROOT, blocks
from tests.serve.running import picture, serving, tiny_model

SHELL = 'edgeailite() { "$PYTHON" -m edgeailite "$@"; }\nset -euo pipefail\n'


def script(page: str) -> str:
    """The blocks of a page that are meant to be run, with an `edgeailite` that is this one."""
    return SHELL + "".join(block.text for block in blocks(ROOT / page) if block.language == "bash")


def bash(text: str, folder: Path) -> None:
    ended = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model with the classes of a data set whose label values are 10, 20, 30, 40; pictures; a film."""
    root = tmp_path_factory.mktemp("pages")
    labels = np.repeat(np.array([10, 20, 30, 40], np.uint8), 12)[:, None] * np.ones((1, 80), np.uint8)
    for split in ("train", "val"):
        for kind, data in (("images", picture()), ("labels", cv2.imencode(".png", labels)[1].tobytes())):
            path = root / "data" / kind / split / "a.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
    settings = "classes: [c0, c1, c2, c3]\nlabel_map: {10: 0, 20: 1, 30: 2, 40: 3}\n"
    (root / "data/dataset.yaml").write_text(settings)
    (root / "runs/first_qat").mkdir(parents=True)
    tiny_model(root / "runs/first_qat/model_int8.onnx", data=("folder", root / "data"))
    (root / "pictures/more").mkdir(parents=True)
    (root / "pictures/a.png").write_bytes(picture())
    (root / "pictures/more/b.jpg").write_bytes(picture(".jpg", seed=1))
    (root / "street.jpg").write_bytes(picture(".jpg", seed=2))
    writer = Writer(root / "film.mp4", 10.0)
    for level in (40, 80, 120):
        writer.add(np.full((48, 64, 3), level, np.uint8))
    writer.finish()
    return root


def test_the_commands_of_infer(folder):
    shown = script("docs/infer.md")
    late = "touch pictures/more/late.png; cp pictures/a.png pictures/more/late.png\n"
    bash(shown.replace("find pictures", f"sleep 0.05; {late}find pictures"), folder)
    made = {str(path.relative_to(folder / "predictions")) for path in (folder / "predictions").rglob("*.*")}
    of_each = {f"{name}_{kind}.png" for name in ("a", "more/b", "more/late") for kind in ("label", "color", "overlay")}
    assert made == of_each | {"shares.csv", "shares.json", "infer.json", "legend.png"}
    assert {path.name for path in (folder / "later").rglob("*_label.png")} == {"late_label.png"}
    assert {path.name for path in (folder / "films").iterdir()} >= {"film_side_by_side.mp4", "film_video.json"}
    with (folder / "films/shares.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    classes = cv2.imread(str(folder / "predictions/a_label.png"), cv2.IMREAD_UNCHANGED)
    own = cv2.imread(str(folder / "ids/a_label.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(own, 10 * (classes + 1))


def test_the_requests_of_serve(folder):
    requests = [line for block in blocks(ROOT / "docs/serve.md") for line in block.text.splitlines() if "curl" in line]
    with serving(folder, "runs/first_qat/model_int8.onnx") as running:
        answers = [
            subprocess.run(
                [word.replace(":8080", f":{running.port}") for word in shlex.split(line)] + ["--fail", "--silent"],
                cwd=folder,
                capture_output=True,
                check=True,
            )
            for line in requests
        ]
        assert running.stop(signal.SIGTERM) == 0
    assert len(answers) >= 3
    overlay, labels = (cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for name in ("overlay.png", "labels.png"))
    assert overlay.shape == (48, 80, 3) and labels.shape == (48, 80)
    shares = json.loads(answers[2].stdout)
    assert sum(each["pixels"] for each in shares["classes"]) == 48 * 80
