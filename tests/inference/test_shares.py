"""The table of shares: rows as they come, what a kill leaves, and the JSON that is made of it."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.inference.drawing import Output
from edgeailite.inference.shares import Table, class_shares, share_columns, write_json

TWO = Output("segmentation", "", ("a", "b,c"), ((0, 0, 0), (1, 1, 1)))
DEPTH = Output("depth", "depth", (), ())


def test_shares():
    assert class_shares(TWO, np.array([[0, 1, 1, 1]], np.uint8)) == [0.25, 0.75]


def test_rows_are_there_at_once_and_become_json(tmp_path):
    path = tmp_path / "new/shares.csv"
    table = Table(path, share_columns([TWO, DEPTH]))
    table.add(["x\ny,\udcff.png", 3, 4, 0.25, 0.75])
    assert path.read_bytes().startswith(b'picture,height,width,a,"b,c"\n')
    table.add(["z.png", 1, 1, 1.0, 0.0])
    assert path.read_bytes().endswith(b"z.png,1,1,1.0,0.0\n")
    table.close()
    write_json(path, tmp_path / "shares.json", [TWO, DEPTH])
    first, second = json.loads((tmp_path / "shares.json").read_text())
    assert first == {
        "picture": "x\\ny,\udcff.png",
        "height": 3,
        "width": 4,
        "shares": {"segmentation": {"a": 0.25, "b,c": 0.75}},
    }
    assert second["picture"] == "z.png"


def test_no_rows_are_an_empty_list(tmp_path):
    Table(tmp_path / "t.csv", share_columns([TWO])).close()
    write_json(tmp_path / "t.csv", tmp_path / "t.json", [TWO])
    assert json.loads((tmp_path / "t.json").read_text()) == []


def test_going_on_drops_half_a_row_and_knows_the_rest(tmp_path):
    path = tmp_path / "t.csv"
    for name in ("a.png", "b.png"):
        table = Table(path, ("picture", "n"), go_on=True)
        table.add([name, 1])
        table.close()
        with path.open("a") as file:
            file.write("half")
    table = Table(path, ("picture", "n"), go_on=True)
    assert table.known == {"a.png", "b.png"}
    table.add(["a.png", 2])
    table.add(["c.png", 3])
    table.close()
    assert path.read_text() == "picture,n\na.png,1\nb.png,1\nc.png,3\n"
    Table(path, ("picture", "other"), go_on=True).close()
    assert path.read_text() == "picture,other\n"


@pytest.mark.parametrize("row", ["x.png,3,4,0.25", "x.png,3,,0.25,0.75", "x.png,3,4,a,0.75", "x.png,3,4,nan,0.5", ","])
def test_going_on_makes_damaged_rows_anew(tmp_path, row):
    path, columns = tmp_path / "t.csv", share_columns([TWO])
    path.write_text(",".join(["picture,height,width,a", '"b,c"']) + f"\ny.png,3,4,0.5,0.5\n{row}\nz.png,3,4,0.5,0.5\n")
    table = Table(path, columns, go_on=True)
    assert table.known == {"y.png"}
    table.close()
    write_json(path, tmp_path / "t.json", [TWO])
    assert [values["picture"] for values in json.loads((tmp_path / "t.json").read_text())] == ["y.png"]


def test_names_cannot_move_the_cursor_or_fake_a_row(tmp_path):
    path = tmp_path / "t.csv"
    table = Table(path, ("picture", "a\x1b[2Jb\nc"))
    table.add(["x\n\x1b[31m.png", 1])
    table.close()
    assert path.read_text() == "picture,a\\x1b[2Jb\\nc\nx\\n\\x1b[31m.png,1\n"
    again = Table(path, ("picture", "a\x1b[2Jb\nc"), go_on=True)
    again.add(["x\n\x1b[31m.png", 2])
    again.close()
    assert path.read_text().endswith(".png,1\n")


def test_no_link_or_pipe_is_a_table(tmp_path):
    other = tmp_path / "other"
    for name, content in (("empty", ""), ("theirs", "mine\n")):
        other.write_text(content)
        (tmp_path / name).symlink_to(other)
        with pytest.raises(DataError, match=r"cannot be written|not written by infer"):
            Table(tmp_path / name, ("picture",))
        assert other.read_text() == content
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    for name in ("dangling", "pipe"):
        with pytest.raises(DataError, match="cannot be written"):
            Table(tmp_path / name, ("picture",))
    assert not (tmp_path / "gone").exists()


def test_a_table_of_endless_cells_is_somebody_elses(tmp_path):
    (tmp_path / "t.csv").write_text("x" * 3_000_000)
    with pytest.raises(DataError, match="not written by infer"):
        Table(tmp_path / "t.csv", ("picture",), go_on=True)


def test_somebody_elses_table_stays(tmp_path):
    (tmp_path / "t.csv").write_text("mine\n")
    with pytest.raises(DataError, match=r"t\.csv: not written by infer"):
        Table(tmp_path / "t.csv", ("picture",))
