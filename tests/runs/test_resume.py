"""Which run is gone on with, decided alike in every process, and with which options."""

import dataclasses
import json
import os

import pytest

from edgeailite.commands import train
from edgeailite.config import TrainConfig
from edgeailite.distributed import ALONE, Processes
from edgeailite.errors import DataError, Interrupted
from edgeailite.runs import resume
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST, PREVIOUS
from edgeailite.runs.resume import begin_run, device_of, goes_on, resumed_config
from edgeailite.training import job
from tests.commands.test_train import assert_same_run, config_for, stop_after

NAME, STARTS = "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"
Job = tuple[str, str] | None  # name and number of starts, as torchrun tells them


@pytest.fixture
def as_job(monkeypatch):
    """Be a process of this job, which is not run by torchrun for None."""

    def become(job: Job) -> None:
        for variable, value in zip((NAME, STARTS), job or (None, None), strict=True):
            if value is None:
                monkeypatch.delenv(variable, raising=False)
            else:
                monkeypatch.setenv(variable, value)

    become(None)
    return become


@pytest.mark.parametrize(
    "began, now, expected",
    [
        (None, None, False),
        (("a", "0"), ("a", "1"), True),
        (("a", "0"), ("a", "0"), True),  # hosts came or went: no number of starts is raised
        (("b", "0"), ("a", "1"), False),  # refused there, and started again
        (None, ("a", "1"), False),
        (("a", "0"), None, False),
        (("none", "0"), ("none", "1"), True),
        (("none", "0"), ("none", "0"), False),
        (None, ("none", "1"), False),
        (("a", "0"), ("none", "1"), False),
    ],
)
def test_the_job_that_began_a_run_goes_on_with_it(as_job, tmp_path, began, now, expected):
    folder = tmp_path / "run"
    as_job(began)
    begin_run(folder, TrainConfig())
    as_job(now)
    assert not goes_on(folder, ALONE), "nothing was saved yet"
    for name in (LAST, PREVIOUS):
        (folder / name).touch()
        assert goes_on(folder, ALONE) is expected
        (folder / name).unlink()


def test_another_torchrun_without_a_name_is_another_job(as_job, tmp_path, monkeypatch):
    as_job(("none", "0"))
    begin_run(tmp_path, TrainConfig())
    (tmp_path / LAST).touch()
    as_job(("none", "1"))
    assert goes_on(tmp_path, ALONE)
    other = os.getppid() + 1  # a test's own parent may be process 1
    monkeypatch.setattr("os.getppid", lambda: other)
    assert not goes_on(tmp_path, ALONE)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_a_record_that_does_not_say(as_job, tmp_path, text):
    as_job(("a", "1"))
    (tmp_path / LAST).touch()
    assert not goes_on(tmp_path, ALONE)
    (tmp_path / "env.json").write_text(text)
    assert not goes_on(tmp_path, ALONE)


# --- options


def test_options_of_the_machine_may_be_others(tmp_path, capsys):
    of_run = TrainConfig(data_path=tmp_path, workers=3, device="cpu", threads=2, timeout=5.0, lr=0.5)
    assert resumed_config(TrainConfig(resume=tmp_path), of_run) == of_run
    others = {"data_path": tmp_path / "moved", "workers": 0, "device": "cuda", "threads": 1, "timeout": 7.0}
    assert set(others) == set(resume.MACHINE)
    expected = dataclasses.replace(of_run, **others)
    assert resumed_config(TrainConfig(resume=tmp_path, **others), of_run) == expected
    assert capsys.readouterr().err == ""


def test_options_that_are_not_taken_are_named(tmp_path, capsys):
    of_run = TrainConfig(lr=0.5, epochs=3)
    given = TrainConfig(resume=tmp_path, lr=0.25, epochs=3, img_resize=(64, 96), ema=0.9)
    assert resumed_config(given, of_run) == of_run
    err = capsys.readouterr().err
    assert err.startswith("note: a run goes on as it began; not taken: ")
    assert len(err.splitlines()) == 1
    assert "--lr (the run's is 0.5)" in err
    height, width = of_run.img_resize
    assert f"--img_resize (the run's is {height} {width})" in err
    assert "--ema (the run's is 0.0)" in err
    assert err.count("--") == 3


@pytest.mark.parametrize(
    "given, text, expected",
    [("auto", "device: cpu", "cpu"), ("cuda", "device: cpu", "cuda"), ("auto", "- x", "auto"), ("auto", None, "auto")],
)
def test_the_device_of_a_run_is_read_from_its_folder(tmp_path, given, text, expected):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    assert device_of(given, tmp_path) == expected
    assert device_of(given, None) == given


def test_a_run_goes_on_with_data_that_moved(own_miniature, tmp_path, capsys):
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Interrupted):
            train.run(config_for(own_miniature, run))
    moved = own_miniature.rename(tmp_path / "moved")
    assert train.run(TrainConfig(resume=run, data_path=moved, epochs=1)) == 0
    assert "not taken: --epochs (the run's is 2)" in capsys.readouterr().err
    found = load_checkpoint(run / LAST)
    assert (found.training["epoch"], found.card.data_path, found.config["data_path"]) == (2, str(moved), str(moved))


@pytest.mark.parametrize(
    "text, given, expected",
    [
        ("device: cpu", "auto", "cpu"),
        ("device: cuda", "auto", "cuda"),
        ("device: cuda", "cpu", "cpu"),
        ("device: auto", "auto", "auto"),
        ("device: tpu", "auto", "auto"),
        ("device: [", "auto", "auto"),
        ("- device", "auto", "auto"),
        (None, "auto", "auto"),
        (None, "cuda", "cuda"),
    ],
)
def test_the_device_is_known_before_processes_meet(tmp_path, monkeypatch, text, given, expected):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)

    class MetError(Exception):
        pass

    def meet(device, *, timeout):
        raise MetError(device)

    monkeypatch.setattr(job, "select_device", lambda name: name)
    monkeypatch.setattr(job, "start_processes", meet)
    with pytest.raises(MetError, match=expected):
        train.run(TrainConfig(resume=tmp_path, device=given))


# --- over processes


@pytest.mark.parametrize("lost", [True, False])
def test_a_process_lost_on_another_host_counts(as_job, tmp_path, monkeypatch, lost):
    """There the number of starts is raised; the first process hears of it."""
    as_job(("none", "0"))
    begin_run(tmp_path, TrainConfig())
    (tmp_path / LAST).touch()
    monkeypatch.setattr(resume, "gather", lambda value, processes: [value, lost])
    monkeypatch.setattr(resume, "from_first", lambda make, processes: make())
    assert goes_on(tmp_path, Processes(0, 2)) is lost


def test_one_process_that_torchrun_starts_again_goes_on(as_job, miniature, tmp_path, monkeypatch):
    """As a killed one does: what is saved of it is of the middle of an epoch."""
    config = config_for(miniature, tmp_path / "run")
    as_job(("a", "0"))
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Interrupted):
            train.run(config)
    assert json.loads((tmp_path / "run" / "env.json").read_text())["job"] == "a"
    as_job(("b", "1"))
    with pytest.raises(DataError, match="holds a run already"):
        train.run(config)
    as_job(("a", "1"))
    assert train.run(config) == 0
    as_job(None)
    assert train.run(config_for(miniature, tmp_path / "whole")) == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")
