"""Calibration: which pictures are observed, and what a dry run leaves."""

from __future__ import annotations

import pytest

from edgeailite.__main__ import main
from edgeailite.commands import calibrate
from tests.commands.real_runs import train_words

MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)


@pytest.mark.parametrize(
    "options, observed, validated",
    [(("--train_split", "val", "--val_split", "train"), 2, 6), (("--overfit", 3), 3, 3)],
    ids=["splits", "overfit"],
)
def test_pictures_are_those_of_the_float_training(
    miniature, tmp_path, command, monkeypatch, options, observed, validated
):
    assert main(train_words(miniature, tmp_path / "run", "--epochs", 1, *options)) == 0
    seen = []
    whole, measured = calibrate.calibrated, calibrate.measure

    def calibrated(opened, train, **rest):
        seen.append(train)
        return whole(opened, train, **rest)

    def measure(opened, source, **rest):
        seen.append(source)
        return measured(opened, source, **rest)

    monkeypatch.setattr(calibrate, "calibrated", calibrated)
    monkeypatch.setattr(calibrate, "measure", measure)
    assert command("calibrate", tmp_path / "run", "--images", 2, *MACHINE).code == 0
    assert [len(source.items) for source in seen] == [observed, validated]


def test_a_dry_run_keeps_nothing(miniature, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    assert main(train_words(miniature, run, "--epochs", 1)) == 0
    before = sorted(tmp_path.rglob("*"))
    ended = command("calibrate", run, "--dry_run", True, *MACHINE)
    assert ended.code == 0
    assert "dry run" in ended.out
    assert sorted(tmp_path.rglob("*")) == before
