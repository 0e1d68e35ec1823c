"""`edgeailite report` and `edgeailite models` on a tiny run and a miniature data set."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from edgeailite.commands import report
from edgeailite.config import ReportConfig
from edgeailite.data.files.images import write_png
from edgeailite.data.sets.cityscapes import CLASS_TABLE
from edgeailite.errors import DataError
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST, append_metrics, start_run

CLASSES = len(CLASS_TABLE)
LABELS = (7, 11, 0)  # road, building, and a picture with nothing labelled


@pytest.fixture(autouse=True)
def no_loader_processes(monkeypatch):
    monkeypatch.setattr("edgeailite.data.loader.worker_count", lambda workers: 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A data set of three pictures in the Cityscapes layout beside a run folder."""
    root = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    for index, label in enumerate(LABELS):
        stem = f"town/town_{index:06d}"
        picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (80, 60))
        write_png(root / f"data/leftImg8bit/val/{stem}_leftImg8bit.png", picture)
        write_png(root / f"data/gtFine/val/{stem}_gtFine_labelIds.png", np.full((60, 80), label, np.uint8))
    make_run(root / "run", root / "data")
    return root


def make_run(folder: Path, data: Path) -> None:
    torch.manual_seed(1)
    card = ModelCard(
        "deeplabv3plus_mobilenetv2_tv_edgeailite",
        {"segmentation": CLASSES},
        tuple(row[1] for row in CLASS_TABLE),
        tuple(row[2] for row in CLASS_TABLE),
        Preprocessing(64, 64),
        "streets",
        str(data),
    )
    start_run(folder, {"epochs": 2, "lr": 0.125}, {"python": "3.x", "packages": {"torch": "y"}})
    save_checkpoint(folder / LAST, Checkpoint(card, create_model(card.model_name, CLASSES).state_dict(), {}))
    for epoch in (1, 2):
        append_metrics(folder, {"epoch": epoch, "loss": 1 / epoch, "miou": "", "pixel_accuracy": ""})


def written(config: ReportConfig) -> str:
    assert report.run(config) == 0
    path = config.output or config.model / "report.html"
    return path.read_text(encoding="utf-8")


def test_report_of_a_run(made, tmp_path, capsys):
    html = written(ReportConfig(made / "run", output=tmp_path / "deep/report.html", devices=("raspberry_pi_4",)))
    assert str(tmp_path / "deep/report.html") in capsys.readouterr().out
    assert len(html.encode()) < 5_000_000
    for part in ("2,425,024", "GMACs at 64×64", "0.125", "packages.torch", "Float network", "3 pictures"):
        assert part in html, part
    assert hashlib.sha256((made / "run/last.pt").read_bytes()).hexdigest() in html
    assert "raspberry_pi_4" in html
    assert "edgeailite train --epochs 2 --lr 0.125" in html
    assert not re.search(r'(src|href)="(?!data:image/|#)', html)


def test_worst_pictures_are_labelled_ones_worst_first(made, tmp_path):
    html = written(ReportConfig(made / "run", output=tmp_path / "r.html", forms="none"))
    shown = re.findall(r'<h4>(town_\d+)_leftImg8bit\.png <span class="soft">mIoU ([\d.]+)', html)
    assert {name for name, _ in shown} == {"town_000000", "town_000001"}
    assert float(shown[0][1]) <= float(shown[1][1])
    without = written(ReportConfig(made / "run", output=tmp_path / "r.html", images=0, forms="none"))
    assert "No pictures were asked for" in without
    assert 'class="example"' not in without


def test_what_is_missing_is_said(made, tmp_path):
    """A folder with nothing but the checkpoint."""
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(made / "run/last.pt", folder)
    html = written(ReportConfig(folder, images=0))
    for part in (
        "No metrics.csv",
        "No sensitivity.json",
        "No contract",
        "No env.json",
        "No file was exported",
        "No device",
    ):
        assert part in html, part
    assert "model.onnx is not there" in html


def test_hostile_names_are_text(made, tmp_path):
    """Class names come from the data set's settings, values of the run from its files."""
    hostile = '"><img src=http://x onerror=alert(1)>'
    folder = tmp_path / "run"
    make_run(folder, made / "data")
    (folder / "config.yaml").write_text(yaml.safe_dump({"note": hostile, "epochs": hostile}))
    (folder / "env.json").write_text(json.dumps({hostile: hostile}))
    layer = {"name": hostile, "kind": "weights", "sqnr_db": {hostile: 1.0}, "drop": {}}
    page = {"scheme": hostile, "sections": [], "layers": [layer]}
    (folder / "sensitivity.json").write_text(json.dumps(page))
    html = written(ReportConfig(folder, images=1, forms="none"))
    assert "<img src=http" not in html
    assert html.count("&lt;img src=http://x onerror") >= 4


def test_damaged_metrics_are_left_out(made, tmp_path):
    folder = tmp_path / "run"
    make_run(folder, made / "data")
    (folder / "metrics.csv").write_text("epoch,loss\nx,y\n")
    assert "No metrics.csv with epochs" in written(ReportConfig(folder, images=0, forms="none"))


def test_damaged_files_are_named(made, tmp_path):
    folder = tmp_path / "run"
    make_run(folder, made / "data")
    (folder / "env.json").write_text("{")
    with pytest.raises(DataError, match=r"env\.json: cannot be read"):
        report.run(ReportConfig(folder))


def test_missing_run_and_unwritable_output(made, tmp_path):
    with pytest.raises(DataError, match="no such run folder"):
        report.run(ReportConfig(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="choose another --output"):
        report.run(ReportConfig(made / "run", output=tmp_path / "file/report.html"))
