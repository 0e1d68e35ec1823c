"""The fuzz run: a small part of it, all of it, and the rules by which an end is judged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.case import Group, World
from tests.fuzz.child import Folder
from tests.fuzz.folders import changes, leftovers, look
from tests.fuzz.groups import GROUPS
from tests.fuzz.judge import Ended, judge, place_of
from tests.fuzz.mutate import bomb, damage, damage_text, wreck
from tests.fuzz.runner import plan
from tests.fuzz.seeds import MAKERS, QUICK, Seeds, with_origins

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_A_SERVER = sorted({name.partition("-")[0] for name in GROUPS} - {"http"})


def fuzz(*words: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """The run as a developer starts it."""
    command = [sys.executable, str(ROOT / "tools/fuzz.py"), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=ROOT)


def test_thirty_cases_end_well():
    ended = fuzz("--quick", "--cases", "30", "--groups", *WITHOUT_A_SERVER, "http-wsgi", timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_all_cases_end_well():
    ended = fuzz("--cases", "2600", timeout=3600)
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- what is a good end


def end(code: int | None, err: str = "", *, out: str = "", memory: int = 0, **more: object) -> list[str]:
    """The kinds of failures of an end."""
    ended = Ended("case", "", ("infer", "x"), code, 1.0, memory, out, err, **more)  # type: ignore[arg-type]
    return [failure.kind for failure in judge(ended, memory=2_500_000_000)]


TRACEBACK = 'Traceback (most recent call last):\n  File "/x/edgeailite/a/b.py", line 7, in f\nKeyError: 1\n'
ENDS = {
    "ok": ((0, ""), []),
    "ok with a note": ((0, "note: something\n"), []),
    "one line": ((3, "error: a.png: damaged\n"), []),
    "a note, one line": ((3, "warning: a\nerror: b\n"), []),
    "listed failures": ((1, "skipped a.png: damaged\n"), []),
    "stopped": ((130, "interrupted\n"), []),
    "traceback": ((1, TRACEBACK), ["traceback"]),
    "exit code": ((7, ""), ["crash"]),
    "signal": ((-11, ""), ["crash"]),
    "hang": ((None, ""), ["hang"]),
    "silence": ((3, ""), ["no error line"]),
    "two errors": ((3, "error: a\nerror: b\n"), ["several errors"]),
    "two lines": ((3, "error: a\nb\n"), ["error of several lines"]),
    "a library's line": ((3, "[W:onnxruntime] x\nerror: a\n"), ["noise on stderr"]),
    "a decoder's line": ((3, "libpng error: x\nCorrupt JPEG data: y\nerror: a\n"), []),
    "an error that is none": ((0, "error: a\n"), ["error with exit code 0"]),
    "escape codes": ((3, "error: \x1b[2J\n"), ["control characters"]),
    "an endless line": ((3, "error: " + "x" * 3000 + "\n"), ["endless line"]),
    "out of memory": ((3, "error: out of memory\n"), ["memory"]),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends(name):
    given, kinds = ENDS[name]
    assert end(*given) == kinds


def test_further_rules_of_an_end():
    assert end(0, memory=3_000_000_000) == ["memory"]
    assert end(0, out="a\x1bb") == ["control characters"]
    assert end(3, "error: x\n", honest=True) == ["honest input refused"]
    assert end(0, wrong=True) == ["believed"]
    assert place_of(TRACEBACK) == "edgeailite/a/b.py:7"


def test_what_was_written_is_seen(tmp_path):
    (tmp_path / "a").write_text("1")
    before = look(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/.a.0.partial").touch()
    assert changes(before, look(tmp_path)) == ["b", "b/.a.0.partial"]
    assert leftovers(before, look(tmp_path)) == ["b/.a.0.partial"]


# --- the same seed gives the same cases


def test_a_plan_is_a_begin_of_a_larger_one():
    groups = list(GROUPS.values())
    small, large = ({case.name for case in plan(groups, count)} for count in (100, 3000))
    assert small < large
    assert len(large) > 2900
    assert {group.name for group in groups} == {name.rpartition("-")[0] for name in small}


def test_needs_are_made_in_order():
    assert with_origins(["exported"]) == ["data", "trained", "quantized", "exported"]
    assert all(set(group.needs) <= {*MAKERS, "server"} for group in GROUPS.values())
    assert set(with_origins(QUICK)) == set(QUICK)


def test_damage_is_a_function_of_the_seed():
    for seed in range(30):
        one, other = random.Random(seed), random.Random(seed)
        assert damage(bytes(range(256)), one) == damage(bytes(range(256)), other)
        assert damage_text("a: 1\nb: [2, 3]\n", one) == damage_text("a: 1\nb: [2, 3]\n", other)
        assert repr(wreck({"a": [1, {"b": 2}]}, one, "x")) == repr(wreck({"a": [1, {"b": 2}]}, other, "x"))


@pytest.mark.parametrize("name", ["picture-bytes", "picture-headers", "picture-masks", "yaml-dataset", "json-coco"])
def test_a_case_is_the_same_again(tmp_path, name):
    seeds = Seeds(tmp_path / "seeds")
    (seeds / "data").mkdir(parents=True)
    MAKERS["data"](seeds / "data")
    built = [_built(GROUPS[name], seeds, tmp_path / str(number)) for number in range(2)]
    assert built[0] == built[1]


def _built(group: Group, seeds: Seeds, root: Path) -> list[object]:
    """Words and files of some cases."""
    found: list[object] = []
    for number in range(6):
        folder = Folder(root / str(number))
        folder.make()
        call = group.build(World(folder / "box", folder / "canary", seeds, random.Random(f"1/{number}"), number))
        files = sorted(path for path in (folder / "box").rglob("*") if path.is_file())
        found += [call.about, call.argv, [(path.relative_to(folder.root), path.read_bytes()) for path in files]]
    return found


def test_a_bomb_is_a_whole_stream():
    import zlib

    assert zlib.decompress(bomb(3)) == bytes(3 << 20)
