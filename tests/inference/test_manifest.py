"""Manifests: one hash for every order of the work, faults that are seen, going on, and the hash against hashlib's."""

import hashlib
import json
from itertools import permutations

import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.inference.manifest import (
    JOURNAL,
    MANIFEST,
    Entry,
    Journal,
    labels_sha256,
    read_manifest,
    sampled,
    sorted_lines,
    write_manifest,
)


def entry(name, labels="l", data="i"):
    return Entry(name, data, labels, "m", "arithmetic")


ENTRIES = [entry("b/1.png"), entry("a.png", labels=""), entry("a"), entry("b\udcff.png"), entry("ä.png")]


def written(folder, entries):
    journal = Journal(folder)
    for each in entries:
        journal.add(each)
    return journal.finish()


def test_every_order_gives_the_same_bytes(tmp_path):
    files = set()
    for order in permutations(ENTRIES):
        summary = written(tmp_path, order)
        files.add((tmp_path / MANIFEST).read_bytes())
        assert (summary.pictures, summary.failed, summary.doubled) == (5, 1, [])
    [data] = files
    lines = data.splitlines(keepends=True)
    assert lines[:-1] == sorted(lines[:-1])
    last = json.loads(lines[-1])
    assert last["sha256"] == summary.sha256 == hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    assert list(read_manifest(tmp_path / MANIFEST)) == sorted(ENTRIES, key=Entry.line)
    assert not (tmp_path / JOURNAL).exists()


def test_a_failed_picture_that_was_labelled_later_is_not_failed(tmp_path):
    summary = written(
        tmp_path, [entry("a", labels=""), entry("b", labels=""), entry("a"), entry("b", labels="", data="")]
    )
    assert (summary.pictures, summary.failed, summary.doubled) == (2, 1, [])
    assert [each.name for each in read_manifest(tmp_path / MANIFEST)] == ["a", "b"]


def test_doubled_pictures_are_seen_and_repeated_lines_stay_once(tmp_path):
    summary = written(tmp_path, [entry("a"), entry("b"), entry("a", data="other"), entry("b"), entry("b")])
    assert (summary.pictures, summary.doubled, summary.repeated) == (2, ["a"], 2)
    assert [each.name for each in read_manifest(tmp_path / MANIFEST)] == ["a", "a", "b"]


@pytest.mark.parametrize("in_memory", [1, 2, 3, 100])
def test_lines_are_sorted_in_parts(tmp_path, in_memory):
    lines = [f"{number * 7919 % 101}\n".encode() for number in range(60)]
    (tmp_path / "lines").write_bytes(b"".join(lines))
    assert list(sorted_lines(tmp_path / "lines", in_memory=in_memory)) == sorted(lines)


def test_a_journal_goes_on_where_it_was_cut(tmp_path):
    journal = Journal(tmp_path)
    journal.add(entry("a"))
    journal.add(entry("b", labels=""))
    journal.add(entry("c"))
    journal.close()
    data = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(data[:-5])  # a kill in the middle of a line
    journal = Journal(tmp_path, go_on=True)
    assert journal.known == {"a"}
    for name in ("b", "c"):
        journal.add(entry(name))
    again = journal.finish()
    assert again == written(tmp_path / "whole", [entry("a"), entry("b"), entry("c")])
    for go_on, known in ((True, {"a", "b", "c"}), (False, set())):  # of a finished manifest
        journal = Journal(tmp_path, go_on=go_on)
        journal.close()
        assert journal.known == known


def cut(data):
    return b"".join(data.splitlines(keepends=True)[:-1])


def exchanged(data):
    return data.replace(b'"labels": "l"', b'"labels": "k"', 1)


FAULTS = {
    "no last line": cut,
    "a line is missing": lambda data: data.split(b"\n", 1)[1],
    "a hash was changed": exchanged,
    "empty": lambda data: b"",
    "not JSON": lambda data: b"x\n" + data,
    "another record": lambda data: b"{}\n" + data,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_changed_manifest_is_refused(tmp_path, fault):
    written(tmp_path, ENTRIES)
    path = tmp_path / MANIFEST
    path.write_bytes(FAULTS[fault](path.read_bytes()))
    with pytest.raises(DataError, match="manifest"):
        list(read_manifest(path))


@pytest.mark.parametrize("name", [MANIFEST, JOURNAL])
def test_files_of_others_stay(tmp_path, name):
    (tmp_path / name).write_text("theirs\n")
    for go_on in (False, True):
        with pytest.raises(DataError, match="not written by infer"):
            Journal(tmp_path, go_on=go_on)
    (tmp_path / name).unlink()
    (tmp_path / "other").write_text("")
    (tmp_path / JOURNAL).symlink_to(tmp_path / "other")
    with pytest.raises(DataError, match="cannot be written"):
        Journal(tmp_path, go_on=True)


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "other").write_text("theirs")
    (tmp_path / MANIFEST).symlink_to(tmp_path / "other")
    write_manifest(tmp_path / MANIFEST, [])
    assert (tmp_path / "other").read_text() == "theirs"


def test_a_sample_depends_on_names_and_seed_alone():
    many = [entry(f"{number}.png") for number in range(2000)]
    chosen = sampled(many, 0.1, 0)
    assert 140 < len(chosen) < 260
    assert sorted(map(Entry.line, sampled(many[::-1], 0.1, 0))) == sorted(map(Entry.line, chosen))
    assert sampled(many, 0.1, 1) != chosen
    assert sampled(many, 1, 0) == many
    assert len(sampled(many[:3], 1e-9, 0)) == 1
    assert sampled([entry("a", labels="")], 1, 0) == []


def test_the_hash_of_labels_tells_sizes_types_and_outputs_apart():
    maps = [
        {"s": np.zeros((2, 8), np.uint8)},
        {"s": np.zeros((4, 4), np.uint8)},
        {"s": np.zeros((4, 2), np.uint16)},
        {"t": np.zeros((4, 4), np.uint8)},
        {"s": np.zeros((4, 4), np.uint8), "t": np.zeros((4, 4), np.uint8)},
        {"s": np.eye(4, dtype=np.uint8)},
    ]
    assert len({labels_sha256(each) for each in maps}) == len(maps)
    turned = np.arange(6, dtype=np.uint8).reshape(2, 3)
    expected = hashlib.sha256(b"s |u1 3 2\n" + bytes([0, 3, 1, 4, 2, 5])).hexdigest()
    assert labels_sha256({"s": turned.T}) == expected
