"""Inference on pictures and folders: names, sizes, equality with validation, and what happens with bad input."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeailite.checkpoint import LAST, Checkpoint, save_checkpoint
from edgeailite.commands import infer
from edgeailite.commands.opening import open_model
from edgeailite.config import InferConfig
from edgeailite.data.images import read_image, read_label, write_png
from edgeailite.data.loader import eval_loader
from edgeailite.data.source import Item, segmentation
from edgeailite.data.transforms import EvalTransform
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import class_maps
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing

PALETTE = ((128, 64, 128), (0, 0, 142), (70, 130, 180))
CPU = torch.device("cpu")


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
    return {f"{name}_{kind}.png" for name in names for kind in ("label", "color", "overlay")}


def test_one_picture(run, tmp_path, capsys):
    source, out = picture(tmp_path / "street.jpg", 51, 83), tmp_path / "out"
    before = source.read_bytes()
    assert infer.run(InferConfig(run, source, out, alpha=0.25)) == 0
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
    infer.run(InferConfig(run, source, out))
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
    assert infer.run(InferConfig(run, root, out)) == 0
    assert files(out) == results("a", "deep/er/b", "deep/c", "deep/a")


def test_one_stem_twice_is_two_results():
    folder = Path("x")
    pictures = [folder / name for name in ("A.png", "a.jpg", "a.jpg.png", "a.png", "b.png")] + [folder / "y/a.png"]
    names = infer.result_names(pictures)
    assert names == ["A.png", "a.jpg", "a.jpg.png", "a.png_2", "b", "a"]


def test_unreadable_pictures_are_skipped_and_listed(run, tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    picture(root / "good.png")
    (root / "empty.png").touch()
    (root / "broken.jpg").write_bytes(picture(root / "whole.jpg").read_bytes()[:200])
    assert infer.run(InferConfig(run, root, out)) == 1
    assert files(out) == results("good", "whole")
    output = capsys.readouterr()
    assert "empty.png: empty file" in output.err
    assert "broken.jpg: truncated picture" in output.err
    assert [line.split("│")[2].strip() for line in output.out.splitlines() if "skipped" in line] == ["2"]


@pytest.mark.parametrize("names", [["one.png"], ["one.png", "two.jpg"]])
def test_nothing_readable_is_an_error(run, tmp_path, names):
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("text")
    with pytest.raises(DataError, match=r"one\.png: not a readable picture|none of 2 pictures"):
        infer.run(InferConfig(run, tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_missing_and_empty_input(run, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such picture or folder"):
        infer.run(InferConfig(run, tmp_path / "nowhere", tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in this folder"):
        infer.run(InferConfig(run, tmp_path / "empty", tmp_path / "out"))


def test_results_beside_the_pictures_never_replace_one(run, tmp_path):
    picture(tmp_path / "a.png")
    assert infer.run(InferConfig(run, tmp_path / "a.png", tmp_path)) == 0
    assert files(tmp_path) == {"a.png"} | results("a")
    with pytest.raises(UsageError, match=r"would overwrite the input .*a_label\.png"):
        infer.run(InferConfig(run, tmp_path, tmp_path))


def test_earlier_results_inside_the_input_are_no_pictures(run, tmp_path):
    picture(tmp_path / "a.png")
    for _ in range(2):
        assert infer.run(InferConfig(run, tmp_path, tmp_path / "predictions")) == 0
    assert files(tmp_path) == {"a.png"} | {f"predictions/{name}" for name in results("a")}


def test_folder_that_cannot_be_written(run, tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written .* choose another --save_path"):
        infer.run(InferConfig(run, tmp_path / "a.png", tmp_path / "file"))
