"""What may go wrong while a network trains, and what is left then: disk, signals, loader processes, numbers, clock."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST, locked
from edgeailite.training import float_run as training
from edgeailite.training import loop
from tests.commands.real_runs import ROOT, start, train_words
from tests.commands.test_train import files_of, on_each_loss
from tests.disks import files_of_at_most

ALL_READABLE = os.geteuid() == 0  # a read-only folder stops everybody but root


@pytest.fixture
def words(miniature, tmp_path):
    """The words of a short training into `tmp_path/run`, with more of them behind."""
    return lambda *more: train_words(miniature, tmp_path / "run", *more)


@pytest.fixture
def run(tmp_path) -> Path:
    return tmp_path / "run"


# --- where it is written


def test_disk_full_keeps_the_checkpoint_before(command, words, run, monkeypatch):
    with monkeypatch.context() as patch:
        on_each_loss(patch, lambda learner, calls: setattr(learner, "stop", calls == 4) or 1.0)
        assert command(*words()).code == 130
    before = files_of(run)
    with files_of_at_most(200_000):
        ended = command("train", "--resume", run)
    assert ended.code == 3, ended
    last = ended.err.splitlines()[-1]
    assert last.startswith(f"error: {run}")
    assert "cannot be written" in last
    assert "free disk space or change --save_path" in last
    assert {name: data for name, data in files_of(run).items() if name.endswith(".pt")} == {
        name: data for name, data in before.items() if name.endswith(".pt")
    }
    assert not list(run.glob("*.partial"))
    assert command("train", "--resume", run).code == 0
    assert load_checkpoint(run / LAST).training["epoch"] == 2


def test_a_disk_that_is_full_at_the_start(command, words, run, tmp_path):
    """At the record of what was loaded."""
    assert command(*words("--epochs", 1)).code == 0
    (tmp_path / "new" / "pretrained.json").mkdir(parents=True)
    ended = command(*words("--save_path", tmp_path / "new", "--pretrained", run / LAST))
    assert ended.code == 3, ended
    assert f"{tmp_path / 'new' / 'pretrained.json'}: cannot be written (" in ended.err.splitlines()[-1]


@pytest.mark.skipif(ALL_READABLE, reason="root may write everywhere")
def test_read_only_folder(command, words, run):
    run.mkdir(mode=0o555)
    ended = command(*words())
    assert ended.code == 3
    assert "cannot be written" in ended.err
    assert "--save_path" in ended.err


def test_a_file_where_a_folder_is_needed(command, words, run):
    run.touch()
    ended = command(*words("--save_path", run / "deeper"))
    assert ended.code == 3
    assert "cannot be written" in ended.err


def test_two_runs_at_once_into_one_folder(command, words, run):
    """The second is told before it has changed anything."""
    run.mkdir()
    with locked(run):
        ended = command(*words())
    assert ended.code == 3
    assert ended.err.splitlines() == [f"error: {run}: another process is training here; choose another --save_path"]
    assert list(run.iterdir()) == []


# --- signals and processes


def test_an_interrupt_in_the_last_validation_is_not_lost(command, words, run, monkeypatch):
    """No update follows that would notice it; but quantization-aware training may."""
    original = loop.validated

    def validated(learner, *args, epoch):
        learner.stop = epoch == 2
        return original(learner, *args, epoch=epoch)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validated", validated)
        ended = command(*words("--quantize", True, "--quantize_epochs", 1))
    assert ended.code == 130, ended
    said, command_line = ended.err.splitlines()[-2:]
    assert said == f"error: stopped after the last epoch, state saved in {run / LAST}; go on with:"
    assert command_line == f"edgeailite train --resume {run}"
    assert load_checkpoint(run / LAST).training["epoch"] == 2
    assert not run.with_name("run_qat").exists()


def test_a_second_interrupt_ends_at_once(miniature, tmp_path):
    """The first asks for the end of the update; whoever repeats it does not want to wait for that."""
    run = tmp_path / "run"
    code = (
        "import os, signal, sys, time\n"
        "from edgeailite.training import step\n"
        "from edgeailite.__main__ import main\n"
        "def endless(*args, **kwargs):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('asked', file=sys.stderr, flush=True)\n"
        "    time.sleep(300)\n"
        "step._update = endless\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *train_words(miniature, run)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "asked\n"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait(30) == 130
    assert err == "interrupted\n"


def test_a_killed_loader_process_is_no_hang(miniature, tmp_path):
    """As the system's killer does when memory runs out."""
    process = start(train_words(miniature, tmp_path / "run", "--workers", 1, "--epochs", 1000))
    assert process.stderr is not None
    assert process.stderr.readline().startswith("epoch 1/1000 ")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children, "the loader process"
    os.kill(int(children[0]), signal.SIGKILL)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 3, err
    last = err.splitlines()[-1]
    assert "DataLoader worker (pid" in last
    assert "out of memory?" in last
    assert "lower --workers or --batch_size" in last
    assert "Traceback" not in err


def test_a_clock_that_goes_backwards(command, words, run, monkeypatch):
    """Somebody sets it, or a time server does."""
    now, times = time.time(), iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(times))
    assert command(*words()).code == 0
    assert all(float(row.split(",")[-1]) >= 0 for row in (run / "metrics.csv").read_text().splitlines()[1:])


# --- numbers


def test_a_loss_that_is_not_finite_is_exit_5_and_leaves_the_batch(command, words, run, monkeypatch):
    on_each_loss(monkeypatch, lambda learner, calls: float("nan") if calls == 5 else 1.0)
    ended = command(*words("--save_every", 1))
    assert ended.code == 5
    last = ended.err.splitlines()[-1]
    assert "loss is nan at epoch 2, step 2; lower --lr" in last
    assert str(run / "diverged.pt") in last
    assert torch.load(run / "diverged.pt", weights_only=True)["images"][0].shape == (2, 3, 64, 64)
    saved = load_checkpoint(run / LAST).training
    assert (saved["epoch"], saved["step"]) == (1, 1)


def infinite_slopes(monkeypatch, at) -> None:
    """Finite losses whose gradients are not, in the batches of the next run whose numbers are in `at`."""
    numbers = itertools.count(1)

    class Sloped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    made = training.make_learner

    def make(*args, **kwargs):
        learner = made(*args, **kwargs)
        original = learner.losses

        def losses(outputs, targets):
            found, number = original(outputs, targets), next(numbers)
            return {name: Sloped.apply(value) for name, value in found.items()} if number in at else found

        learner.losses = losses
        return learner

    monkeypatch.setattr(training, "make_learner", make)


def test_a_gradient_that_is_not_finite_stops_where_gradients_are_clipped(command, words, monkeypatch):
    infinite_slopes(monkeypatch, at=range(1, 7))
    ended = command(*words("--clip_grad", 1))
    assert ended.code == 5
    assert "norm of the gradient is" in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    "bad, saved, flags",
    [
        (4, (1, 0), ("--save_every", 1)),  # saved behind the update
        (6, (1, 0), ()),  # saved at the end of the epoch
        (6, (1, 2), ("--save_every", 2, "--ema", 0.9, "--optimizer", "sgd")),
        (1, None, ("--save_every", 1)),
    ],
)
def test_weights_that_are_not_finite_are_not_saved(command, words, run, monkeypatch, bad, saved, flags):
    """Without --clip_grad nobody looks at gradients; their weights give a loss that is not finite one update later."""
    infinite_slopes(monkeypatch, at=[bad])
    ended = command(*words(*flags))
    assert ended.code == 5, ended
    last = ended.err.splitlines()[-1]
    assert "weights are not finite" in last
    assert "lower --lr or set --clip_grad" in last
    if saved is None:
        assert "nothing was saved before" in last
        assert not (run / LAST).exists()
        return
    assert f"{run / LAST} holds the state before" in last
    found = load_checkpoint(run / LAST)
    assert (found.training["epoch"], found.training["step"]) == saved
    assert all(torch.isfinite(value).all() for value in found.state_dict.values())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you ..."
        ),
    ],
)
def test_memory_that_does_not_suffice(command, words, run, monkeypatch, error):
    def too_large(learner, calls):
        raise error

    on_each_loss(monkeypatch, too_large)
    ended = command(*words())
    assert ended.code == 2
    assert ended.err.startswith("error: not enough memory (")
    assert "lower --batch_size, and raise --accumulate" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (run / LAST).exists()


# --- checkpoints of something else


def test_a_checkpoint_of_another_network(command, words, run, tmp_path):
    assert command(*words("--epochs", 1)).code == 0
    other = ("--save_path", tmp_path / "new", "--pretrained", run / LAST)
    ended = command(*words(*other, "--model_name", "fpn_aspp_mobilenetv2_tv_edgeailite"))
    assert ended.code == 3, ended
    assert str(run / LAST) in ended.err
    assert not (tmp_path / "new").exists()


def test_safetensors_whose_header_lies_about_its_length(command, words, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.ones(10)}, path)
    data = path.read_bytes()
    for length in (2**40, 2**63, len(data) * 2, 0):
        path.write_bytes(length.to_bytes(8, "little") + data[8:])
        ended = command(*words("--pretrained", path))
        assert ended.code == 3, ended
        assert str(path) in ended.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
