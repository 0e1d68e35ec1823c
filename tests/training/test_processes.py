"""`train` and `quantize` under torchrun on CPUs: two processes write one run, and the loss of one costs nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeailite.__main__ import main
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import BEST, LAST
from tests.commands.real_runs import DYING, ROOT, assert_same_state, train_words

pytestmark = pytest.mark.slow  # each starts two or four processes; the sums themselves are in tests/test_distributed.py

STOPS_WITHIN = 60.0  # seconds


TWO = ("--standalone", "--nproc-per-node", "2")


def torchrun(
    words: list[str],
    folder: Path,
    *,
    dies_at: int = 10**9,
    victim: int = 1,
    restarts: int = 0,
    started: tuple[str, ...] = TWO,
) -> subprocess.Popen[str]:
    """Two processes; the victim dies at the given chance, unless it was started again."""
    script = folder / "dying.py"
    script.write_text(DYING)
    options = [*started, "--max-restarts", str(restarts)]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, str(script), str(dies_at), *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "VICTIM": str(victim)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def uninterrupted(miniature, tmp_path_factory) -> Path:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("two")
    code, out, err = ended(torchrun(train_words(miniature, folder / "run", "--save_every", 1), folder))
    assert code == 0, err
    assert out.count("train") == 1, "one process speaks"
    assert err.count("epoch 1/2") == 1
    assert "Warning" not in err
    return folder / "run"


def test_one_run_folder_of_the_first_process(uninterrupted):
    files = {path.name for path in uninterrupted.iterdir()}
    assert {"config.yaml", "env.json", "metrics.csv", LAST, BEST} <= files
    assert load_checkpoint(uninterrupted / LAST).training["epoch"] == 2
    assert len((uninterrupted / "metrics.csv").read_text().splitlines()) == 3


def test_repeated_it_is_the_same(uninterrupted, miniature, tmp_path):
    code, _, err = ended(torchrun(train_words(miniature, tmp_path / "run", "--save_every", 1), tmp_path))
    assert code == 0, err
    assert_same_state(tmp_path / "run", uninterrupted)


def test_a_lost_process_stops_the_others_soon_and_going_on_gives_the_same(uninterrupted, miniature, tmp_path):
    run = tmp_path / "run"
    code, _, err = ended(torchrun(train_words(miniature, run, "--save_every", 1), tmp_path, dies_at=4))
    assert code != 0
    died = re.search(r"dies at ([\d.]+)", err)
    assert died is not None, err
    assert time.time() - float(died.group(1)) < STOPS_WITHIN
    assert f"go on with --resume {run}" in err or "Signal 15" in err, err
    saved = load_checkpoint(run / LAST).training
    assert 0 < saved["epoch"] * 3 + saved["step"] < 6
    code, _, err = ended(torchrun(["train", "--resume", str(run)], tmp_path))
    assert code == 0, err
    assert_same_state(run, uninterrupted)


@pytest.mark.parametrize("victim, dies_at", [(1, 4), (0, 17)])
def test_torchrun_starts_them_again_from_the_last_save(uninterrupted, miniature, tmp_path, victim, dies_at):
    """Also if the one that writes dies while it does."""
    run = tmp_path / "run"
    words = train_words(miniature, run, "--save_every", 1)
    code, _, err = ended(torchrun(words, tmp_path, dies_at=dies_at, victim=victim, restarts=1))
    assert code == 0, err
    assert err.count("dies at") == 1
    assert_same_state(run, uninterrupted)


def test_one_process_is_started_again_too(miniature, tmp_path):
    """By a torchrun whose job has no name."""
    words = train_words(miniature, tmp_path / "run", "--save_every", 1)
    one = ("--nproc-per-node", "1", "--master-port", str(free_port()))
    code, _, err = ended(torchrun(words, tmp_path, dies_at=10, victim=0, restarts=1, started=one))
    assert code == 0, err
    assert err.count("dies at") == 1
    assert main(train_words(miniature, tmp_path / "whole", "--save_every", 1)) == 0
    assert_same_state(tmp_path / "run", tmp_path / "whole")


def test_a_host_that_comes_later_starts_all_again_from_the_last_save(miniature, tmp_path, monkeypatch):
    """No process was lost, and no number of starts is raised."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # without it torch's own meeting fails
    words = train_words(miniature, tmp_path / "run", "--epochs", 40, "--evaluate_every", 100)
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "job 7")
    more = ("--rdzv-conf", "last_call_timeout=3", "--monitor-interval", "1")
    host = ("--nnodes", "1:2", "--nproc-per-node", "1", *meeting, *more)
    first = torchrun(words, tmp_path, started=host)
    deadline = time.time() + 120
    while not (tmp_path / "run" / LAST).exists() and time.time() < deadline:
        time.sleep(0.2)
    second = torchrun(words, tmp_path, started=host)
    ends = [ended(first), ended(second)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    err = ends[0][2] + ends[1][2]
    assert "error: stopped in epoch" in err
    assert err.count("epoch 1/40") == 1
    assert load_checkpoint(tmp_path / "run" / LAST).training["epoch"] == 40


def test_a_run_of_somebody_else_is_not_gone_on_with(uninterrupted, miniature, tmp_path):
    """The folder is refused, torchrun starts the processes again, and it is refused again."""
    before = (uninterrupted / LAST).read_bytes()
    code, _, err = ended(torchrun(train_words(miniature, uninterrupted, "--epochs", 3), tmp_path, restarts=1))
    assert code != 0
    assert "holds a run already" in err
    assert (uninterrupted / LAST).read_bytes() == before


def test_a_signal_saves_and_ends_all(miniature, tmp_path):
    run = tmp_path / "run"
    process = torchrun(train_words(miniature, run, "--epochs", 1000, "--evaluate_every", 1000), tmp_path)
    deadline = time.time() + 300
    while not (run / LAST).exists() and time.time() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code != 0
    assert "state saved in" in err, err
    assert load_checkpoint(run / LAST).training["epoch"] >= 1


def test_quantization_follows_in_the_same_processes(miniature, tmp_path):
    words = train_words(miniature, tmp_path / "run", "--epochs", 1, "--quantize", True, "--quantize_epochs", 1)
    code, out, err = ended(torchrun(words, tmp_path))
    assert code == 0, err
    assert out.count("quantize") == 1
    assert load_checkpoint(tmp_path / "run_qat" / LAST).quantization["method"] == "qat"


def test_what_two_processes_cannot_do(miniature, tmp_path):
    words = train_words(miniature, tmp_path / "run")
    for changed, message in (
        ([*words, "--batch_size", "3"], "--batch_size 3: expected a multiple of the 2 processes"),
        (without(words, "--save_path"), "--save_path: several processes need one that they agree on; give it"),
    ):
        code, _, err = ended(torchrun(changed, tmp_path))
        assert code != 0
        assert message in err
        assert 'Traceback (most recent call last):\n  File "' + str(ROOT) not in err
    assert not (tmp_path / "run" / LAST).exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def without(words: list[str], flag: str) -> list[str]:
    at = words.index(flag)
    return words[:at] + words[at + 2 :]
