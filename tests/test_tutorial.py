"""docs/own_data.md in an empty folder: the quick part always, the whole page in a shell of its own as a slow test."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edgeailite.data import open_dataset
from tests.markdown import ROOT, blocks

PAGE = ROOT / "docs/own_data.md"
SCRIPT = "".join(block.text for block in blocks(PAGE) if block.language == "bash")
SHELL = """
set -euo pipefail
edgeailite() { "$PYTHON" -m edgeailite "$@"; }
python() { "$PYTHON" "$@"; }
"""


def bash(text: str, folder: Path, *, timeout: int) -> None:
    ended = subprocess.run(
        ["bash", "-c", SHELL + text],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """A folder in which everything before the first command of ours was done: pictures and dataset.yaml."""
    folder = tmp_path_factory.mktemp("tutorial")
    bash(SCRIPT.partition("edgeailite ")[0], folder, timeout=60)
    return folder


def lines_of(verb: str) -> list[str]:
    return [line for line in SCRIPT.replace("\\\n", " ").splitlines() if line.startswith(f"edgeailite {verb} ")]


def test_twenty_pictures_with_the_names_of_the_yaml(empty):
    source = open_dataset("folder", empty / "own", "train")
    assert len(source.items) == 16 and len(open_dataset("folder", empty / "own", "val").items) == 4
    assert next(iter(source.targets.values())).classes == ("floor", "ball", "box")


def test_check_finds_nothing_and_stats_prints_what_the_page_shows(empty, command, monkeypatch):
    monkeypatch.chdir(empty)
    ended = command(*shlex.split(lines_of("data check")[0])[1:], "--workers", 0, "--json", "True")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["findings"] == []
    shown = command(*shlex.split(lines_of("data stats")[0])[1:], "--workers", 0).out
    table = next(block.text for block in blocks(PAGE) if "median freq." in block.text)
    ours = [line.split() for line in table.splitlines()[1:]]
    assert all(line in [row.split() for row in shown.splitlines()] for line in ours)


def test_the_dry_run_leaves_nothing_behind(empty, command, monkeypatch):
    monkeypatch.chdir(empty)
    before = sorted(path.name for path in empty.iterdir())
    dry = next(line for line in lines_of("train") if "--dry_run" in line)
    ended = command(*shlex.split(dry)[1:], "--workers", 0, "--threads", 1)
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in empty.iterdir()) == before


@pytest.mark.slow
def test_the_whole_page(tmp_path):
    bash(SCRIPT, tmp_path, timeout=1800)
    made = {path.name for path in (tmp_path / "runs/own_ptq").iterdir()}
    assert {"model_int8.onnx", "contract_int8.json", "report.html"} <= made
    contract = json.loads((tmp_path / "runs/own_ptq/contract_int8.json").read_text())
    assert contract["results"]["ALL"]["max_difference"] == 0
    assert len(list((tmp_path / "predictions").glob("*_label.png"))) == 4
    assert not list(ROOT.glob("runs/own*"))
