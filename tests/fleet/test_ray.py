"""The same jobs by workers of Ray, which are killed meanwhile; Parquet and addresses. Needs `pip install -e .[ray]`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeailite.data import open_dataset
from tests.fleet.test_job import packed, pictures
from tests.small_file import small_file

pytestmark = pytest.mark.ray
__all__ = ["pictures"]  # a fixture
KILLS = 3
PART_OF_3 = 0  # of two parts, that of day1/3.png, which is cut off
CAMVID = os.environ.get("EDGEAILITE_CAMVID", "")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return small_file(tmp_path_factory.mktemp("model"))


def edgeailite(*words: object, code: int = 0) -> str:
    """Run the command line in a process of its own; return what it prints."""
    command = [sys.executable, "-m", "edgeailite", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr[-3000:]
    return ended.stdout


def workers() -> list[int]:
    """Return the actors of jobs; Ray's agents, which are `ray::` too, are needed: without them a node ends."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_ray_gives_the_manifest_of_one_machine(model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    options = ("--write", "labels", "shares", "manifest", "--threads", 1)
    edgeailite("infer", model, pictures, *options, "--save_path", tmp_path / "plain", code=1)
    expected = (tmp_path / "plain/manifest.jsonl").read_bytes()
    for form, inputs in (("files", [pictures]), ("tar", shards), ("parquet", [*shards])):
        out = tmp_path / form
        more = ("--engine", "ray", "--concurrency", 1, "--save_format", form, "--save_path", out)
        edgeailite("infer", model, *inputs, *options, *more, code=1)
        assert (out / "manifest.jsonl").read_bytes() == expected
    for path in (tmp_path / "plain").rglob("*.png"):
        assert (tmp_path / "files" / path.relative_to(tmp_path / "plain")).read_bytes() == path.read_bytes()


def test_killed_workers_change_nothing(model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards", shards=6)
    options = ("--write", "labels", "shares", "manifest", "--threads", 1)
    edgeailite("infer", model, *shards, *options, "--save_path", tmp_path / "plain", code=1)
    command = [sys.executable, "-m", "edgeailite", "infer", model, *shards, *options, "--engine", "ray"]
    command += ["--concurrency", 1, "--batch", 1, "--save_path", tmp_path / "ray"]
    process = subprocess.Popen(list(map(str, command)))
    killed: set[int] = set()
    while process.poll() is None and len(killed) < KILLS:
        for pid in set(workers()) - killed:
            if any((tmp_path / "ray").rglob("*.png")):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.05)
    assert process.wait() == 1 and killed
    assert (tmp_path / "ray/manifest.jsonl").read_bytes() == (tmp_path / "plain/manifest.jsonl").read_bytes()


def test_a_model_that_fails_ends_the_job_at_once(pictures, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    edgeailite("infer", tmp_path / "broken.onnx", pictures, "--engine", "ray", "--save_path", tmp_path / "out", code=3)


def test_parquet_goes_in_and_out(model, pictures, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    rows = [{"name": name, "image": {"bytes": (pictures / name).read_bytes(), "path": None}} for name in names]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=2)
    options = ("--write", "labels", "manifest", "--threads", 1)
    edgeailite("infer", model, pictures, *options, "--save_path", tmp_path / "plain", code=1)
    more = ("--save_format", "parquet", "--save_path", tmp_path / "out")
    edgeailite("infer", model, tmp_path / "in.parquet", *options, *more, code=1)
    assert (tmp_path / "out/manifest.jsonl").read_bytes() == (tmp_path / "plain/manifest.jsonl").read_bytes()
    [file] = (tmp_path / "out").glob("*.parquet")
    found = parquet.read_table(file).to_pylist()
    assert [row["name"] for row in found] == [name for name in names if name != "day1/3.png"]
    assert found[0]["label.png"] == (tmp_path / "plain/day0/0_label.png").read_bytes()


def test_addresses(model, pictures, tmp_path):
    """By the file system of pyarrow, which opens s3:// the same way."""
    options = ("--write", "labels", "manifest", "--threads", 1, "--tables", tmp_path / "tables")
    edgeailite("infer", model, pictures, *options, "--save_path", tmp_path / "plain", code=1)
    packed(pictures, tmp_path / "shards")
    words = (f"file://{tmp_path}/shards/*.tar", *options, "--save_path", f"file://{tmp_path}/out")
    edgeailite("infer", model, *words, code=1)
    expected = (tmp_path / "plain/manifest.jsonl").read_bytes()
    assert (tmp_path / "out/manifest.jsonl").read_bytes() == expected
    assert (tmp_path / "out/day0/0.png_label.png").is_file()


def test_parts_at_an_address_keep_each_other(model, pictures, tmp_path):
    options = ("--write", "labels", "shares", "manifest", "--threads", 1)
    edgeailite("infer", model, pictures, *options, "--save_path", tmp_path / "plain", code=1)
    packed(pictures, tmp_path / "shards")
    to = f"file://{tmp_path}/out"
    for index in range(2):
        more = ("--shard", f"{index}/2", "--save_format", "tar", "--tables", tmp_path / "tables", "--save_path", to)
        edgeailite("infer", model, f"file://{tmp_path}/shards", *options, *more, code=1 if index == PART_OF_3 else 0)
    merged = json.loads(edgeailite("infer", "--merge", to, "--json", "True", code=1))
    assert (tmp_path / "out/manifest.jsonl").read_bytes() == (tmp_path / "plain/manifest.jsonl").read_bytes()
    assert merged["folder"] == to and merged["failed"] == 1
    for part in (tmp_path / "out").glob("shard-*-of-2"):
        rows = (part / "index.csv").read_text().splitlines()[1:]
        assert rows and all((part / row.rpartition(",")[2]).is_file() for row in rows)
    (tmp_path / "out/shard-1-of-2/manifest.jsonl").unlink()
    command = [sys.executable, "-m", "edgeailite", "infer", "--merge", to]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 3 and f"{to}: 1 of 2 parts are not finished (1)" in ended.stderr


def both_ways(*words: object) -> tuple[int, str, str]:
    """Run a verb on this machine and by two workers of Ray; return the exit code of both, and what they print."""
    command = [sys.executable, "-m", "edgeailite", *map(str, words), "--json", "True"]
    here = subprocess.run(command, capture_output=True, text=True, check=False)
    there = edgeailite(*command[3:], "--engine", "ray", "--concurrency", 2, "--actor_cpus", 0.5, code=here.returncode)
    return here.returncode, here.stdout, there


def test_data_check_of_a_damaged_data_set_is_that_of_one_machine(own_miniature):
    masks = sorted((own_miniature / "gtFine").rglob("*.png"))
    images = sorted((own_miniature / "leftImg8bit").rglob("*.png"))
    masks[0].write_bytes(masks[0].read_bytes()[:80])
    masks[1].unlink()
    images[2].write_bytes(b"no picture")
    images[3].write_bytes(images[4].read_bytes())
    code, here, there = both_ways("data", "check", "--data_path", own_miniature, "--dataset_name", "streets")
    assert code == 3 and there == here


needs_camvid = pytest.mark.skipif(not CAMVID, reason="EDGEAILITE_CAMVID names no folder")


@needs_camvid
def test_data_check_of_a_real_data_set_is_that_of_one_machine():
    _, here, there = both_ways("data", "check", "--data_path", CAMVID, "--dataset_name", "camvid")
    assert json.loads(here) and there == here


@needs_camvid
def test_validate_of_a_real_data_set_is_that_of_one_machine(tmp_path):
    classes = open_dataset("camvid", Path(CAMVID), "val").targets["segmentation"].classes
    file = small_file(tmp_path, classes=classes)
    words = ("validate", file, "--data_path", CAMVID, "--dataset_name", "camvid", "--boundary", "True")
    code, here, there = both_ways(*words)
    assert code == 0 and json.loads(here) and there == here
