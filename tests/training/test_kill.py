"""`kill -9` at any moment of a training costs nothing: what is trained from the last save on gives the same weights.

Tensors are compared bit by bit with those of a run that nobody killed: weights, averages, the optimizer's, the
balance's. Killed are real processes; the run that nobody killed, and going on, happen in this one.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeailite.__main__ import main
from edgeailite.data.streets.dataset import write_streets
from edgeailite.runs.folder import LAST
from tests.commands.real_runs import (
    assert_same_state,
    going_on,
    killed,
    quantize_words,
    start,
    train_words,
)

SEVERAL = ("--dataset_name", "streets_depth_semantic_motion_multi_input", "--task_balancing", "dwa_grad_norm")
Words = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def kinds(miniature, tmp_path_factory) -> dict[str, Words]:
    """Kinds of runs: the words of one into a folder."""
    float_run = tmp_path_factory.mktemp("float") / "run"
    streets = tmp_path_factory.mktemp("streets") / "data"
    return {
        "float": lambda folder: train_words(miniature, folder, "--save_every", 1),
        "ema": lambda folder: train_words(
            miniature, folder, "--save_every", 2, "--ema", 0.9, "--clip_grad", 1, "--optimizer", "sgd"
        ),
        "qat": lambda folder: quantize_words(trained(float_run, miniature), folder, "--save_every", 1),
        "several outputs": lambda folder: train_words(with_depth(streets), folder, *SEVERAL, "--save_every", 1),
    }


def with_depth(root: Path) -> Path:
    """Small streets with their depth and motion, made on first use."""
    return write_streets(root, train=6, val=2, height=64, width=128)


def trained(folder: Path, data: Path) -> Path:
    """A float run to quantize, made on first use."""
    if not (folder / LAST).exists():
        assert main(train_words(data, folder, "--epochs", 1)) == 0
    return folder


@pytest.fixture(scope="module")
def uninterrupted(kinds, tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a run of a kind that nobody killed, made on first use."""
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind) / "run"
            assert main(kinds[kind](folders[kind])) == 0
        return folders[kind]

    return folder


SLOW = [pytest.param(kind, step, marks=pytest.mark.slow) for kind, step in (("ema", 16), ("several outputs", 31))]


@pytest.mark.parametrize("kind, dies_at", [("float", 19), ("qat", 23), *SLOW])
def test_killed_once(kinds, uninterrupted, tmp_path, kind, dies_at):
    words = kinds[kind](tmp_path / "run")
    assert killed(words, dies_at=dies_at), "this chance must come"
    assert main(going_on(words, tmp_path / "run")) == 0
    assert_same_state(tmp_path / "run", uninterrupted(kind))


def test_loader_processes_change_nothing(kinds, uninterrupted, tmp_path):
    assert main([*kinds["float"](tmp_path / "run"), "--workers", "2"]) == 0
    assert_same_state(tmp_path / "run", uninterrupted("float"))


@pytest.mark.slow
def test_killed_twenty_times(kinds, uninterrupted, tmp_path):
    """Each run is killed at a random chance, or by the clock, until it is through."""
    rng, kills, runs = np.random.default_rng(20), 0, 0
    while kills < 20:
        kind = list(kinds)[runs % len(kinds)]
        folder = tmp_path / str(runs)
        words = kinds[kind](folder)
        uninterrupted(kind)
        for _ in range(2):
            now = going_on(words, folder)
            by_clock = rng.random() < 0.3
            kills += killed_by_clock(now, rng) if by_clock else killed(now, dies_at=int(rng.integers(40)))
        assert main(going_on(words, folder)) == 0
        assert_same_state(folder, uninterrupted(kind))
        runs += 1
    print(f"{kills} kills of {runs} runs")


def killed_by_clock(words: list[str], rng: np.random.Generator) -> bool:
    """Kill a process group at a random moment of some seconds; whether it was still running."""
    process = start(words)
    time.sleep(rng.uniform(1, 8))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL
