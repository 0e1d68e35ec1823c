"""Parts of a job, their merged manifest, a sample that is computed again; kills, lost and changed pictures."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.inference import Predictor, predictor
from edgeailite.inference.manifest import Entry, Journal, parsed, read_manifest, write_manifest
from edgeailite.inference.naming import result_path
from tests.small_file import small_file

SHARDS = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return small_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def opened(model, monkeypatch):
    """The file is opened once for all commands of this process."""
    before = predictor.open_model
    once = {}

    def open_once(path, **more):
        if path not in once:
            once[path] = before(path, **more)
        return once[path]

    monkeypatch.setattr(predictor, "open_model", open_once)


def pictures(folder: Path, count: int) -> Path:
    """Pictures in two folders, of two names that differ in their suffix alone; and one file that is cut off."""
    rng = np.random.default_rng(5)
    for index in range(count):
        path = folder / f"drive{index % 2}" / f"{index // 3}{('.png', '.jpg', '.bmp')[index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (24, 18))
        path.write_bytes(cv2.imencode(path.suffix, noise)[1].tobytes())
    (folder / "drive0" / "cut.png").write_bytes((folder / "drive0" / "0.png").read_bytes()[:60])
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return pictures(tmp_path / "in", 12)


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def png_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def infer(command, model, folder, out, *words):
    return command("infer", model, folder, "--save_path", out, "--write", "labels", "shares", "manifest", *words)


def test_parts_give_what_one_run_gives(command, model, folder, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    ended = infer(command, model, folder, whole, "--json", "True")
    assert ended.code == 1  # a picture is cut off
    said = json.loads(ended.out)
    assert (said["pictures"], said["failed"]) == (13, 1)
    for index in (2, 0, 1):
        infer(command, model, folder, parts, "--shard", f"{index}/3")
    merged = command("infer", "--merge", parts, "--json", "True")
    assert merged.code == 1
    values = json.loads(merged.out)
    assert (values["parts"], values["missing"], values["manifest_sha256"]) == (3, 0, said["manifest_sha256"])
    assert (parts / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert png_files(parts) == png_files(whole)
    assert sorted(lines(parts / "shares.csv")) == sorted(lines(whole / "shares.csv"))
    assert lines(parts / "skipped.csv") == lines(whole / "skipped.csv")


def test_the_lines_are_hashes_of_files_and_of_label_maps(command, model, folder, tmp_path):
    infer(command, model, folder, tmp_path / "out")
    entries = {entry.name: entry for entry in read_manifest(tmp_path / "out/manifest.jsonl")}
    assert set(entries) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    entry = entries["drive1/0.jpg"]
    assert entry.input == hashlib.sha256((folder / "drive1/0.jpg").read_bytes()).hexdigest()
    assert entry.model == hashlib.sha256(model.read_bytes()).hexdigest()
    stored = cv2.imread(str(tmp_path / "out/drive1/0_label.png"), cv2.IMREAD_UNCHANGED)
    expected = hashlib.sha256(b"segmentation |u1 18 24\n" + stored.tobytes()).hexdigest()
    assert entry.labels == expected
    assert entries["drive0/cut.png"].failed and entries["drive0/cut.png"].input


def test_batches_give_the_bytes_of_the_files(command, model, folder, tmp_path):
    """A worker's way and that of one machine."""
    words = ("--write", "labels", "colors", "overlay", "manifest")
    command("infer", model, folder, "--save_path", tmp_path / "out", *words)
    paths = sorted(path for path in folder.rglob("*.*"))
    names = np.array([path.relative_to(folder).as_posix() for path in paths])
    data = np.array([path.read_bytes() for path in paths], object)
    label = Predictor(model, write=("labels", "colors", "overlay"), threads=1)
    found = label({"name": names, "bytes": data})
    entries = {entry.name: entry for entry in read_manifest(tmp_path / "out/manifest.jsonl")}
    for index, name in enumerate(names):
        assert found["labels"][index] == entries[name].labels
        assert found["input"][index] == entries[name].input
        target = tmp_path / "out" / result_path(paths[index], folder)
        for kind in ("label", "color", "overlay"):
            file = target.with_name(f"{target.name}_{kind}.png")
            assert found[f"{kind}.png"][index] == (b"" if entries[name].failed else file.read_bytes())
    assert [bool(problem) for problem in found["problem"]] == [name == "drive0/cut.png" for name in names]


def test_a_batch_hands_on_what_could_not_be_read(model):
    label = Predictor(model, threads=1)
    found = label(
        {"name": np.array(["a"]), "bytes": np.array([b""], object), "problem": np.array(["a: the disk is gone"])}
    )
    assert (found["problem"][0], found["labels"][0], found["label.png"][0]) == ("a: the disk is gone", "", b"")


def test_a_part_that_is_missing_or_of_another_job_is_named(command, model, folder, tmp_path):
    parts = tmp_path / "parts"
    assert "no folders shard-I-of-N" in command("infer", "--merge", folder).err
    infer(command, model, folder, parts, "--shard", "1/3")
    ended = command("infer", "--merge", parts)
    assert ended.code == 3 and "2 of 3 parts are not finished (0, 2)" in ended.err
    assert "--shard I/3 --resume True" in ended.err
    for index in (0, 2):
        infer(command, model, folder, parts, "--shard", f"{index}/3")
    record = parts / "shard-2-of-3/infer.json"
    record.write_text(record.read_text().replace(json.loads(record.read_text())["sha256"], "0" * 64))
    assert "made with another sha256" in command("infer", "--merge", parts).err
    infer(command, model, folder, parts, "--shard", "0/2")
    assert "folders of parts of 2 and of 3" in command("infer", "--merge", parts).err


def test_a_lost_picture_is_listed(command, model, folder, tmp_path):
    parts = tmp_path / "parts"
    for index in (0, 1):
        infer(command, model, folder, parts, "--shard", f"{index}/2")
    late = folder / "drive1" / "late.png"
    late.write_bytes((folder / "drive0" / "0.png").read_bytes())
    (folder / "drive0" / "cut.png").unlink()
    ended = command("infer", "--merge", parts, "--json", "True")
    assert (ended.code, json.loads(ended.out)["missing"]) == (1, 1)
    assert lines(parts / "missing.csv") == [b"picture", b"drive1/late.png"]
    for index in (0, 1):
        infer(command, model, folder, parts, "--shard", f"{index}/2", "--resume", "True")
    assert json.loads(command("infer", "--merge", parts, "--json", "True").out)["missing"] == 0
    assert not (parts / "missing.csv").exists()


def test_a_sample_is_computed_again(command, model, folder, tmp_path):
    out = tmp_path / "out"
    infer(command, model, folder, out)
    ended = command("infer", "--check", out / "manifest.jsonl", "--sample", 1, "--json", "True")
    found = json.loads(ended.out)
    assert (ended.code, found["checked"], found["equal"]) == (0, 12, 12)
    assert found["made_in"] == found["here"] == "float onnxruntime"
    one = json.loads(command("infer", "--check", out / "manifest.jsonl", "--json", "True").out)
    assert one["checked"] == one["equal"] == 1


def test_a_sample_sees_other_labels_changed_pictures_and_lost_ones(command, model, folder, tmp_path):
    out = tmp_path / "out"
    infer(command, model, folder, out)
    manifest = out / "manifest.jsonl"
    names = [entry.name for entry in read_manifest(manifest) if not entry.failed]
    os.utime(folder / names[0])  # a time is no change
    (folder / names[0]).write_bytes((folder / names[1]).read_bytes())
    (folder / names[2]).unlink()
    ended = command("infer", "--check", manifest, "--sample", 1, "--json", "True")
    found = json.loads(ended.out)
    assert (ended.code, found["other_input"], found["unread"], found["other_labels"]) == (1, 1, 1, 0)
    assert f"the picture was changed: {names[0]}" in ended.err and f"not read: {names[2]}" in ended.err

    entries = [
        Entry(e.name, e.input, "0" * 64 if e.labels else "", e.model, e.arithmetic) for e in read_manifest(manifest)
    ]
    write_manifest(manifest, sorted(entry.line() for entry in entries))
    assert command("infer", "--check", manifest, "--sample", 1).code == 4
    (tmp_path / "other").mkdir()
    other = small_file(tmp_path / "other", seed=1)
    assert "the manifest's model has" in command("infer", other, folder, "--check", manifest).err


def test_resume_labels_only_what_has_no_line(command, model, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    infer(command, model, folder, out)
    before = (out / "manifest.jsonl").read_bytes()
    (out / "drive1/0_label.png").unlink()
    calls = []
    inside = Predictor.entry
    monkeypatch.setattr(Predictor, "entry", lambda self, *words: calls.append(words[0]) or inside(self, *words))
    infer(command, model, folder, out, "--resume", "True")
    assert sorted(calls) == ["drive0/cut.png", "drive1/0.jpg"]
    assert (out / "manifest.jsonl").read_bytes() == before


def test_two_pictures_of_one_name_are_seen(command, model, folder, tmp_path):
    """The same file, changed while a list names it twice."""
    out = tmp_path / "out"
    infer(command, model, folder, out)
    journal = Journal(out, go_on=True)
    entry = next(iter(read_manifest_lines(journal)))
    journal.add(type(entry)(entry.name, "0" * 64, "1" * 64, entry.model, entry.arithmetic))
    journal.close()
    ended = infer(command, model, folder, out, "--resume", "True", "--json", "True")
    assert ended.code == 1 and json.loads(ended.out)["doubled"] == 1
    assert f"doubled: {entry.name}" in ended.err


def read_manifest_lines(journal):
    return [parsed(line, where="here") for line in lines(journal.path) if b'"labels": ""' not in line]


WORDS = {
    "no model": (["--merge", "x", "--check", "y"], "no --merge beside it"),
    "a sample of nothing": (["--check", "m", "--sample", "0"], "above 0, at most 1"),
    "no shard": (["model", "in", "--shard", "4/4"], "part 4/4 is none"),
    "neither": (["--resume", "True"], "missing model, input; usage"),
}


@pytest.mark.parametrize("case", WORDS)
def test_wrong_words(command, case):
    words, said = WORDS[case]
    ended = command("infer", *words)
    assert ended.code == 2 and said in ended.err


@pytest.mark.slow
def test_parts_as_processes_two_of_them_killed(model, tmp_path):
    """Eight processes with an index in their environment; two are killed while they work, and run again."""
    folder = pictures(tmp_path / "in", 240)
    options = ["--write", "labels", "shares", "manifest", "--threads", "1"]

    def start(index: int, *more: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "edgeailite", "infer", str(model), str(folder), *options, *more]
        words += ["--save_path", str(tmp_path / "parts"), "--shard", f"auto/{SHARDS}"]
        return subprocess.Popen(words, env=os.environ | {"JOB_COMPLETION_INDEX": str(index)})

    for index in range(SHARDS):
        process = start(index)
        if index in (2, 5):
            journal = tmp_path / f"parts/shard-{index}-of-{SHARDS}/manifest.journal"
            while not (journal.exists() and journal.stat().st_size) and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        else:
            process.wait()
    for index in (2, 5):
        start(index, "--resume", "True").wait()
    for words in (["--merge", "parts"], [model, folder, *options, "--save_path", "whole"]):
        subprocess.run([sys.executable, "-m", "edgeailite", "infer", *map(str, words)], cwd=tmp_path, check=False)
    parts, whole = ((tmp_path / name / "manifest.jsonl").read_bytes() for name in ("parts", "whole"))
    assert parts == whole
    assert png_files(tmp_path / "parts") == png_files(tmp_path / "whole")
