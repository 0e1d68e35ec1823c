"""GPUs of published commands: what CUDA sees, and when torchrun takes over."""

import os
import sys

import pytest
import torch

from edgeailite.compat import running
from edgeailite.compat.launching import VISIBLE, gpu_list, restart_on_several_gpus, show_gpus
from edgeailite.errors import UsageError


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (VISIBLE, "LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """Command lines that would have taken this process over."""
    lines: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: lines.append(words))
    monkeypatch.setattr(sys, "argv", ["references/train_segmentation_main.py"])
    return lines


@pytest.mark.parametrize(
    "text, numbers",
    [("0", "0"), ("0,2", "0 2"), ("0-3", "0 1 2 3"), ("gpu0-gpu2", "0 1 2"), ("gpu0-1,3", "0 1 3")],
)
def test_lists_of_gpus(text, numbers):
    assert gpu_list(text) == numbers.split()


@pytest.mark.parametrize("text", ["", "all", "3-1", "0;1"])
def test_other_words_are_refused(text):
    with pytest.raises(UsageError, match="expected numbers as 0, 0,2 or 0-3"):
        gpu_list(text)


def test_the_environment_has_the_first_word(monkeypatch):
    show_gpus(None)
    assert VISIBLE not in os.environ
    monkeypatch.setenv(VISIBLE, "5")
    show_gpus(["0", "1"])
    assert os.environ[VISIBLE] == "5"
    monkeypatch.delenv(VISIBLE)
    show_gpus(["0", "1"])
    assert os.environ[VISIBLE] == "0,1"


def test_several_gpus_start_as_many_processes(monkeypatch, started):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    restart_on_several_gpus(["--lr", "1"])
    words = " ".join(started[0][1:])
    assert words == (
        "-m torch.distributed.run --standalone --nproc-per-node 2 references/train_segmentation_main.py --lr 1"
    )
    monkeypatch.setenv("LOCAL_RANK", "0")
    restart_on_several_gpus([])
    assert len(started) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_one_process_without_several_gpus(monkeypatch, started, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    restart_on_several_gpus([])
    assert started == []


@pytest.mark.parametrize(
    "line, restarted, folder",
    [("", True, True), ("--save_path x", True, False), ("--parallel_model False", False, False),
     ("--distributed False", False, False), ("--dry_run True", True, False), ("--resume x", True, False)],
)  # fmt: skip
def test_processes_agree_on_the_folder(monkeypatch, started, line, restarted, folder):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(running, "main", lambda words: 0)
    assert running.run("train_segmentation_main", line.split()) == 0
    assert len(started) == restarted
    extra = [] if not started else started[0][7 + len(line.split()) :]
    assert (extra[:1] == ["--save_path"]) == folder
