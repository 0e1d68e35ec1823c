"""The camera loop alone, as it lies in a bundle: no edgeailite beside it; and what a bundle holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.drawing.plots import BACKGROUND, background, tint
from edgeailite.errors import DataError, UsageError
from edgeailite.export import camera
from edgeailite.export.bundle import NAMES, write_bundle
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runtime import load_onnx
from edgeailite.runtime.saturation import EXACT_SUMS
from tests.onnxfile import made
from tests.test_without_torch import write_contract

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/camera.py"
ALONE = """
import runpy, sys
sys.modules["edgeailite"] = None  # an import of it fails
sys.argv = ["camera.py", *sys.argv[1:]]
runpy.run_path("camera.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an exported file."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    file = tmp_path_factory.mktemp("run") / "model.onnx"
    file.write_bytes(made.own(made.model(made.CONV, {"w": weight})))
    return file


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, 40, 56, 3)).astype(np.uint8))


def test_the_example_is_what_bundles_hold():
    assert EXAMPLE.read_bytes() == Path(camera.__file__).read_bytes()


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_a_bundle_labels_pictures_by_itself(kind, exported, tmp_path):
    bundle = tmp_path / "bundle"
    write_bundle(bundle, exported, made.CARD)
    source = tmp_path / ("film.avi" if kind == "video" else "pictures")
    if kind == "video":
        film = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*"MJPG"), 10, (56, 40))
        for frame in pictures(3):
            film.write(frame)
        film.release()
    else:
        source.mkdir()
        (source / "notes.txt").write_text("no picture")
        for index, frame in enumerate(pictures(3)):
            cv2.imwrite(str(source / f"{index}.png"), frame)
    words = [sys.executable, "-c", ALONE, "model.onnx", str(source), "--save", "out", "--threads", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=bundle)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["frame 0", "frame 1", "frame 2"]
    drawn = [cv2.imread(str(path)) for path in sorted((bundle / "out").iterdir())]
    assert [picture.shape for picture in drawn] == [(40, 56, 3)] * 3


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("rule", ["linear_exact", "area"])
@pytest.mark.parametrize("size", [(32, 48), (40, 56), (64, 80)])
def test_its_preprocessing_is_ours(order, rule, size):
    pre = Preprocessing(*size, (100.0, 110.0, 120.0), (0.01, 0.02, 0.03), order, rule)
    about = {
        "input_size": "x".join(map(str, size)), "mean": json.dumps(pre.mean), "scale": json.dumps(pre.scale),
        "channel_order": order, "interpolation": rule,
    }  # fmt: skip
    (frame,) = pictures(1)
    ours = preprocess(np.ascontiguousarray(frame[..., ::-1]), pre)
    tolerance = 0.03 if rule == "area" else 0  # a grey level: OpenCV sums floats there, in an order of its own
    np.testing.assert_allclose(camera.network_input(frame, about), ours, rtol=0, atol=tolerance)


def test_its_overlay_is_ours():
    frame = pictures(1)[0]
    labels = np.arange(40 * 56).reshape(40, 56) % 4
    palette = [[128, 64, 128], [9, 9, 9], [0, 0, 0], [7, 200, 31]]
    about = {"palette": json.dumps(palette), "classes": "road,Background,sky,car"}
    drawn = camera.overlay(frame, labels, about)
    ours = tint(frame[..., ::-1], labels, palette, alpha=0.5, plain=background(about["classes"].split(","), palette))
    assert (drawn[labels == 1] == frame[labels == 1]).all() and (drawn[labels == 2] == frame[labels == 2]).all()
    np.testing.assert_allclose(drawn[..., ::-1], ours, atol=1)  # OpenCV rounds halves its own way
    assert camera.BACKGROUND == BACKGROUND


def test_session_entries_of_the_file_are_used_else_those_of_exact_sums(exported, tmp_path):
    """Sums that are cut off changed 2 and 8 % of the labels of two int8 files on a CPU without VNNI."""
    file = tmp_path / "signed.onnx"
    file.write_bytes(made.own(edgeailite_session='{"session.qdqisint8allowed": "1"}'))
    (exact,) = EXACT_SUMS

    def entry(path: Path, key: str, **options: bool) -> str | None:
        found = camera.opened(str(path), 1, **options).get_session_options()
        try:
            return found.get_session_config_entry(key)
        except RuntimeError:  # the session has no such entry
            return None

    assert entry(file, "session.qdqisint8allowed") == "1" and entry(file, exact) is None
    assert entry(exported, exact) == EXACT_SUMS[exact] == "1"
    assert entry(exported, exact, exact=False) is None


def test_what_a_bundle_holds(exported, tmp_path):
    bundle = tmp_path / "bundle"
    paths = write_bundle(bundle, exported, made.CARD)
    assert {path.name for path in paths} == {path.name for path in bundle.iterdir()}
    assert json.loads((bundle / "labels.json").read_text())["classes"] == list(made.CLASSES)
    assert "Not proven yet" in (bundle / "README.md").read_text()
    write_contract(exported.with_name("contract.json"), exported)
    write_bundle(bundle, exported, made.CARD)
    assert {path.name for path in bundle.iterdir()} == {*NAMES} - {"model_int8.onnx"}
    assert "Not proven" not in (bundle / "README.md").read_text()
    assert load_onnx(bundle / "model.onnx").card == made.CARD


def test_a_contract_of_another_file_stays_behind(exported, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(made.own())
    write_contract(file.with_name("contract.json"), exported)
    write_bundle(tmp_path / "bundle", file, made.CARD)
    assert not (tmp_path / "bundle/contract.json").exists()


def test_a_folder_of_somebody_else_is_left_alone(exported, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        write_bundle(tmp_path, exported, made.CARD)
    with pytest.raises(UsageError, match="onnx files"):
        write_bundle(tmp_path / "new", Path("model_int8.tflite"), made.CARD)
