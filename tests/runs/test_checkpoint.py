"""Checkpoints are the old file or the new one, never half of one; run folders belong to one process."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from edgeailite.errors import DataError
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeailite.runs.folder import (
    BEST,
    LAST,
    PREVIOUS,
    append_metrics,
    beside,
    find_checkpoint,
    keep_metrics,
    locked,
    read_metrics,
    run_folder,
    start_run,
    tidy,
)
from tests.disks import files_of_at_most

ROOT = Path(__file__).resolve().parents[1]
CARD = ModelCard("net", {"segmentation": 2}, ("a", "b"), ((1, 2, 3), (4, 5, 6)), Preprocessing(32, 48), "streets")


def checkpoint(value: float = 1.0) -> Checkpoint:
    training = {"epoch": 2, "optimizer": {"state": {0: {"momentum": torch.ones(2)}}}, "rng": torch.get_rng_state()}
    return Checkpoint(CARD, {"w": torch.full((100,), value)}, {"lr": 0.1, "img_resize": [32, 48]}, None, training)


def value_of(path: Path) -> float:
    return load_checkpoint(path).state_dict["w"][0].item()


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / LAST, checkpoint())
    loaded = load_checkpoint(tmp_path / LAST)
    assert loaded.card == CARD
    assert loaded.config == {"lr": 0.1, "img_resize": [32, 48]}
    assert loaded.quantization is None
    assert loaded.training["epoch"] == 2
    assert torch.equal(loaded.training["optimizer"]["state"][0]["momentum"], torch.ones(2))
    assert torch.equal(loaded.state_dict["w"], torch.ones(100))
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_the_previous_one_is_kept(tmp_path):
    for value in (1.0, 2.0, 3.0):
        save_checkpoint(tmp_path / LAST, checkpoint(value), keep=tmp_path / PREVIOUS)
    assert (value_of(tmp_path / LAST), value_of(tmp_path / PREVIOUS)) == (3.0, 2.0)


def test_the_previous_one_is_kept_where_there_are_no_links(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for value in (1.0, 2.0):
        save_checkpoint(tmp_path / LAST, checkpoint(value), keep=tmp_path / PREVIOUS)
    assert (value_of(tmp_path / LAST), value_of(tmp_path / PREVIOUS)) == (2.0, 1.0)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), RuntimeError("write failed\nmore")])
def test_failure_in_the_middle_leaves_the_old_file(tmp_path, monkeypatch, failure):
    save_checkpoint(tmp_path / LAST, checkpoint(1.0))

    def half(values, file):
        file.write(b"PK\x03\x04 half a file")
        raise failure

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(
        DataError, match=r"last\.pt: cannot be written .*free disk space or change --save_path"
    ) as caught:
        save_checkpoint(tmp_path / LAST, checkpoint(2.0), keep=tmp_path / PREVIOUS)
    assert "\n" not in str(caught.value)
    assert value_of(tmp_path / LAST) == 1.0
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


@pytest.mark.parametrize("step", ["save", "fsync", "link", "replace"])
def test_kill_at_any_moment_leaves_a_whole_file(tmp_path, monkeypatch, step):
    """A kill runs no `except`: an error that nobody catches stands for it."""
    save_checkpoint(tmp_path / LAST, checkpoint(1.0))

    class KilledError(BaseException):
        pass

    def kill(*_):
        raise KilledError

    module = {"save": torch, "fsync": os, "link": os, "replace": Path}[step]
    with monkeypatch.context() as patch:
        patch.setattr(module, step, kill)
        with pytest.raises(KilledError):
            save_checkpoint(tmp_path / LAST, checkpoint(2.0), keep=tmp_path / PREVIOUS)
    assert value_of(tmp_path / LAST) == 1.0
    save_checkpoint(tmp_path / LAST, checkpoint(3.0), keep=tmp_path / PREVIOUS)
    assert (value_of(tmp_path / LAST), value_of(tmp_path / PREVIOUS)) == (3.0, 1.0)


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / LAST, checkpoint())
    with pytest.raises(DataError, match=r"file/run: cannot be written .*choose another --save_path"):
        start_run(tmp_path / "file" / "run", {}, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(DataError, match="cannot be written"):
        save_checkpoint(tmp_path / LAST, checkpoint())


# --- loading

FOREIGN = {
    "weights only": {"w": torch.ones(1)},
    "other format": {"format": 99, "card": {}},
    "a list": [1, 2],
    "no weights": {"format": 1, "card": CARD.to_dict()},
    "card of another kind": {"format": 1, "card": {"model_name": "net"}, "state_dict": {}},
    "card that is text": {"format": 1, "card": "net"},
}


@pytest.mark.parametrize("values", FOREIGN.values(), ids=FOREIGN)
def test_foreign_file_is_named(tmp_path, values):
    torch.save(values, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt: not a (whole )?checkpoint"):
        load_checkpoint(tmp_path / "x.pt")


def test_bit_flip_anywhere_is_found_or_harmless(tmp_path):
    """Left to itself, torch reads a file with an altered weight without a word."""
    path = tmp_path / LAST
    save_checkpoint(path, checkpoint())
    data, found = path.read_bytes(), 0
    for at in range(10, len(data), len(data) // 60):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        try:
            assert value_of(path) == 1.0
        except DataError as error:
            assert str(error).startswith(str(path))
            found += 1
    assert found > 20


# --- run folders


def test_find_checkpoint(tmp_path):
    with pytest.raises(DataError, match="gone: no such run folder or checkpoint"):
        find_checkpoint(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no best\.pt or last\.pt in this folder; is it a run folder\?"):
        find_checkpoint(tmp_path)
    (tmp_path / BEST).touch()
    assert find_checkpoint(tmp_path) == tmp_path / BEST
    (tmp_path / LAST).touch()
    assert find_checkpoint(tmp_path) == tmp_path / BEST
    assert find_checkpoint(tmp_path, prefer=(LAST,)) == tmp_path / LAST
    assert find_checkpoint(tmp_path / LAST) == tmp_path / LAST
    assert run_folder(tmp_path / LAST) == run_folder(tmp_path) == tmp_path


def test_start_run_writes_what_is_needed_and_refuses_a_second(tmp_path):
    folder = tmp_path / "deep" / "run"
    start_run(folder, {"lr": 0.1, "img_resize": [32, 48]}, {"torch": "2"})
    assert yaml.safe_load((folder / "config.yaml").read_text()) == {"lr": 0.1, "img_resize": [32, 48]}
    assert json.loads((folder / "env.json").read_text()) == {"torch": "2"}
    start_run(folder, {}, {})  # nothing was trained yet
    for name in (LAST, PREVIOUS):  # also where only the one before the last is left
        save_checkpoint(folder / name, checkpoint())
        with pytest.raises(DataError, match=r"holds a run already; choose another --save_path, or --resume it"):
            start_run(folder, {}, {})
        (folder / name).unlink()


def test_a_folder_belongs_to_one_process(tmp_path):
    code = f"""
from pathlib import Path
from edgeailite.runs.folder import locked
with locked(Path({str(tmp_path)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DataError, match="another process is training here; choose another --save_path"):
            start_run(tmp_path, {}, {})
        other.kill()
    with locked(tmp_path):  # a killed process holds nothing
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing, module", [("flock", fcntl), ("open", os)])
def test_a_folder_that_cannot_be_locked(tmp_path, monkeypatch, failing, module):
    """A network's file system may know no locks; nothing stays open then."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(module, failing, refuse)
        with (
            pytest.raises(DataError, match=r"cannot be locked \(No locks available\); choose another"),
            locked(tmp_path),
        ):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_metrics_grow_and_lose_what_is_trained_again(tmp_path):
    assert read_metrics(tmp_path) == []
    keep_metrics(tmp_path, 0)
    for epoch in (1, 2, 3):
        append_metrics(tmp_path, {"epoch": epoch, "loss": epoch / 10, "miou": ""})
    before = (tmp_path / "metrics.csv").read_bytes()
    keep_metrics(tmp_path, 3)
    assert (tmp_path / "metrics.csv").read_bytes() == before
    keep_metrics(tmp_path, 2)
    assert read_metrics(tmp_path) == [
        {"epoch": "1", "loss": "0.1", "miou": ""},
        {"epoch": "2", "loss": "0.2", "miou": ""},
    ]
    keep_metrics(tmp_path, 0)
    append_metrics(tmp_path, {"epoch": 1, "loss": 0.5, "miou": 0.25})
    assert read_metrics(tmp_path) == [{"epoch": "1", "loss": "0.5", "miou": "0.25"}]


def test_metrics_that_cannot_be_written(tmp_path):
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be written .*free disk space"):
        append_metrics(tmp_path, {"epoch": 1})


@pytest.mark.parametrize("room", [0, 5, 13, 16])
def test_metrics_of_a_full_disk_go_on_when_there_is_room_again(tmp_path, room):
    """Be it full at the header, in it, behind it, or in a row."""
    with files_of_at_most(room), pytest.raises(DataError, match=r"metrics\.csv: cannot be written .*free disk space"):
        append_metrics(tmp_path, {"epoch": 1, "loss": 0.25})
    append_metrics(tmp_path, {"epoch": 1, "loss": 0.5})
    with files_of_at_most(25), pytest.raises(DataError, match="cannot be written"):
        append_metrics(tmp_path, {"epoch": 2, "loss": 0.25})
    append_metrics(tmp_path, {"epoch": 2, "loss": 0.75})
    assert read_metrics(tmp_path) == [{"epoch": "1", "loss": "0.5"}, {"epoch": "2", "loss": "0.75"}]


@pytest.mark.parametrize("kept", [0, 1])
def test_rows_that_cannot_be_left_out(tmp_path, monkeypatch, kept):
    for epoch in (1, 2):
        append_metrics(tmp_path, {"epoch": epoch, "loss": 0.25})

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace" if kept else "unlink", refuse)
        with pytest.raises(DataError, match=r"metrics\.csv: cannot be written \(Read-only file system\)"):
            keep_metrics(tmp_path, kept)
    if kept:
        with files_of_at_most(14), pytest.raises(DataError, match=r"metrics\.csv: cannot be written .*free disk space"):
            keep_metrics(tmp_path, kept)
        assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert [row["epoch"] for row in read_metrics(tmp_path)] == ["1", "2"]


def test_metrics_survive_a_kill_while_rows_are_left_out(tmp_path, monkeypatch):
    for epoch in (1, 2, 3):
        append_metrics(tmp_path, {"epoch": epoch})

    class KilledError(BaseException):
        pass

    def kill(*_):
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Path, "replace", kill)
        keep_metrics(tmp_path, 2)
    assert [row["epoch"] for row in read_metrics(tmp_path)] == ["1", "2", "3"]
    keep_metrics(tmp_path, 2)
    assert [row["epoch"] for row in read_metrics(tmp_path)] == ["1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


# --- what strangers write


def values_of(path: Path) -> dict:
    return torch.load(path, weights_only=True)


DAMAGES = {
    "format is a tensor": ({"format": torch.ones(2)}, "not a checkpoint of format 1"),
    "format is true": ({"format": True}, "not a checkpoint of format 1"),
    "weights in a list": ({"state_dict": [torch.ones(1)]}, "state_dict: expected names with values"),
    "no weights": ({"state_dict": None}, "state_dict: expected names with values, found None"),
    "numbers as names": ({"state_dict": {1: torch.ones(1)}}, "state_dict: expected text as names, found 1"),
    "text as a weight": ({"state_dict": {"w\x1b": "x"}}, r"state_dict: w\\x1b: expected a tensor, found 'x'"),
    "options in a list": ({"config": [1]}, r"config: expected names with values, found \[1\]"),
    "quantization that is text": ({"quantization": "int8"}, "quantization: expected names with values"),
    "state that is a number": ({"training": 3}, "training: expected names with values, found 3"),
    "card that is a tensor": ({"card": torch.ones(3)}, "card"),
    "NaN": ({"state_dict": {"w": torch.tensor([1.0, float("nan")])}}, r"w holds nan \(1 of its 2 values"),
    "infinity": ({"state_dict": {"w": torch.full((2,), float("-inf"))}}, r"w holds -inf \(2 of its 2 values"),
    "variance below zero": ({"state_dict": {"b.running_var": torch.tensor([-1.0])}}, "b.running_var holds -1 "),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_parts_of_a_checkpoint_that_are_none(tmp_path, kind):
    change, reason = DAMAGES[kind]
    path = tmp_path / LAST
    save_checkpoint(path, checkpoint())
    torch.save({**values_of(path), **change}, path)
    with pytest.raises(DataError, match=rf"^{path}: .*{reason}") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["card", "state_dict", "config", "quantization", "training"])
def test_parts_of_a_checkpoint_that_lack(tmp_path, part):
    path = tmp_path / LAST
    save_checkpoint(path, checkpoint())
    values = values_of(path)
    del values[part]
    torch.save(values, path)
    with pytest.raises(DataError, match=rf"{path}: not a (whole )?checkpoint"):
        load_checkpoint(path)


def test_weights_without_a_card_name_their_network_and_a_fix_that_exists(tmp_path):
    name = "fpn_aspp_mobilenetv2_tv_edgeailite"
    torch.save(create_model(name, 5).state_dict(), tmp_path / "w.pth")
    expected = rf"w\.pth: not a checkpoint of .*edgeailite import {tmp_path}/w\.pth --model_name {name}$"
    with pytest.raises(DataError, match=expected):
        load_checkpoint(tmp_path / "w.pth")


def test_links_are_replaced_and_not_written_through(tmp_path):
    """A run folder of a stranger may hold links to other files of the user."""
    folder, victim = tmp_path / "run", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("mine")
    for name in (LAST, "metrics.csv", "config.yaml", "env.json", "last.pt.partial", "metrics.csv.partial"):
        (folder / name).symlink_to(victim)
    append_metrics(folder, {"epoch": 1})
    save_checkpoint(folder / LAST, checkpoint())
    for name in (LAST, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
    start_run(folder, {"lr": 0.1}, {})
    assert victim.read_text() == "mine"
    assert read_metrics(folder) == [{"epoch": "1"}]


def test_what_killed_writers_left_is_removed(tmp_path):
    left = [tmp_path / f".{name}.0123456789abcdef.partial" for name in (LAST, BEST, "metrics.csv", "config.yaml")]
    for path in left:
        path.write_bytes(b"half")
    (tmp_path / ".mine.partial").touch()
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".mine.partial"]


GOOD = b"epoch,loss\r\n1,0.5\r\n2,0.25\r\n"
FIRST_TWO = [{"epoch": "1", "loss": "0.5"}, {"epoch": "2", "loss": "0.25"}]
LINES = {
    "whole": (GOOD, FIRST_TWO, 0),
    "by a spreadsheet": (b"\xef\xbb\xbfepoch,loss\r\n1.0,0.5\r\n2.0,0.25\r\n", FIRST_TWO, 0),
    "cut in a row": (GOOD + b"3,", FIRST_TWO, 0),
    "cut before a comma": (GOOD + b"3", FIRST_TWO, 1),
    "not UTF-8": (b"epoch,loss\r\n1,0.5\r\n\xff\xfe,0.3\r\n2,0.25\r\n", FIRST_TWO, 1),
    "no number": (b"epoch,loss\r\n1,0.5\r\nnan,0\r\none,0\r\n1.5,0\r\n0,0\r\n-1,0\r\n2,0.25\r\n", FIRST_TWO, 5),
    "beyond all numbers": (b"epoch,loss\r\n1,0.5\r\n1e999,0\r\n" + b"9" * 5000 + b",0\r\n2,0.25\r\n", FIRST_TWO, 2),
    "more cells than columns": (b"epoch,loss\r\n1,0.5\r\n1,0.5,7\r\n2,0.25\r\n", FIRST_TWO, 1),
    "half a quote": (b'epoch,loss\r\n1,0.5\r\n"3,0.5\r\n2,0.25\r\n', FIRST_TWO, 1),
    "a long cell": (b"epoch,loss\r\n1,0.5\r\n3," + b"x" * 200_000 + b"\r\n2,0.25\r\n", FIRST_TWO, 1),
    "NUL": (b"epoch,loss\r\n1,0.5\r\n\0,\0\r\n2,0.25\r\n", FIRST_TWO, 1),
    "no epochs": (b"loss\r\n0.5\r\n", [], 2),
    "a column twice": (b"epoch,epoch\r\n1,1\r\n", [], 2),
    "a column that moves the cursor": (b"epoch,\x1b[2J\r\n1,1\r\n", [], 2),
    "binary": (bytes(range(256)), [], None),
    "empty": (b"", [], 0),
}


@pytest.mark.parametrize("kind", LINES)
def test_lines_that_are_no_rows_are_left_out_and_counted(tmp_path, kind):
    data, expected, unread = LINES[kind]
    (tmp_path / "metrics.csv").write_bytes(data)
    rows = [row for row in read_metrics(tmp_path) if row["epoch"] in ("1", "2")]
    assert rows == expected
    found = keep_metrics(tmp_path, 2)
    assert unread is None or found == unread
    append_metrics(tmp_path, {"epoch": 3, "loss": 0.125})
    assert read_metrics(tmp_path) == [*expected, {"epoch": "3", "loss": "0.125"}]


def test_a_row_with_other_columns_stands_below_its_own(tmp_path):
    append_metrics(tmp_path, {"epoch": 1, "loss": 0.5})
    append_metrics(tmp_path, {"epoch": 2, "miou": 0.25, "loss": None})
    assert read_metrics(tmp_path) == [
        {"epoch": "1", "loss": "0.5", "miou": ""},
        {"epoch": "2", "loss": "", "miou": "0.25"},
    ]


def test_metrics_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be read \(a named pipe, not a file\)"):
        read_metrics(tmp_path)
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be written \(a named pipe, not a file\)"):
        keep_metrics(tmp_path, 1)


def test_the_folder_beside_a_run(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    assert beside(run_folder(Path("../run")), "_qat") == Path("../run_qat")
    assert beside(run_folder(Path()), "_qat") == beside(run_folder(Path("last.pt")), "_qat") == tmp_path / "run_qat"
    assert beside(Path("/"), "_qat") == Path("/_qat")
