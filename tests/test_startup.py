"""Starting is instant, and needs nothing: `edgeailite --help` imports no torch, `import edgeailite` nothing at all.

The second half keeps a promise: `edgeailite verify FILE contract.json` runs after `pip install --no-deps edgeailite`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "numpy", "cv2", "onnx", "onnxruntime", "matplotlib"}
HELP_SECONDS = 0.4

RUN_HELP = """
import runpy, sys
sys.argv = ["edgeailite", "--help"]
try:
    runpy.run_module("edgeailite", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
"""


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def imported(code: str) -> set[str]:
    """Top-level names of the modules that a piece of code imports in a fresh interpreter."""
    out = python(f"import sys\nbefore = set(sys.modules)\n{code}\nprint('\\n' + ' '.join(set(sys.modules) - before))")
    return {name.partition(".")[0] for name in out.splitlines()[-1].split()}


def test_help_imports_nothing_heavy():
    assert imported(RUN_HELP) & HEAVY == set()


@pytest.mark.parametrize("module", ["edgeailite", "edgeailite.__main__"])
def test_import_needs_only_the_standard_library(module):
    assert imported(f"import {module}") - sys.stdlib_module_names == {"edgeailite"}


def processor_time_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.parametrize(
    "verb, words", [("", {"train", "export", "verify", "doctor"}), ("train", {"--epochs", "loss"})]
)
def test_help_is_instant(verb, words):
    seconds = []
    for _ in range(5):  # processor time, and the best of five: a busy machine must not fail this
        begin = processor_time_of_children()
        command = [sys.executable, "-m", "edgeailite", *verb.split(), "--help"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        seconds.append(processor_time_of_children() - begin)
        assert ended.returncode == 0, ended.stderr
        assert words <= set(ended.stdout.split())
    assert min(seconds) < HELP_SECONDS, f"edgeailite {verb} --help took {min(seconds):.2f} s at best"
