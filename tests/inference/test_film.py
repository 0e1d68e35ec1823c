"""Videos: frames in order, the video that is written, flicker and smoothing against hand-made numbers, faults."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.commands import infer
from edgeailite.config import InferConfig
from edgeailite.data.files.images import read_image, read_label
from edgeailite.errors import DataError, UsageError
from edgeailite.inference import label_picture, predictor, video
from edgeailite.inference.video import Writer
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.open import OpenModel

PALETTE = ((0, 0, 0), (255, 255, 255))
HEIGHT, WIDTH = 48, 64
MODEL = Path("model.onnx")


def by_brightness(images):
    """Bright is class 1; the logits are 1 apart where the picture is black or white."""
    value = images[0].astype(np.float32).mean(1, keepdims=True) / np.float32(255)
    return {"segmentation": np.concatenate([1 - value, value], 1)}


@pytest.fixture(autouse=True)
def network(monkeypatch, tmp_path) -> OpenModel:
    """A network of two classes in place of the one that would be opened."""
    card = ModelCard("none", {"segmentation": 2}, ("dark", "bright"), PALETTE, Preprocessing(HEIGHT, WIDTH), "none")
    opened = OpenModel(card, by_brightness, "onnx", tmp_path, None, file=tmp_path / MODEL)
    (tmp_path / MODEL).write_bytes(b"stands for a model")
    monkeypatch.setattr(predictor, "open_model", lambda *_, **__: opened)
    return opened


def film(path: Path, levels: list[int], *, rate: float = 10.0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A video whose frames are black on the left, and of one grey level each on the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(path, rate)
    for level in levels:
        frame = np.zeros((*size, 3), np.uint8)
        frame[:, size[1] // 2 :] = level
        writer.add(frame)
    writer.finish()
    return path


def options(tmp_path: Path, source: Path, **more: object) -> InferConfig:
    return InferConfig(tmp_path / MODEL, (source,), tmp_path / "out", **more)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    with video.opened(path) as capture:
        return list(capture.frames()), capture.rate


@pytest.mark.parametrize("kind", video.FORMATS)
def test_a_video_is_written_in_every_format(tmp_path, kind, capsys):
    source = film(tmp_path / "in/ü 1.avi", [0, 255, 0, 255, 255], rate=7.5)
    assert infer.run(options(tmp_path, source, video="colors", video_format=kind, json=True)) == 0
    made = f"ü 1_colors.{kind}".replace("colors", "color")
    assert files(tmp_path / "out") == {made, "ü 1_video.json", "shares.csv", "shares.json", "infer.json", "legend.png"}
    frames, rate = frames_of(tmp_path / "out" / made)
    assert rate == pytest.approx(7.5, abs=0.01)
    assert [frame[:, WIDTH * 3 // 4].mean() > 128 for frame in frames] == [False, True, False, True, True]
    found = json.loads(capsys.readouterr().out)["videos"][str(source)]
    assert found["frames"] == 5
    assert found["flicker"]["segmentation"] == pytest.approx(3 * 0.5 / 4, abs=0.01)


def test_shares_have_a_row_for_each_frame(tmp_path):
    source = film(tmp_path / "a.avi", [0, 255, 255])
    assert infer.run(options(tmp_path, source)) == 0
    with (tmp_path / "out/shares.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == [f"{source}#{index:06d}" for index in range(3)]
    assert [float(row["bright"]) for row in rows] == pytest.approx([0, 0.5, 0.5], abs=0.02)


def test_smoothing_is_the_average_of_logits(tmp_path, capsys):
    """With s = 0.6 a bright frame after dark ones has 0.4 of the weight: still dark; the second one is bright."""
    source = film(tmp_path / "a.avi", [0, 0, 255, 0, 255, 255])
    plain, calm = options(tmp_path, source, frames=True, write=("labels",)), tmp_path / "calm"
    assert infer.run(plain) == 0
    assert infer.run(replace(plain, save_path=calm, smooth=0.6, json=True)) == 0
    right = [bool(read_label(calm / f"a_frames/{i:06d}_label.png")[24, 48]) for i in range(6)]
    assert right == [False, False, False, False, True, True]  # averages 0, 0, .4, .24, .544, .726
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["videos"][str(source)]
    assert found["flicker"]["segmentation"] == pytest.approx(0.5 * 3 / 5, abs=0.01)
    assert found["flicker_smoothed"]["segmentation"] == pytest.approx(0.5 * 1 / 5, abs=0.01)


def test_labels_of_frames_are_those_of_pictures(tmp_path, network):
    source = film(tmp_path / "a.avi", [0, 255, 90], size=(60, 82))
    assert infer.run(options(tmp_path, source, frames=True, write=("labels", "overlay"))) == 0
    for index, frame in enumerate(frames_of(source)[0]):
        label = read_label(tmp_path / f"out/a_frames/{index:06d}_label.png")
        assert (label == label_picture(network, frame)).all()
        assert read_image(tmp_path / f"out/a_frames/{index:06d}_overlay.png").shape == frame.shape


def test_side_by_side_with_odd_sides(tmp_path, monkeypatch):
    source = film(tmp_path / "a.avi", [0, 255])
    odd = np.zeros((47, 33, 3), np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(video.Capture, "frames", lambda self: iter([odd, odd]))
        assert infer.run(options(tmp_path, source, video="side_by_side")) == 0
    assert frames_of(tmp_path / "out/a_side_by_side.mp4")[0][0].shape == (48, 66, 3)


def test_a_finished_video_is_left_and_another_is_made_anew(tmp_path, monkeypatch):
    source = film(tmp_path / "a.avi", [0, 255, 0])
    config = options(tmp_path, source, resume=True)

    def stopped(images):
        raise KeyboardInterrupt

    whole = predictor.open_model()
    monkeypatch.setattr(predictor, "open_model", lambda *_, **__: replace(whole, predict=stopped))
    with pytest.raises(KeyboardInterrupt):
        infer.run(config)
    assert not list((tmp_path / "out").glob("*.mp4"))
    monkeypatch.setattr(predictor, "open_model", lambda *_, **__: whole)
    assert infer.run(config) == 0
    monkeypatch.setattr(predictor, "open_model", lambda *_, **__: replace(whole, predict=stopped))
    assert infer.run(config) == 0
    assert len((tmp_path / "out/shares.csv").read_text().splitlines()) == 4


def test_no_video_of_somebody_else_is_replaced(tmp_path):
    source = film(tmp_path / "a.avi", [0, 255])
    (tmp_path / "out").mkdir()
    theirs = film(tmp_path / "out/a_overlay.mp4", [0])
    before = theirs.read_bytes()
    with pytest.raises(DataError, match=r"a_overlay\.mp4 is there and no result of infer"):
        infer.run(options(tmp_path, source))
    assert theirs.read_bytes() == before


def test_damaged_videos_are_skipped_and_the_rest_labelled(tmp_path):
    folder = tmp_path / "in"
    whole = film(folder / "whole.avi", [0, 255, 0])
    (folder / "text.mp4").write_text("no video")
    (folder / "cut.avi").write_bytes(whole.read_bytes()[:300])
    config = replace(options(tmp_path, folder / "*"), write=("shares",))
    assert infer.run(config) == 1
    with (tmp_path / "out/skipped.csv").open(newline="") as file:
        listed = {Path(row["input"]).name: row["reason"] for row in csv.DictReader(file)}
    assert set(listed) == {"text.mp4", "cut.avi"}
    assert "not a readable video" in listed["text.mp4"]
    assert (tmp_path / "out/whole_overlay.mp4").stat().st_size > 0


def test_a_video_that_ends_early_is_said(tmp_path, monkeypatch, capsys):
    source = film(tmp_path / "a.avi", [0] * 10)
    frames = video.Capture.frames
    with monkeypatch.context() as patch:
        patch.setattr(video.Capture, "frames", lambda self: islice(frames(self), 6))
        assert infer.run(options(tmp_path, source)) == 1
    assert "ends after 6 of 10 frames" in capsys.readouterr().err
    assert len(frames_of(tmp_path / "out/a_overlay.mp4")[0]) == 6


def test_part_of_a_video(tmp_path):
    source = film(tmp_path / "a.avi", [0] * 10)
    assert infer.run(options(tmp_path, source, max_frames=3, fps=2)) == 0
    frames, rate = frames_of(tmp_path / "out/a_overlay.mp4")
    assert (len(frames), rate) == (3, 2)


def test_a_camera_records_until_it_is_told_to_stop(tmp_path, monkeypatch):
    endless = film(tmp_path / "a.avi", [0, 255] * 5)
    real = cv2.VideoCapture
    monkeypatch.setattr(video.cv2, "VideoCapture", lambda source: real(str(endless) if source == 3 else source))
    assert infer.run(options(tmp_path, Path("camera:3"), max_frames=4)) == 0
    assert len(frames_of(tmp_path / "out/camera_3_overlay.mp4")[0]) == 4


def test_a_camera_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="camera:97: this camera cannot be opened"):
        infer.run(options(tmp_path, Path("camera:97")))


def test_class_maps_have_no_average(tmp_path, network, monkeypatch):
    def classes(images):
        return {"segmentation": by_brightness(images)["segmentation"].argmax(1)}

    monkeypatch.setattr(predictor, "open_model", lambda *_, **__: replace(network, predict=classes))
    source = film(tmp_path / "a.avi", [0, 255])
    assert infer.run(options(tmp_path, source)) == 0
    with pytest.raises(UsageError, match="export it with --argmax none"):
        infer.run(replace(options(tmp_path, source), smooth=0.5))
