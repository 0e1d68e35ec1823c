"""Parquet files that are not as they should be, in this process. Needs pyarrow, of the extra `ray`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeailite.inference.manifest import read_manifest
from tests.fleet.test_job import ODD, label, model, opened, packed, pictures

pytestmark = pytest.mark.ray
__all__ = ["model", "opened", "pictures"]  # fixtures


@pytest.fixture
def good(pictures) -> bytes:
    return (pictures / "day0/0.png").read_bytes()


def parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_a_file_without_a_column_of_pictures_names_its_columns(command, model, tmp_path, good):
    path = parquet(tmp_path / "a.parquet", [{"name": "0.png", "photo": good}])
    ended = label(command, model, [path], tmp_path / "out")
    assert ended.code == 3 and "columns name, photo; name that of the pictures with --column" in ended.err
    assert label(command, model, [path], tmp_path / "out", "--column", "photo").code == 0
    ended = label(command, model, [path], tmp_path / "out", "--column", "picture")
    assert ended.code == 3 and "columns name, photo" in ended.err


def test_a_column_of_other_values_fails_row_by_row(command, model, tmp_path, good):
    rows = [{"name": "0.png", "image": {"bytes": good}}, {"name": "1.png", "image": None}]
    ended = label(command, model, [parquet(tmp_path / "a.parquet", rows)], tmp_path / "out")
    assert ended.code == 1 and "1.png: no bytes in image" in ended.err
    texts = [{"name": "0.png", "image": "a text"}]
    ended = label(command, model, [parquet(tmp_path / "b.parquet", texts)], tmp_path / "out2")
    assert ended.code == 3 and "0.png: no bytes in image" in ended.err


def test_rows_without_a_name_are_named_by_file_and_row(command, model, tmp_path, good):
    rows = [{"name": "0.png", "image": good}, {"name": None, "image": good}, {"name": "../up.png", "image": good}]
    ended = label(command, model, [parquet(tmp_path / "a.parquet", rows)], tmp_path / "out", "--json", "True")
    found = {entry.name: entry.failed for entry in read_manifest(tmp_path / "out/manifest.jsonl")}
    assert found == {"0.png": False, "a/000000001": False, "../up.png": True}
    assert ended.code == 1 and json.loads(ended.out)["failed"] == 1


@pytest.mark.parametrize("kept", [0, 7, 200])
def test_a_file_that_is_cut_off(command, model, tmp_path, good, kept):
    path = parquet(tmp_path / "a.parquet", [{"name": "0.png", "image": good}])
    path.write_bytes(path.read_bytes()[:kept])
    ended = label(command, model, [path], tmp_path / "out")
    assert ended.code == 3 and "a.parquet: cannot be read to its end" in ended.err


def test_names_that_are_not_utf8_are_escaped_in_parquet_alone(command, model, pictures, tmp_path, good):
    import pyarrow.parquet

    path = tmp_path / "in" / ODD
    path.parent.mkdir(parents=True)
    path.write_bytes(good)
    shards = packed(tmp_path / "in", tmp_path / "shards", shards=1)
    assert label(command, model, shards, tmp_path / "out", "--save_format", "parquet").code == 0
    [entry] = read_manifest(tmp_path / "out/manifest.jsonl")
    [file] = (tmp_path / "out").glob("*.parquet")
    assert entry.name == ODD
    assert pyarrow.parquet.read_table(file)["name"].to_pylist() == ["day1/\\udcff.png"]


def test_names_that_are_not_utf8_cannot_be_written_to_an_address(command, model, tmp_path, good):
    path = tmp_path / "in" / ODD
    path.parent.mkdir(parents=True)
    path.write_bytes(good)
    (tmp_path / "in/0.png").write_bytes(good)
    to = f"file://{tmp_path}/out"
    shards = packed(tmp_path / "in", tmp_path / "shards", shards=1)
    ended = label(command, model, shards, to, "--tables", tmp_path / "tables")
    assert ended.code == 1 and "not UTF-8, as names at an address have to be" in ended.err
    assert (tmp_path / "out/0.png_label.png").is_file()
