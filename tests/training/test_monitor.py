"""What watching a training leaves in its folder: curves and sheets."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.drawing.sheets import WRONG
from edgeailite.training import monitor
from edgeailite.training.monitor import CURVES, LATEST, OVERLAYS, SPREAD
from tests.training.watched import IMAGE, LABEL, Clock, make, row, show, train


def read_png(path: Path) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


def blue(image: np.ndarray) -> int:
    """Columns with pixels of the first line's colour."""
    return int((np.abs(image.astype(int) - (0x2F, 0x6F, 0x9F)).sum(-1) < 20).any(0).sum())


def test_curves_grow_with_the_epochs_and_leave_no_half_file(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "CURVES_EVERY", 0.0)
    with make(tmp_path, epochs=3) as watch:
        train(watch, range(1))
        first = blue(read_png(tmp_path / CURVES))
        train(watch, range(1, 3))
    assert blue(read_png(tmp_path / CURVES)) > 2 * first > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURVES]


def test_short_epochs_are_not_spent_on_drawing(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(monitor, "panels_figure", lambda epochs, panels, title: drawn.append(list(epochs)) or b"png")
    clock = Clock()
    with make(tmp_path, epochs=100, clock=clock) as watch:
        for epoch in range(1, 41):
            clock.now += 1.0
            watch.epoch(row(epoch))
    assert len(drawn) == 5 and drawn[-1] == list(range(1, 41)), "every ten seconds, and all of it at the end"


def test_a_resumed_run_goes_on_from_the_rows_of_the_file(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        monitor, "panels_figure", lambda epochs, panels, title: drawn.append((epochs, panels)) or b"png"
    )
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row(1)))
        writer.writeheader()
        writer.writerows([row(1, 0.7), row(2), row(3, 0.2)])
    with make(tmp_path, epochs=4) as watch:
        assert watch._state.best == "best mIoU 70.00 in epoch 1"
        watch.epoch(row(3, 0.3))  # trained again
        watch.epoch(row(4, 0.4))
    epochs, panels = drawn[-1]
    assert epochs == [1, 2, 3, 4]
    miou = panels[2].lines["mIoU"]
    assert [miou[0], *miou[2:]] == [0.7, 0.3, 0.4] and math.isnan(miou[1])


def test_a_folder_that_cannot_be_written_is_said_once_and_ends_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(monitor, "CURVES_EVERY", 0.0)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / OVERLAYS).write_text("a file where the folder should be")
    (folder / CURVES).mkdir()
    with make(folder) as watch:
        for epoch in (1, 2, 3):
            watch.pictures(epoch, [("a", IMAGE, LABEL, LABEL)], output="segmentation", kind="segmentation")
            watch.epoch(row(epoch))
    lines = capsys.readouterr().err.splitlines()
    warnings = [line for line in lines if not line.startswith("epoch")]
    assert len(warnings) == 2 and len(lines) == 5
    for name, line in zip((OVERLAYS, CURVES), warnings):
        assert line.startswith(f"warning: {folder / name}: cannot be written (")
        assert line.endswith("; the training goes on without it, free disk space or change rights")


def sheets_in(folder: Path) -> list[int]:
    return sorted(int(path.name.split("_")[1]) for path in (folder / OVERLAYS).iterdir())


def test_a_sheet_of_the_first_pictures(tmp_path):
    heights = []
    for wanted in (1, 2):
        with make(tmp_path, overlays=wanted) as watch:
            show(watch, 3, count=5)
        image = read_png(tmp_path / OVERLAYS / "epoch_0003_segmentation.png")
        heights.append(len(image))
        wrong = (image == WRONG).all(-1)[60 : 60 + 300, -320:].mean()
        assert 0.4 < wrong < 0.6, "half of the quarters"
    assert heights[1] > heights[0] + 300


def test_a_sheet_of_depths(tmp_path):
    depth = np.linspace(2, 40, 32 * 32, dtype=np.float32).reshape(32, 32)
    with make(tmp_path) as watch:
        watch.pictures(1, [("a", IMAGE, depth, depth * 1.2), ("b", IMAGE, None, depth)], output="depth", kind="depth")
    assert read_png(tmp_path / OVERLAYS / "epoch_0001_depth.png").shape[1] > 1000


def test_none_are_wanted(tmp_path):
    with make(tmp_path, overlays=0) as watch:
        show(watch, 1)
    assert not (tmp_path / OVERLAYS).exists()


@pytest.mark.parametrize("epochs", [1, 7, 30, 300])
def test_the_sheets_that_stay_are_few(tmp_path, epochs, monkeypatch):
    monkeypatch.setattr(monitor, "encode", lambda rows, title, scale, classes, limit: (IMAGE, b"png"))
    with make(tmp_path, epochs=epochs) as watch:
        for epoch in range(1, epochs + 1):
            show(watch, epoch)
    left = sheets_in(tmp_path)
    assert len(left) <= LATEST + SPREAD
    assert left[0] == 1 and left[-LATEST:] == list(range(max(1, epochs - LATEST + 1), epochs + 1))
    assert {(epoch - 1) * SPREAD // epochs for epoch in left} == {
        (e - 1) * SPREAD // epochs for e in range(1, epochs + 1)
    }


def test_sheets_of_epochs_to_come_and_other_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "encode", lambda rows, title, scale, classes, limit: (IMAGE, b"png"))
    folder = tmp_path / OVERLAYS
    folder.mkdir()
    for name in ("epoch_0008_segmentation.png", "epoch_0008_motion.png", "epoch_0004_segmentation.png", "mine.png"):
        (folder / name).write_bytes(b"old")
    with make(tmp_path, epochs=10) as watch:
        show(watch, 5)
    left = {"epoch_0004_segmentation.png", "epoch_0005_segmentation.png", "epoch_0008_motion.png", "mine.png"}
    assert {path.name for path in folder.iterdir()} == left
