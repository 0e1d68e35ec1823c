"""A network of others with one class for the whole picture, on the line of verbs: what each prints, against numpy."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from edgeailite.data.files.images import read_image
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runtime.saturation import EXACT_SUMS, sums_saturate
from tests.foreign.onnx_models import model, weights

NAMES = tuple(f"thing {index}" for index in range(300))  # more than a byte holds
MEAN, SCALE = (128.0, 128.0, 128.0), (0.015625, 0.015625, 0.015625)
RULES = ("--mean", *MEAN, "--scale", *SCALE, "--img_resize", 33, 47)
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)


def classifier(count: int = len(NAMES)) -> onnx.ModelProto:
    nodes = [
        ("Conv", "image w", "c", {"strides": [2, 2]}),
        ("Relu", "c", "r", {}),
        ("GlobalAveragePool", "r", "g", {}),
        ("Flatten", "g", "f", {}),
        ("Gemm", "f v u", "logits", {"transB": 1}),
    ]
    constants = {"w": weights(16, 3, 3, 3), "v": weights(count, 16), "u": weights(count, scale=0.05)}
    return model(nodes, constants, outputs=("logits",))


def scores_of(file: Path, picture: Path) -> np.ndarray:
    """What onnxruntime makes of a picture, with none of the verbs."""
    options = onnxruntime.SessionOptions()
    for key, value in EXACT_SUMS.items() if sums_saturate() and "int8" in file.name else ():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    x = preprocess(read_image(picture), Preprocessing(33, 47, MEAN, SCALE))
    return session.run(None, {session.get_inputs()[0].name: x})[0].reshape(-1)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "classes.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Pictures of one colour and noise; half lie in the folder of the class that the network gives, half elsewhere."""
    root = tmp_path_factory.mktemp("photos")
    plain, file = root / "plain", root / "theirs.onnx"
    onnx.save(classifier(), file)
    plain.mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        picture = rng.integers(0, 256, 3) + rng.integers(-30, 30, (20, 30, 3))
        picture = picture.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(plain / f"{index}.png"), picture)
        order = np.argsort(-scores_of(file, plain / f"{index}.png"), kind="stable")
        place = (0, 0, 3, 9)[index % 4]
        folder = root / "classes" / "val" / NAMES[order[place]]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    (root / "names.txt").write_text("\n".join(NAMES))
    return root


@pytest.fixture(scope="module")
def carded(photos) -> Path:
    from edgeailite.__main__ import main

    assert (
        main([str(word) for word in ("card", photos / "theirs.onnx", "--classes", photos / "names.txt", *RULES)]) == 0
    )
    return photos / "theirs_card.onnx"


@pytest.fixture(scope="module")
def run(photos, carded) -> Path:
    from edgeailite.__main__ import main

    folder = photos / "run"
    for words in (
        ("calibrate", carded, "--pictures", photos / "plain", "--save_path", folder, *MACHINE),
        ("export", folder),
    ):
        assert main([str(word) for word in words]) == 0
    return folder


def test_validate_prints_top1_and_top5_of_a_folder_and_of_a_list(photos, carded, command):
    ended = command("validate", carded, "--data_path", photos / "classes", "--json", True, *MACHINE)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["top1"], found["top5"]) == (50.0, 75.0)
    lines = [f"{path.relative_to(photos)}\t{path.parent.name}" for path in sorted((photos / "classes").rglob("*.png"))]
    (photos / "list.txt").write_text("\n".join(lines[:3]))
    ended = command("validate", carded, "--data_path", photos / "list.txt", *MACHINE)
    assert (ended.code, "class_folders val, 3 pictures" in ended.out) == (0, True), ended.err


def test_a_class_that_the_network_does_not_know_is_named(photos, carded, command):
    (photos / "strange.txt").write_text("plain/0.png\ta stranger\n")
    ended = command("validate", carded, "--data_path", photos / "strange.txt", *MACHINE)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert (
        "has pictures of a stranger, which the model does not know (thing 0, thing 1, thing 2 and 297 more)"
        in ended.err
    )


@pytest.mark.parametrize("words", [("--window", 33, 47), ("--output_size", 10, 10), ("--boundary", True)])
def test_protocols_of_maps_are_refused(photos, carded, words, command):
    ended = command("validate", carded, "--data_path", photos / "classes", *words, *MACHINE)
    assert (ended.code, "is for maps, the network gives one class" in ended.err) == (2, True), ended.err


def test_infer_writes_classes_and_scores(photos, carded, tmp_path, command):
    ended = command("infer", carded, photos / "plain", "--save_path", tmp_path / "out")
    assert ended.code == 0, ended.err
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 8
    for row in rows:
        scores = scores_of(photos / "theirs.onnx", Path(row["picture"]))
        best = np.argsort(-scores, kind="stable")[:5]
        assert [row[f"class {place}"] for place in range(1, 6)] == [NAMES[index] for index in best]
        assert [float(row[f"score {place}"]) for place in range(1, 6)] == pytest.approx(scores[best], rel=1e-4)
        assert f"{row['picture']}: {row['class 1']} {row['score 1']}, {row['class 2']}" in ended.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"classes.csv", "infer.json"}
    table = tmp_path / "out" / "classes.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:3]))
    ended = command(
        "infer", carded, photos / "plain", "--save_path", tmp_path / "out", "--resume", True, "--json", True
    )
    counts = json.loads(ended.out)
    assert (counts["labelled"], counts["finished_before"]) == (6, 2)
    assert sorted(rows_of(tmp_path / "out"), key=lambda row: row["picture"]) == rows


def test_a_manifest_tells_classes_apart(photos, carded, tmp_path, command):
    words = ("infer", carded, photos / "plain", "--save_path", tmp_path / "out", "--write", "manifest")
    assert command(*words).code == 0
    assert command("infer", "--check", tmp_path / "out" / "manifest.jsonl", "--sample", 1).code == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    hashes = {line["labels"] for line in lines if "labels" in line}
    tops = {int(scores_of(photos / "theirs.onnx", path).argmax()) for path in (photos / "plain").iterdir()}
    assert len(hashes) == len(tops)


def test_videos_and_shards_are_refused_in_one_line(photos, carded, tmp_path, command):
    ended = command("infer", carded, photos / "plain", "--save_path", tmp_path / "a", "--shard", "0/2")
    assert (ended.code, "classes of whole pictures are written by one process" in ended.err) == (2, True)


@pytest.mark.parametrize("words", [("--argmax", "full"), ("--bundle", "b")])
def test_options_of_maps_are_refused(run, words, command):
    ended = command("export", run, *words)
    assert (ended.code, f"{words[0]} {words[1]}: is for maps of classes or depths" in ended.err) == (2, True), ended.err


def test_the_int8_file_is_proven_and_measured(photos, run, carded, command):
    ended = command("verify", run, "--images", 2, "--sizes", 65, 97, "--threads", 1)
    assert (ended.code, ended.out.startswith(f"{run} is proven")) == (0, True), ended.err
    for words in (("validate", run / "model_int8.onnx"), ("validate", run, "--integer_exact", True, "--batch_size", 3)):
        ended = command(*words, "--data_path", photos / "classes", "--json", True, *MACHINE)
        found = json.loads(ended.out)
        places = []
        for picture in (photos / "classes").rglob("*.png"):
            scores = scores_of(run / "model_int8.onnx", picture)
            order = np.argsort(-scores, kind="stable")
            places.append(list(order).index(NAMES.index(picture.parent.name)))
        assert found["top1"] == pytest.approx(100 * np.mean(np.array(places) < 1))
        assert found["top5"] == pytest.approx(100 * np.mean(np.array(places) < 5))


def test_compare_tells_whether_the_difference_is_real(photos, run, carded, command):
    words = ("compare", carded, run / "model_int8.onnx", "--data_path", photos / "classes", *MACHINE)
    ended = command(*words, "--json", True)
    assert ended.code == 0, ended.err
    part = json.loads(ended.out)["outputs"]["classification"]
    assert (part["top1"]["a"], part["top5"]["a"], part["agreement"]["pictures"]) == (50.0, 75.0, 8)
    ended = command(*words)
    assert ("top-5, %" in ended.out, "% of 8 pictures" in ended.out) == (True, True)
    ended = command(*words, "--sheet", photos / "sheet.png")
    assert (ended.code, "which no sheet shows" in ended.err) == (2, True)


@pytest.mark.slow
def test_report_analyze_and_labels_in_calibrate(photos, run, carded, tmp_path, command):
    ended = command(
        "report", run, "--data_path", photos / "classes", "--device", "cpu", "--output", tmp_path / "r.html"
    )
    assert ended.code == 0, ended.err
    page = (tmp_path / "r.html").read_text()
    assert all(text in page for text in ("top-1, %", "top-5", "taken most for"))
    lines = [f"{path.relative_to(photos)}\t{path.parent.name}" for path in sorted((photos / "classes").rglob("*.png"))]
    for name in ("train.txt", "val.txt"):
        (photos / name).write_text("\n".join(lines))
    ended = command("analyze", carded, "--data_path", photos, "--images", 2, "--calibration_images", 2, *MACHINE)
    assert ended.code == 0, ended.err
    ended = command("calibrate", carded, "--data_path", photos, "--save_path", tmp_path / "run", *MACHINE)
    assert (ended.code, "simulated int8: val top-1, %" in ended.out) == (0, True), ended.err
    ended = command("quantize", carded, "--data_path", photos, *MACHINE)
    assert (ended.code, "edgeailite calibrate" in ended.err) == (2, True)
