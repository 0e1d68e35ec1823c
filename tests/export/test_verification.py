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


PARTS = {"promise": "proven but for parts in float", "integer_macs": 0.99996}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {**PARTS, "float_parts": {"norm": {"largest_step": 1}}},
            "runs/night is proven but for norm in float (99.99 % of MACs integer): streets val, 4 pictures",
        ),
        (
            {**PARTS, "float_parts": {name: {} for name in "abcdef"}, "integer_macs": 1.0},
            "runs/night is proven but for a, b, c and 3 more in float (100 % of MACs integer): streets val, 4 pictures",
        ),
        ({"promise": "not exact (x)"}, "runs/night keeps its promise, not exact (x): streets val, 4 pictures"),
    ],
)
def test_a_weaker_promise_is_never_called_proven_alone(more, sentence):
    found = Verification(Path("runs/night"), RESULTS | more, Path("contract.json"), (64, 64), proven=True)
    assert found.verdict == sentence


@pytest.mark.parametrize(("total", "count", "step"), [(10, 0, 1), (10, 20, 1), (10, 10, 1), (10, 4, 3), (11, 10, 2)])
def test_pictures_are_evenly_spaced_and_never_more_than_asked_for(total, count, step):
    assert stride(total, count) == step
    assert count == 0 or len(range(0, total, step)) <= count
