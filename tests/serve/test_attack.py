"""All attacks at once, by tools/attack_service.py: a short form of it, and the long one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools/attack_service.py"
SPEC = importlib.util.spec_from_file_location("attack_service", TOOL)
assert SPEC is not None and SPEC.loader is not None
tool = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = tool
SPEC.loader.exec_module(tool)


@pytest.fixture(autouse=True)
def as_before():
    """The tool sets how often threads take turns."""
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)


def test_the_service_holds_for_a_moment(tmp_path):
    """Attackers and watchers share this machine with other tests: a second is asked for by the long form."""
    result, log = tool.run(None, tmp_path, seconds=3, scale=0.2)
    assert not tool.faults(result, log, within=4.0), (result, log)
    answers = result["answers to attacks"]
    for words in ("foreign: 403", "no token: 401", "chunks: 400"):
        assert answers[words] > 0, answers
    assert not [words for words in answers if words.endswith(": 500")], answers
    assert not [words for words in answers if words.endswith(": 200")], answers


@pytest.mark.slow
def test_the_service_holds(tmp_path):
    result, log = tool.run(None, tmp_path, seconds=30)
    assert not tool.faults(result, log), (result, log)


def test_what_a_fault_is():
    good = {
        "slowest health check s": 0.5,
        "honest answers": {"right": 3, "503": 2},
        "RSS MB first last most": [300.0, 310.0, 320.0],
        "exit code after SIGTERM": 0,
    }
    assert tool.faults(good, "ready\n") == []
    bad = {
        "slowest health check s": float("inf"),
        "honest answers": {"wrong": 1},
        "RSS MB first last most": [300.0, 310.0, 900.0],
        "exit code after SIGTERM": -6,
    }
    assert len(tool.faults(bad, "Traceback (most recent call last)")) == 6
