"""Trainings in processes of their own, to be killed: by the clock, at an update, or while a checkpoint is written.

A process that is to die at its n-th chance runs `DYING`: each update, and each moment between the parts of a save, is a
chance. What is killed is the process itself, by the signal that the system's own killer sends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST

ROOT = Path(__file__).resolve().parents[2]

SMALL = ["--img_resize", "64", "64", "--batch_size", "2", "--workers", "0", "--device", "cpu", "--threads", "1"]
QUIET = ["--amp", "off", "--overlays", "0", "--tensorboard", "off"]
FLAGS = [*SMALL, *QUIET, "--pretrained", "none", "--epochs", "2", "--lr", "1e-3", "--warmup_epochs", "0.5"]

DYING = """
import os, signal, sys, time
from pathlib import Path

chances = int(sys.argv.pop(1))
victim = os.environ.get("VICTIM", "1")
if os.environ.get("RANK", victim) != victim or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
    chances = 10**9  # of several processes one dies, once


def die_here():
    global chances
    chances -= 1
    if chances < 0:
        print("dies at", time.time(), file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def dying(function):
    def run(*args, **kwargs):
        die_here()
        return function(*args, **kwargs)

    return run


import torch
from edgeailite.training import step

whole = torch.save


def save(values, file, **options):
    if options:  # torch's own use, when it sends values to other processes
        return whole(values, file, **options)
    if chances == 0:  # die with half a file: the state is written, and cut
        whole(values, file)
        file.flush()
        os.truncate(file.fileno(), file.tell() // 2)
    die_here()
    whole(values, file)


torch.save = save
os.fsync, os.link, Path.replace, Path.unlink = map(dying, (os.fsync, os.link, Path.replace, Path.unlink))
step._update = dying(step._update)

from edgeailite.__main__ import main

sys.exit(main(sys.argv[1:]))
"""


def train_words(data: Path, folder: Path, *more: object) -> list[str]:
    """The words of a short training."""
    words = ("train", "--dataset_name", "streets", "--data_path", data, "--save_path", folder, *FLAGS, *more)
    return [str(word) for word in words]


def quantize_words(run: Path, folder: Path, *more: object) -> list[str]:
    """The words of a short quantization-aware training."""
    options = ["--epochs", "2", "--calibration_images", "2", "--workers", "0", "--device", "cpu", "--threads", "1"]
    return [str(word) for word in ("quantize", run, "--save_path", folder, *options, *more)]


def going_on(words: list[str], folder: Path) -> list[str]:
    """The words that go on with a run of `words`, or begin it again where nothing was saved."""
    if not (folder / LAST).exists():
        return words
    return [*words, "--resume", "True"] if words[0] == "quantize" else ["train", "--resume", str(folder)]


def start(words: list[str], *, dies_at: int | None = None) -> subprocess.Popen[str]:
    """A process with these words, that kills itself at the given chance."""
    way = ["-m", "edgeailite"] if dies_at is None else ["-c", DYING, str(dies_at)]
    return subprocess.Popen(
        [sys.executable, *way, *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def killed(words: list[str], *, dies_at: int) -> bool:
    """Run until the chance; whether it came before the end. Anything but these two ends is an error."""
    process = start(words, dies_at=dies_at)
    err = process.communicate(timeout=300)[1]
    assert process.returncode in (0, -signal.SIGKILL), err
    return process.returncode != 0


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by its place in it: weights, averages, optimizer, balance."""
    found: dict[str, torch.Tensor] = {}

    def walk(value: object, place: str) -> None:
        if isinstance(value, torch.Tensor):
            found[place] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{place}/{key}")

    checkpoint = load_checkpoint(path)
    walk(dict(checkpoint.state_dict), "weights")
    walk(dict(checkpoint.training), "training")
    return found


def assert_same_state(folder: Path, expected: Path) -> None:
    """Equal tensors in the last checkpoints, equal numbers beside them, equal metrics but for the seconds."""
    ours, theirs = state_of(folder / LAST), state_of(expected / LAST)
    assert list(ours) == list(theirs)
    assert [place for place in ours if not torch.equal(ours[place], theirs[place])] == []
    numbers = [
        {key: repr(value) for key, value in load_checkpoint(run / LAST).training.items() if key not in _TENSORS}
        for run in (folder, expected)
    ]
    assert numbers[0] == numbers[1]
    assert rows_of(folder) == rows_of(expected)
    assert not [path.name for path in folder.iterdir() if path.suffix == ".partial"]


_TENSORS = ("optimizer", "model", "balance")


def rows_of(folder: Path) -> list[list[str]]:
    """metrics.csv without the seconds, which come last."""
    return [line.split(",")[:-1] for line in (folder / "metrics.csv").read_text().splitlines()]
