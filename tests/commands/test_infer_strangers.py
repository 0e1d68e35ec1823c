"""Folders and lists that a stranger made: nothing is left out in silence, waited for, or printed as it is."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.__main__ import main
from edgeailite.inference.video import Writer
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from tests.data.corruption import HEIC, encoded, smooth

IMAGE = smooth(40, 56)
ESCAPE = "\x1b[2J"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder with a network of two classes and random weights."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(1)
    name, palette = "deeplabv3plus_mobilenetv2_tv_edgeailite", ((0, 0, 0), (1, 1, 1))
    card = ModelCard(name, {"segmentation": 2}, ("a", "b"), palette, Preprocessing(64, 64), dataset_name="none")
    save_checkpoint(folder / LAST, Checkpoint(card, create_model(name, 2).state_dict(), {}))
    return folder


def infer(run: Path, *words: object) -> int:
    return main(["infer", str(run), *map(str, words), "--device", "cpu", "--write", "labels", "shares"])


def reasons(out: Path) -> dict[str, str]:
    with (out / "skipped.csv").open(newline="", errors="surrogateescape") as file:
        return {Path(row["input"]).name: row["reason"] for row in csv.DictReader(file)}


def video(path: Path) -> None:
    writer = Writer(path, 5)
    for value in (30, 90):
        writer.add(np.full((32, 48, 3), value, np.uint8))
    writer.finish()


def test_every_file_of_a_folder_is_labelled_listed_or_counted(run, tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for name in ("a.jpg", "b.jfif", "c.JPE", "d.HEIC", "e"):
        (root / name).write_bytes(encoded(".jpg", IMAGE))
    (root / "f.gif").write_bytes(encoded(".gif", IMAGE))
    video(root / "g.avi")
    (root / "h.heic").write_bytes(HEIC)
    (root / "i.psd").write_bytes(b"8BPS\0\1" + bytes(99))
    (root / "j.dng").write_bytes(b"no picture")
    os.mkfifo(root / "k.png")
    (root / "l.png").symlink_to("/dev/zero")
    (root / "notes.txt").write_text("text")
    (root / "more.txt").write_text("text")
    assert infer(run, root, "--save_path", out, "--json", True) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["labelled"], found["skipped"], found["no_pictures_left_out"]) == (7, 5, 2)
    assert "left out, no pictures: 2 .txt" in told.err
    assert {name: reason.split(": ")[1].split(" (")[0] for name, reason in reasons(out).items()} == {
        "h.heic": "HEIC is not supported; convert it to PNG or JPEG",
        "i.psd": "Photoshop is not supported; convert it to PNG or JPEG",
        "j.dng": "not a readable picture",
        "k.png": "cannot be read",
        "l.png": "cannot be read",
    }
    labels = {"a_label.png", "b_label.png", "c_label.png", "d.HEIC~_label.png", "e~_label.png", "f_label.png"}
    assert {path.name for path in out.glob("*_label.png")} == labels
    assert (out / "g_overlay.mp4").is_file()


def test_results_of_videos_among_the_inputs_are_no_videos(run, tmp_path, capsys):
    video(tmp_path / "in/a.avi")
    for _ in range(2):
        assert infer(run, tmp_path / "in", "--save_path", tmp_path / "in", "--json", True) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["labelled"], found["earlier_results_left_out"]) == (1, 1)


def test_a_folder_of_other_things_names_them(run, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("text")
    assert infer(run, tmp_path, "--save_path", tmp_path / "out") == 3
    assert "no pictures in this folder (.jpg, .jpeg, " in (told := capsys.readouterr().err)
    assert "found 1 .txt" in told


def test_names_are_printed_without_their_escapes(run, tmp_path, capsys):
    root = tmp_path / "in"
    root.mkdir()
    for name in (f"a{ESCAPE}.png", "b\nerror: fake.png"):
        (root / name).write_bytes(encoded(".png", IMAGE))
        (root / f"bad {name}").write_bytes(b"text")
    assert infer(run, root, "--save_path", tmp_path / "out") == 1
    told = capsys.readouterr()
    assert ESCAPE not in told.out + told.err
    assert not [line for line in told.err.splitlines() if line.startswith("error: fake")]
    for table in ("skipped.csv", "shares.csv"):
        text = (tmp_path / "out" / table).read_text()
        assert ESCAPE not in text
        assert len(text.splitlines()) == 3
    assert infer(run, root, "--save_path", tmp_path / "out", "--resume", True, "--json", True) == 1
    assert json.loads(capsys.readouterr().out)["finished_before"] == 2


class Endless(io.RawIOBase):
    """A line again and again, with a number in place of %d."""

    def __init__(self, line: bytes) -> None:
        self.line, self.count = line, 0

    def readline(self, size: int | None = -1) -> bytes:
        self.count += 1
        return self.line.replace(b"%d", str(self.count).encode())[:size]


@pytest.mark.parametrize(
    "line, message",
    [
        (b"y\n", "10000 lines name what was named just before"),
        (b"y%d\n", "none of the first 1000 lines can be read as a picture"),
        (b"\n", "after 100000 empty ones"),
        (bytes(100_000), "longer than 65536 bytes"),
        (b"a.png\0b.png\n", "a zero byte; write one path a line (no find -print0)"),
    ],
)
def test_a_list_without_an_end(run, tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": Endless(line)}))
    assert infer(run, "-", "--save_path", tmp_path / "out") == 3
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["shares.csv", "skipped.csv", "infer.json"])
def test_no_table_is_written_through_a_link_or_a_pipe(run, tmp_path, capsys, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(encoded(".png", IMAGE))
    (tmp_path / "in/b.png").write_bytes(b"text")
    for kind in ("link", "pipe"):
        out = tmp_path / kind
        out.mkdir()
        if kind == "link":
            (out / name).symlink_to(tmp_path / "target")
        else:
            os.mkfifo(out / name)
        assert infer(run, tmp_path / "in", "--save_path", out) == 3
        assert name in capsys.readouterr().err
    assert not (tmp_path / "target").exists()
