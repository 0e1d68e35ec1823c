"""Which weights of a run folder a verb takes, and the sentence that says so."""

from __future__ import annotations

import logging

import pytest

from edgeailite.errors import DataError
from edgeailite.runs.folder import BEST, LAST, append_metrics
from edgeailite.runs.weights import chosen_weights


@pytest.fixture
def run(tmp_path, caplog, monkeypatch):
    """A run whose second of three epochs was the best."""
    caplog.set_level(logging.INFO, logger="edgeailite.notes")
    monkeypatch.setattr(logging.getLogger("edgeailite.notes"), "propagate", True)
    for name in (BEST, LAST):
        (tmp_path / name).touch()
    for epoch, score in enumerate((0.4, 0.57091, 0.49982), 1):
        append_metrics(tmp_path, {"epoch": epoch, "lr": 0, "loss": 1, "miou": score, "seconds": 1})
    return tmp_path


@pytest.mark.parametrize(
    ("weights", "name", "sentence"),
    [
        ("best", BEST, "of the best epoch 2 (mIoU 57.09); weights last takes epoch 3 (mIoU 49.98)"),
        ("last", LAST, "of the last epoch 3 (mIoU 49.98); weights best takes epoch 2 (mIoU 57.09)"),
    ],
)
def test_the_weights_and_the_sentence(run, caplog, weights, name, sentence):
    assert chosen_weights(run, weights) == run / name
    assert caplog.messages[-1].replace("--", "") == f"weights: {run / name}, {sentence}"
    assert chosen_weights(run, weights, told=False) == run / name
    assert len(caplog.messages) == 1


def test_where_the_last_epoch_is_the_best(run, caplog):
    append_metrics(run, {"epoch": 4, "lr": 0, "loss": 1, "miou": 0.6, "seconds": 1})
    assert chosen_weights(run) == run / BEST
    assert caplog.messages[-1].endswith(", of epoch 4 (mIoU 60.00), the best and the last")


def test_an_epoch_that_was_not_validated_has_no_score(run, caplog):
    append_metrics(run, {"epoch": 4, "lr": 0, "loss": 1, "miou": "", "seconds": 1})
    chosen_weights(run)
    assert caplog.messages[-1].endswith("last takes epoch 4")


def test_a_run_that_was_not_validated_yet_gives_its_last(run, caplog):
    (run / BEST).unlink()
    assert chosen_weights(run) == run / LAST
    assert caplog.messages[-1] == f"weights: {run / LAST}"


def test_the_last_is_not_replaced_by_the_best(run):
    (run / LAST).unlink()
    with pytest.raises(DataError, match=r"no last\.pt in this folder"):
        chosen_weights(run, "last")


def test_files_and_what_is_not_there_stay_as_they_are(run, caplog):
    for path in (run / LAST, run / "model.onnx"):
        assert chosen_weights(path) == path
    assert not caplog.messages
