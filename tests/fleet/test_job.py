"""Jobs over tar shards, in this process: the manifest is that of the files, whatever the results are written as."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.fleet import units
from edgeailite.fleet.units import Unit
from edgeailite.fleet.worker import Task, Worker, rows_from, unit_as_row
from edgeailite.inference import predictor
from edgeailite.inference.manifest import read_manifest
from tests.small_file import small_file

PICTURES = 7


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return small_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """The file is opened once for all commands of this process."""
    before, once = predictor.open_model, {}

    def open_once(path, **more):
        if path not in once:
            once[path] = before(path, **more)
        return once[path]

    monkeypatch.setattr(predictor, "open_model", open_once)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Pictures, and among them one that is cut off."""
    folder = tmp_path_factory.mktemp("in")
    rng = np.random.default_rng(3)
    for index in range(PICTURES):
        noise = cv2.resize(rng.integers(0, 256, (3, 4, 3), np.uint8), (20, 16))
        data = cv2.imencode(".png", noise)[1].tobytes()
        path = folder / f"day{index % 2}" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data[:70] if index == 3 else data)
    return folder


def packed(folder: Path, to: Path, *, shards: int = 2, more: dict[str, bytes] | None = None) -> list[Path]:
    """Write tar shards of a folder's files, with other files beside them."""
    to.mkdir(exist_ok=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    made = []
    for shard in range(shards):
        made.append(to / f"{shard:03d}.tar")
        with tarfile.open(made[-1], "w") as archive:
            for path in paths[shard::shards]:
                archive.add(path, str(path.relative_to(folder)))
                member = tarfile.TarInfo(f"{path.stem}.json")
                archive.addfile(member, io.BytesIO())
            for name, data in (more or {}).items() if not shard else ():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return made


def label(command, model, inputs, out, *words):
    return command("infer", model, *inputs, "--save_path", out, "--write", "labels", "shares", "manifest", *words)


@pytest.fixture
def manifest(command, model, pictures, tmp_path) -> bytes:
    """That of plain `infer`."""
    assert label(command, model, [pictures], tmp_path / "plain").code == 1
    return (tmp_path / "plain/manifest.jsonl").read_bytes()


@pytest.mark.parametrize("form", ["files", "tar"])
def test_shards_have_the_manifest_of_the_files(command, model, pictures, tmp_path, manifest, form):
    shards = packed(pictures, tmp_path / "shards")
    out = tmp_path / "out"
    ended = label(command, model, shards, out, "--save_format", form, "--batch", 2, "--json", "True")
    assert ended.code == 1 and json.loads(ended.out)["failed"] == 1
    assert (out / "manifest.jsonl").read_bytes() == manifest
    with (out / "shares.csv").open() as file, (tmp_path / "plain/shares.csv").open() as plain:
        shares, expected = (sorted(row[1:] for row in csv.reader(each)) for each in (file, plain))
    assert shares == expected
    assert "3.png" in (out / "skipped.csv").read_text()
    names = {path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png")} - {"day1/3.png"}
    plain_png = {name: (tmp_path / "plain" / f"{name[:-4]}_label.png").read_bytes() for name in names}
    if form == "files":
        assert {name: (out / f"{name}_label.png").read_bytes() for name in names} == plain_png
        return
    with (out / "index.csv").open() as file:
        index = dict(list(csv.reader(file))[1:])
    assert set(index) == names
    found = {}
    for path in out.glob("*.tar"):
        with tarfile.open(path) as archive:
            found |= {name: archive.extractfile(name).read() for name in archive.getnames()}
    assert {name: found[f"{name}.label.png"] for name in names} == plain_png
    assert json.loads(found["day0/0.png.json"])["name"] == "day0/0.png"


def test_leftovers_of_killed_workers_go_and_other_files_stay(command, model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    out = tmp_path / "out"
    out.mkdir()
    (out / f"labels-{'0' * 16}.tar").write_bytes(b"of a killed worker")
    (out / "mine.tar").write_bytes(b"mine")
    label(command, model, shards, out, "--save_format", "tar")
    assert not (out / f"labels-{'0' * 16}.tar").exists()
    made = list(out.glob("labels-*.tar"))
    assert (out / "mine.tar").exists() and len(made) == 2
    assert "day1/3.png" not in str([*map(_names, made)])  # the one that cannot be read


def test_a_job_goes_on_and_writes_the_same(command, model, pictures, tmp_path, manifest, monkeypatch):
    shards = packed(pictures, tmp_path / "shards")
    out = tmp_path / "out"
    label(command, model, shards[:1], out, "--save_format", "tar")
    seen = []
    inside = predictor.Predictor.entry
    monkeypatch.setattr(
        predictor.Predictor, "entry", lambda self, *words: seen.append(words[0]) or inside(self, *words)
    )
    label(command, model, shards, out, "--save_format", "tar", "--resume", "True")
    assert (out / "manifest.jsonl").read_bytes() == manifest
    assert sorted(seen) == sorted(name for name in _names(shards[1]) if name.endswith(".png"))


def _names(shard: Path) -> list[str]:
    with tarfile.open(shard) as archive:
        return archive.getnames()


def test_parts_of_shards(command, model, pictures, tmp_path, manifest):
    shards = packed(pictures, tmp_path / "shards")
    for index in range(3):
        label(command, model, shards, tmp_path / "parts", "--shard", f"{index}/3", "--save_format", "tar")
    ended = command("infer", "--merge", tmp_path / "parts", "--json", "True")
    assert (tmp_path / "parts/manifest.jsonl").read_bytes() == manifest
    made = [*(tmp_path / "parts").rglob("labels-*.tar")]
    assert made and all(path.parent.name.startswith("shard-") for path in made)  # each part has its own
    found = json.loads(ended.out)
    assert "missing" not in found and "not looked for" in ended.err
    assert found["pictures"] == PICTURES and "repeated" not in found  # each in one part
    assert not (tmp_path / "parts/missing.csv").exists()


def test_parts_with_a_changed_manifest_are_not_merged(command, model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    for index in range(2):
        label(command, model, shards, tmp_path / "parts", "--shard", f"{index}/2")
    path = tmp_path / "parts/shard-1-of-2/manifest.jsonl"
    path.write_text(path.read_text().replace('"labels": "', '"labels": "0', 1))
    ended = command("infer", "--merge", tmp_path / "parts")
    assert ended.code == 3 and f"{path}: its lines are not those" in ended.err


def test_a_sample_is_recomputed_from_shards(command, model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    label(command, model, [tmp_path / "shards/*.tar"], tmp_path / "out", "--save_format", "tar")
    check = ("--check", tmp_path / "out/manifest.jsonl", "--sample", 1, "--json", "True")
    ended = command("infer", *check)
    assert ended.code == 0 and json.loads(ended.out)["equal"] == PICTURES - 1
    ended = command("infer", model, shards[1], *check)
    found = json.loads(ended.out)
    assert ended.code == 1 and found["equal"] + found["unread"] == PICTURES - 1
    assert "not in these files" in ended.err


BAD = {
    "leads outside": ("../../escape.png", "a name that leads elsewhere"),
    "absolute": ("/tmp/escape.png", "a name that leads elsewhere"),
    "no picture": ("text.png", "text.png"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_shard_may_hold(command, model, pictures, tmp_path, case):
    name, said = BAD[case]
    shards = packed(pictures, tmp_path / "shards", shards=1, more={name: b"no picture"})
    ended = label(command, model, shards, tmp_path / "a" / "b" / "out")
    assert ended.code == 1 and said in ended.err
    entries = {entry.name: entry for entry in read_manifest(tmp_path / "a/b/out/manifest.jsonl")}
    assert entries[name].failed and len(entries) == PICTURES + 1
    assert not list(tmp_path.rglob("escape*"))


def test_a_shard_that_is_cut_off_fails_alone(command, model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    shards[0].write_bytes(shards[0].read_bytes()[:1200])
    ended = label(command, model, shards, tmp_path / "out")
    assert ended.code == 1 and "cannot be read to its end" in ended.err
    labelled = {entry.name for entry in read_manifest(tmp_path / "out/manifest.jsonl") if not entry.failed}
    assert labelled >= {name for name in _names(shards[1]) if name.endswith(".png")} - {"day1/3.png"}


def test_a_cut_off_shard_is_named_without_its_folder(command, model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    shards[0].write_bytes(shards[0].read_bytes()[:1200])
    label(command, model, shards, tmp_path / "out")
    failed = {entry.name for entry in read_manifest(tmp_path / "out/manifest.jsonl") if entry.failed}
    assert "000.tar" in failed and str(tmp_path) not in (tmp_path / "out/manifest.jsonl").read_text()


def test_shards_without_pictures(command, model, tmp_path):
    packed(tmp_path, tmp_path / "shards")
    ended = label(command, model, [tmp_path / "shards/*.tar"], tmp_path / "out")
    assert ended.code == 3 and "no pictures in these files; see --column" in ended.err


@pytest.mark.parametrize("damage", ["no tar", "nothing"])
def test_files_that_are_no_shards(command, model, tmp_path, damage):
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200 if damage == "no tar" else b"")
    ended = label(command, model, [tmp_path / "a.tar"], tmp_path / "out")
    assert ended.code == 3 and "a.tar: cannot be read to its end" in ended.err


def test_going_on_with_a_whole_job_whose_failed_picture_still_fails(command, model, pictures, tmp_path, manifest):
    shards = packed(pictures, tmp_path / "shards")
    label(command, model, shards, tmp_path / "out")
    ended = label(command, model, shards, tmp_path / "out", "--resume", "True")
    assert ended.code == 1 and (tmp_path / "out/manifest.jsonl").read_bytes() == manifest


ODD = os.fsdecode(b"day1/\xff.png")  # not UTF-8


@pytest.mark.parametrize("form", ["files", "tar"])
def test_names_that_are_not_utf8(command, model, pictures, tmp_path, form):
    folder = tmp_path / "in" / "day1"
    folder.mkdir(parents=True)
    (tmp_path / "in" / ODD).write_bytes((pictures / "day0/0.png").read_bytes())
    assert label(command, model, [tmp_path / "in"], tmp_path / "plain").code == 0
    shards = packed(tmp_path / "in", tmp_path / "shards", shards=1)
    assert label(command, model, shards, tmp_path / "out", "--save_format", form).code == 0
    assert (tmp_path / "out/manifest.jsonl").read_bytes() == (tmp_path / "plain/manifest.jsonl").read_bytes()
    [entry] = read_manifest(tmp_path / "out/manifest.jsonl")
    assert entry.name == ODD and (form == "tar" or (tmp_path / "out" / f"{ODD}_label.png").is_file())


def test_units_and_rows_travel_with_any_name(model, pictures, tmp_path):
    """As Ray sends them, which takes texts in UTF-8 alone."""
    worker = Worker(Task(str(model), {"write": ("labels",)}, str(tmp_path / "out"), "files"))
    unit = Unit("picture", str(pictures / "day0/0.png"), ODD, ODD)
    row = unit_as_row(unit)
    assert all(isinstance(value, bytes) for value in row.values())
    [sent] = worker({name: np.array([value], object) for name, value in row.items()})
    assert all(isinstance(value, bytes) for name in ("name", "problem", "file") for value in sent[name])
    [(written, _)] = rows_from(sent)
    assert written.labelled.entry.name == ODD and not written.labelled.problem


def test_a_column_takes_the_pictures_of_one_extension(command, model, pictures, tmp_path, manifest):
    mask = (pictures / "day0/0.png").read_bytes()
    shards = packed(pictures, tmp_path / "shards", more={"day0/0.jpg": mask})
    label(command, model, shards, tmp_path / "out", "--column", "png")
    assert (tmp_path / "out/manifest.jsonl").read_bytes() == manifest


def test_folders_and_links_in_a_shard_are_no_pictures(command, model, pictures, tmp_path):
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w") as archive:
        archive.add(pictures / "day0/0.png", "0.png")
        for name, kind in (("folder.png", tarfile.DIRTYPE), ("link.png", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "0.png"
            archive.addfile(member)
    assert label(command, model, [shard], tmp_path / "out").code == 0
    assert [entry.name for entry in read_manifest(tmp_path / "out/manifest.jsonl")] == ["0.png"]


def test_a_member_that_is_too_large_is_not_read(command, model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(units, "MAX_FILE", (pictures / "day0/0.png").stat().st_size - 1)
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w") as archive:
        archive.add(pictures / "day0/0.png", "0.png")
    ended = label(command, model, [shard], tmp_path / "out")
    assert ended.code == 3 and f"more than the {units.MAX_FILE} that are read" in ended.err


def test_shares_of_the_work_add_up_to_the_units(model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards", shards=3)
    worker = Worker(Task(str(model), {"write": ("labels",)}, str(tmp_path / "out"), "tar", batch=2))
    work = [Unit("tar", str(shard)) for shard in shards] + [Unit("picture", str(pictures / "day0/0.png"), "a", "a")]
    assert sum(share for _, shares in worker.results(work) for share in shares) == len(work)


def test_doubled_names_of_two_shards_are_seen(command, model, pictures, tmp_path):
    other = tmp_path / "other" / "day0"
    other.mkdir(parents=True)
    (other / "0.png").write_bytes((pictures / "day0/2.png").read_bytes())
    shards = packed(pictures, tmp_path / "shards") + packed(tmp_path / "other", tmp_path / "more", shards=1)
    ended = label(command, model, shards, tmp_path / "out", "--json", "True")
    assert ended.code == 1 and json.loads(ended.out)["doubled"] == 1
    assert "doubled: day0/0.png" in ended.err


def test_metrics(command, model, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    label(command, model, shards, tmp_path / "out", "--metrics", tmp_path / "job.prom")
    lines = (tmp_path / "job.prom").read_text().splitlines()
    values = dict(line.split() for line in lines if not line.startswith("#"))
    assert values["edgeailite_pictures_done_total"] == str(PICTURES)
    assert values["edgeailite_pictures_failed_total"] == values["edgeailite_finished"] == "1"


WORDS = {
    "no such shard": (["gone.tar"], 3, "gone.tar: no such file"),
    "a camera": (["x.tar", "camera:0"], 2, "camera:0: a job labels single pictures"),
    "workers without an engine": (["x.tar", "--concurrency", "2"], 2, "expected --engine ray beside it"),
    "no CPU": (["x.tar", "--engine", "ray", "--actor_cpus", "0"], 2, "above 0"),
}


@pytest.mark.parametrize("case", WORDS)
def test_wrong_words(command, model, tmp_path, monkeypatch, case):
    words, code, said = WORDS[case]
    monkeypatch.chdir(tmp_path)
    ended = command("infer", model, *words)
    assert ended.code == code and said in ended.err
