"""Inference on pictures and folders: names, sizes, equality with validation, and what happens with bad input."""

import csv
import io
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeailite.commands import infer
from edgeailite.config import InferConfig
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.files.images import read_image, read_label, write_png
from edgeailite.data.loader import eval_loader
from edgeailite.data.source import Item, segmentation
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import class_maps
from edgeailite.inference import predictor
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.runs.open import open_model
from tests.data.corruption import (
    HEIC,
    altered,
    animation,
    cmyk_jpeg,
    encoded,
    palette,
    png,
    png_bomb,
    png_head,
    smooth,
    tiff_bomb,
    webp_bomb,
    with_exif,
    with_profile,
)

PALETTE = ((128, 64, 128), (0, 0, 142), (70, 130, 180))
CPU = torch.device("cpu")
TABLES = {"infer.json", "legend.png", "shares.csv", "shares.json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder with a network of three classes and random weights."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    card = ModelCard(
        "deeplabv3plus_mobilenetv2_tv_edgeailite",
        {"segmentation": 3},
        ("a", "b", "c"),
        PALETTE,
        Preprocessing(64, 64),
        dataset_name="none",
    )
    model = create_model(card.model_name, 3)
    save_checkpoint(folder / LAST, Checkpoint(card, model.state_dict(), {}))
    return folder


def picture(path: Path, height: int = 48, width: int = 80) -> Path:
    """A picture of smooth noise, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (6, 8, 3), np.uint8)
    data = cv2.imencode(path.suffix, cv2.resize(noise, (width, height)))[1].tobytes()
    path.write_bytes(data)
    return path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def results(*names: str) -> set[str]:
    return {f"{name}_{kind}.png" for name in names for kind in ("label", "color", "overlay")} | TABLES


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_picture(run, tmp_path, capsys):
    source, out = picture(tmp_path / "street.jpg", 51, 83), tmp_path / "out"
    before = source.read_bytes()
    assert infer.run(InferConfig(run, (source,), out, alpha=0.25)) == 0
    assert files(out) == results("street")
    assert source.read_bytes() == before
    label, color = read_label(out / "street_label.png"), read_image(out / "street_color.png")
    assert label.shape == (51, 83)
    assert (color == np.array(PALETTE, np.uint8)[label]).all()
    mixed = 0.75 * read_image(source) + 0.25 * color
    assert np.abs(read_image(out / "street_overlay.png") - mixed).max() <= 0.5 + 1e-3
    assert str(out) in capsys.readouterr().out


def test_labels_are_those_of_validation(run, tmp_path):
    source, out = picture(tmp_path / "street.png", 70, 50), tmp_path / "out"
    infer.run(InferConfig(run, (source,), out))
    write_png(tmp_path / "mask.png", np.zeros((70, 50), np.uint8))
    item = Item((source,), {"segmentation": tmp_path / "mask.png"})
    data = segmentation("one", "val", (item,), ("a", "b", "c"), PALETTE, {0: 0})
    [(images, _)] = eval_loader(data, EvalTransform((64, 64)), batch_size=1, workers=0)
    expected = class_maps(open_model(run, device=CPU).predict, images, (70, 50), output="segmentation")[0]
    label = read_label(out / "street_label.png")
    assert (label == expected).all()
    assert len(np.unique(label)) > 1


def test_folder_keeps_its_shape_and_formats(run, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.PNG", "deep/er/b.jpeg", "deep/c.BMP", "deep/a.webp"):
        picture(root / name)
    (root / "deep/notes.txt").write_text("no picture")
    assert infer.run(InferConfig(run, (root,), out)) == 0
    assert files(out) == results("a", "deep/er/b", "deep/c", "deep/a")


def test_unreadable_pictures_are_skipped_and_listed(run, tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    picture(root / "good.png")
    (root / "empty.png").touch()
    (root / "broken.jpg").write_bytes(picture(root / "whole.jpg").read_bytes()[:200])
    assert infer.run(InferConfig(run, (root,), out)) == 1
    assert files(out) == results("good", "whole") | {"skipped.csv"}
    listed = {Path(row["input"]).name: row["reason"] for row in rows(out / "skipped.csv")}
    assert sorted(listed) == ["broken.jpg", "empty.png"]
    assert "truncated picture" in listed["broken.jpg"]
    output = capsys.readouterr()
    assert "empty.png: empty file" in output.err
    assert "broken.jpg: truncated picture" in output.err
    assert [line.split()[-1] for line in output.out.splitlines() if "skipped" in line] == ["2"]


@pytest.mark.parametrize("names", [["one.png"], ["one.png", "two.jpg"]])
def test_nothing_readable_is_an_error(run, tmp_path, names):
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("text")
    with pytest.raises(DataError, match=r"one\.png: not a readable picture|none of 2 pictures"):
        infer.run(InferConfig(run, (tmp_path / "in",), tmp_path / "out"))
    assert files(tmp_path / "out") == TABLES - {"shares.json"} | {"shares.json", "skipped.csv"}


def test_missing_and_empty_input(run, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such picture or folder"):
        infer.run(InferConfig(run, (tmp_path / "nowhere",), tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in this folder"):
        infer.run(InferConfig(run, (tmp_path / "empty",), tmp_path / "out"))


def test_results_beside_the_pictures_never_replace_one(run, tmp_path):
    """Earlier results are told from pictures; a mask of somebody's that has a result's name stays."""
    picture(tmp_path / "a.png")
    mask = picture(tmp_path / "b_label.png")
    picture(tmp_path / "b.png")
    before = mask.read_bytes()
    for _ in range(2):
        assert infer.run(InferConfig(run, (tmp_path,), tmp_path)) == 1
        assert mask.read_bytes() == before
        assert files(tmp_path) == {"a.png", "b.png", "b_label.png", "skipped.csv"} | results("a", "b_label")
        [row] = rows(tmp_path / "skipped.csv")
        assert row["reason"].endswith("b_label.png is there and no result of infer; it is not overwritten")


def test_earlier_results_inside_the_input_are_no_pictures(run, tmp_path):
    picture(tmp_path / "a.png")
    for _ in range(2):
        assert infer.run(InferConfig(run, (tmp_path,), tmp_path / "predictions")) == 0
    assert files(tmp_path) == {"a.png"} | {f"predictions/{name}" for name in results("a")}


def test_folder_that_cannot_be_written(run, tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written .* choose another --save_path"):
        infer.run(InferConfig(run, (tmp_path / "a.png",), tmp_path / "file"))


@pytest.mark.parametrize("name", ["shares.csv", "skipped.csv", "infer.json"])
def test_tables_of_somebody_else_stay(run, tmp_path, name):
    picture(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(DataError, match=rf"{name}: not written by infer"):
        infer.run(InferConfig(run, (tmp_path / "in",), tmp_path / "out"))
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_equal_stems_do_not_replace_one_another(run, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "a.jpg", "deep/a.png"):
        picture(root / name)
    assert infer.run(InferConfig(run, (root,), out)) == 0
    assert files(out) == results("a.png", "a.jpg", "deep/a")


def test_shares_are_those_of_the_label_files(run, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    for index, name in enumerate(("ä b.png", "c/d,e.png", '"q".jpg')):
        picture(root / name, 40 + index, 50)
    assert infer.run(InferConfig(run, (root,), out)) == 0
    table = rows(out / "shares.csv")
    assert [Path(row["picture"]).relative_to(root) for row in table] == [
        Path('"q".jpg'),
        Path("c/d,e.png"),
        Path("ä b.png"),
    ]
    read = json.loads((out / "shares.json").read_text())
    for row, entry in zip(table, read, strict=True):
        target = out / Path(row["picture"]).relative_to(root).with_suffix("")
        label = read_label(target.with_name(target.name + "_label.png"))
        assert (int(row["height"]), int(row["width"])) == label.shape
        expected = [float((label == index).mean()) for index in range(3)]
        assert [float(row[name]) for name in "abc"] == pytest.approx(expected, abs=1e-6)
        assert list(entry["shares"]["segmentation"].values()) == [float(row[name]) for name in "abc"]
        assert entry["picture"] == row["picture"]


def test_what_is_written_is_a_choice(run, tmp_path):
    source, out = picture(tmp_path / "a.png", 40, 50), tmp_path / "out"
    assert infer.run(InferConfig(run, (source,), out, write=("side_by_side", "colors"))) == 0
    assert files(out) == {"a_side_by_side.png", "a_color.png", "infer.json", "legend.png"}
    both = read_image(out / "a_side_by_side.png")
    assert (both[:, :50] == read_image(source)).all()
    assert (both[:, 50:] == read_image(out / "a_color.png")).all()


def test_a_list_on_stdin_keeps_folders(run, tmp_path, monkeypatch):
    """Below the root relative, elsewhere with the whole path; `..` does not leave the folder of results."""
    picture(tmp_path / "here/x/a.png")
    picture(tmp_path / "there/ü.png")
    monkeypatch.chdir(tmp_path / "here")
    lines = "x/a.png\r\n../there/ü.png\nmissing.png\n\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert infer.run(InferConfig(run, (Path("-"),), tmp_path / "out", write=("labels",))) == 1
    outside = Path("outside_of_root", *(tmp_path / "there").parts[1:])
    expected = {"x/a_label.png", f"{outside}/ü_label.png", "infer.json", "skipped.csv"}
    assert files(tmp_path / "out") == expected
    assert [row["input"] for row in rows(tmp_path / "out/skipped.csv")] == ["missing.png"]


def test_a_list_that_repeats_itself_and_an_empty_one(run, tmp_path, monkeypatch):
    source = picture(tmp_path / "a.png")
    config = InferConfig(run, (Path("-"),), tmp_path / "out", write=("labels",), root=tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{source}\n".encode() * 50)))
    assert infer.run(config) == 0
    assert files(tmp_path / "out") == {"a_label.png", "infer.json"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(DataError, match="no paths on stdin"):
        infer.run(config)


def test_pictures_that_come_later_get_their_names(run, tmp_path):
    """Names of folders are remembered in a run, not between runs."""
    config = InferConfig(run, (tmp_path / "in",), tmp_path / "out", write=("labels",))
    for name in "ab":
        picture(tmp_path / f"in/{name}.png")
        assert infer.run(config) == 0
        assert f"{name}_label.png" in files(tmp_path / "out")


def test_patterns_and_several_words(run, tmp_path):
    for name in ("a/1.png", "a/2.jpg", "b/c/3.png"):
        picture(tmp_path / name)
    (tmp_path / "a/notes.txt").touch()
    config = InferConfig(run, (tmp_path / "*/*",), tmp_path / "one", write=("labels",))
    assert infer.run(config) == 0
    assert files(tmp_path / "one") == {"a/1_label.png", "a/2_label.png", "b/c/3_label.png", "infer.json"}
    words = (tmp_path / "a/1.png", tmp_path / "b")
    assert infer.run(replace(config, input=words, save_path=tmp_path / "two")) == 0
    assert files(tmp_path / "two") == {"a/1_label.png", "b/c/3_label.png", "infer.json"}
    with pytest.raises(DataError, match="nothing matches this pattern"):
        infer.run(replace(config, input=(tmp_path / "*.gif",)))


def test_resuming_leaves_what_is_finished(run, tmp_path, monkeypatch):
    root, out = tmp_path / "in", tmp_path / "out"
    for index in range(8):
        picture(root / f"{index}.png")
    config = InferConfig(run, (root,), out, resume=True)
    opened = predictor.open_model(run, device=CPU)
    calls = []

    def predict(images):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return opened.predict(images)

    monkeypatch.setattr(predictor, "open_model", lambda *_, **__: replace(opened, predict=predict))
    with pytest.raises(KeyboardInterrupt):
        infer.run(config)
    done = len(rows(out / "shares.csv"))
    assert 0 < done < 6
    with (out / "shares.csv").open("a") as table:
        table.write('"cut o')
    (out / "7_label.png").touch()  # what a loss of power leaves
    (out / "7_label.png.partial").write_bytes(b"half")
    times = {name: (out / name).stat().st_mtime_ns for name in files(out) if name.startswith("0_")}
    assert infer.run(config) == 0
    assert len(calls) == 6 + 8 - done
    assert len(rows(out / "shares.csv")) == len(json.loads((out / "shares.json").read_text())) == 8
    assert {(out / name).stat().st_mtime_ns for name in times} == set(times.values())
    assert infer.run(config) == 0
    assert len(calls) == 6 + 8 - done
    with pytest.raises(UsageError, match=r"--resume True: .* was made with alpha 0.5, not 0.25"):
        infer.run(replace(config, alpha=0.25))


def test_json(run, tmp_path, capsys):
    picture(tmp_path / "a.png")
    infer.run(InferConfig(run, (tmp_path / "a.png",), tmp_path / "out", json=True))
    read = json.loads(capsys.readouterr().out)
    assert (read["labelled"], read["skipped"], read["folder"]) == (1, 0, str(tmp_path / "out"))


def test_names_that_leave_no_room(run, tmp_path):
    names = ["x" * 251 + ".png", "x" * 250 + "y.png", "ü" * 120 + ".jpg"]
    for name in names:
        picture(tmp_path / "in" / name)
    assert infer.run(InferConfig(run, (tmp_path / "in",), tmp_path / "out", write=("labels",))) == 0
    assert len(files(tmp_path / "out")) == 4


def test_links(run, tmp_path):
    """A folder in itself is left out, a link to nothing is skipped, a linked picture is one."""
    picture(tmp_path / "elsewhere/b.png")
    root = tmp_path / "in"
    picture(root / "a.png")
    (root / "loop").symlink_to(root)
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    assert infer.run(InferConfig(run, (root,), tmp_path / "out", write=("labels",))) == 1
    assert files(tmp_path / "out") == {"a_label.png", "linked/b_label.png", "infer.json", "skipped.csv"}


def test_damaged_and_odd_pictures(run, tmp_path):
    """What cannot be read is listed, with the file; every other kind of picture is labelled."""
    image = smooth(48, 64)
    jpeg, whole = encoded(".jpg", image), encoded(".png", image)
    bad = {
        "empty.jpg": b"",
        "text.jpg": b"no picture",
        **{f"cut{share}.jpg": jpeg[: len(jpeg) * share // 100] for share in (10, 50, 99)},
        "cut.png": whole[: len(whole) // 2],
        "altered.png": altered(whole),
        "wide.png": png_head(65535, 65535),
        "bomb.png": png_bomb(whole),
        "bomb.tiff": tiff_bomb(whole),
        "photo.webp": webp_bomb(whole),
        "apple.jpg": HEIC,
        "moves.png": animation(".png", image),
    }
    good = {
        "one.png": encoded(".png", image[:1, :1]),
        "thin.png": encoded(".png", smooth(4000, 1)),
        "grey.png": encoded(".png", image[..., 0]),
        "deep.png": encoded(".png", image.astype(np.uint16) * 257),
        "alpha.png": encoded(".png", np.dstack([image, image[..., 0]])),
        "palette.png": png(np.arange(48, dtype=np.uint8).reshape(6, 8), 3, extra=palette()),
        "cmyk.jpg": cmyk_jpeg(64, 48),
        "turned.jpg": with_exif(jpeg),
        "profile.jpg": with_profile(jpeg),
        "UPPER.JPG": jpeg,
    }
    root = tmp_path / "in"
    root.mkdir()
    for name, data in {**bad, **good}.items():
        (root / name).write_bytes(data)
    assert infer.run(InferConfig(run, (root,), tmp_path / "out", write=("labels",))) == 1
    listed = {Path(row["input"]).name: row["reason"] for row in rows(tmp_path / "out/skipped.csv")}
    assert set(listed) == set(bad)
    assert all(str(root / name) in reason for name, reason in listed.items())
    labels = {f"{Path(name).stem}_label.png" for name in good}
    assert files(tmp_path / "out") == labels | {"infer.json", "skipped.csv"}
    assert read_label(tmp_path / "out/turned_label.png").shape == (48, 64)


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeailite.__main__ import main

chances, rename = 7, Path.replace

def killed(self, target):
    global chances
    chances -= 1
    if chances < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.replace = killed
main(["infer", *sys.argv[1:]])
"""


def test_after_a_kill_the_results_are_those_of_an_undisturbed_run(run, tmp_path):
    for index in range(6):
        picture(tmp_path / f"in/{index}.png", 40 + index)
    whole, out = tmp_path / "whole", tmp_path / "out"
    config = InferConfig(run, (tmp_path / "in",), whole, device="cpu")
    words = [str(run), str(tmp_path / "in"), "--save_path", str(out), "--device", "cpu"]
    ended = subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert any(path.suffix == ".partial" for path in out.iterdir())
    assert infer.run(replace(config, save_path=out, resume=True)) == 0
    assert infer.run(config) == 0
    for name in files(whole) - {"infer.json"}:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert files(out) == files(whole)
