"""Signals to a training's whole process group, as `timeout`, systemd and Slurm send them; and resuming for longer."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import time
from pathlib import Path

import pytest

from edgeailite.cli import parse
from edgeailite.config import QuantizeConfig, TrainConfig
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.training.loop import Trainer, stopped_by
from tests.commands.real_runs import start, train_words


def stopped(words: list[str], run: Path, *, times: int) -> tuple[int, str]:
    """Exit code and stderr of a training whose group got SIGTERM so many times at once, after its first epoch."""
    process = start(words)
    deadline = time.time() + 120
    while not (run / LAST).exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.05)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_the_state_is_saved_and_the_last_line_goes_on(miniature, tmp_path, command, workers):
    run = tmp_path / "run"
    words = train_words(miniature, run, "--epochs", 500, "--evaluate_every", 500, "--workers", workers)
    code, err = stopped(words, run, times=2)
    assert code == 130, err
    said, last = err.splitlines()[-2:]
    assert f"state saved in {run / LAST}; go on with:" in said
    assert last == f"edgeailite train --resume {run}"
    done = load_checkpoint(run / LAST).training["epoch"]
    assert done >= 1
    assert load_checkpoint(run / LAST).config["epochs"] == 500
    assert shlex.split(last)[0] == "edgeailite"


@pytest.mark.parametrize("verb", ["train", "quantize"])
def test_before_a_training_begins_it_is_as_ctrl_c(verb, command, monkeypatch, tmp_path):
    """While modules load and data are looked at; 143 and no word before."""
    before = signal.getsignal(signal.SIGTERM)
    module = importlib.import_module(f"edgeailite.commands.{verb}")
    monkeypatch.setattr(module, "run", lambda config: signal.raise_signal(signal.SIGTERM))
    ended = command(verb, *([tmp_path] if verb == "quantize" else ["--data_path", tmp_path]))
    assert (ended.code, ended.err) == (130, "interrupted\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_more_epochs_than_the_run_had(miniature, tmp_path, command):
    run = tmp_path / "run"
    assert command(*train_words(miniature, run, "--epochs", 1)).code == 0
    ended = command("train", "--resume", run)
    assert ended.code == 0 and load_checkpoint(run / LAST).training["epoch"] == 1
    ended = command("train", "--resume", run, "--epochs", 2)
    assert ended.code == 0, ended.err
    assert "trains on to epoch 2, the run's own were 1; the poly schedule now falls over all 2" in ended.err
    found = load_checkpoint(run / LAST)
    assert (found.training["epoch"], found.config["epochs"]) == (2, 2)
    assert [row.split(",")[0] for row in (run / "metrics.csv").read_text().splitlines()] == ["epoch", "1", "2"]
    ended = command("train", "--resume", run, "--epochs", 1)
    assert "not taken: --epochs (the run's is 2)" in ended.err


@pytest.mark.parametrize("quantization", [None, {"scheme": "ort_u8s8"}])
def test_the_command_that_goes_on_is_read_by_our_own_command_line(tmp_path, quantization):
    folder = tmp_path / "a run"
    trainer = Trainer(folder, None, {"run": "runs/a b"}, None, lambda epoch: 1.0, quantization)
    words = shlex.split(stopped_by(trainer, "stopped").fix)
    config = parse(words[1], words[2:])
    if quantization is None:
        assert config == TrainConfig(resume=folder)
    else:
        assert config == QuantizeConfig(Path("runs/a b"), folder, resume=True)
