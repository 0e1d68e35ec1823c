"""The verdict of a verification, and which pictures it takes; the proof itself is tested with the verb."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeailite.export.verification import Verification, stride

RESULTS = {"data": "streets val", "ALL": {"pictures": 4}}


@pytest.mark.parametrize(
    ("proven", "sentence"),
    [
        (True, "runs/night is proven: streets val, 4 pictures"),
        (
            False,
            "runs/night agrees with its file on pictures; nothing else was compared: streets val, 4 pictures",
        ),
    ],
)
def test_nothing_is_called_proven_of_which_only_pictures_were_compared(proven, sentence):
    found = Verification(Path("runs/night"), RESULTS, Path("contract.json"), (64, 64), proven)
    assert found.verdict == sentence


@pytest.mark.parametrize(("total", "count", "step"), [(10, 0, 1), (10, 20, 1), (10, 10, 1), (10, 4, 3), (11, 10, 2)])
def test_pictures_are_evenly_spaced_and_never_more_than_asked_for(total, count, step):
    assert stride(total, count) == step
    assert count == 0 or len(range(0, total, step)) <= count
