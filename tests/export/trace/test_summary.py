"""What a trace says for people: the lines below the table, and shares as per cent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeailite.export.trace.compare import Trace
from edgeailite.export.trace.matching import Matching
from edgeailite.export.trace.summary import per_cent, summary


def test_outputs_that_differ_alone_are_said():
    found = Trace(
        sides=("a", "b"),
        local=False,
        pictures=1,
        matching=Matching((), "name", ((), ())),
        rows=(),
        outputs={"segmentation": {"equal_argmax": 0.9, "max_difference": None}},
        disturbed=(0.0, 0.0),
        unread=(),
    )
    assert "first difference: in the outputs alone; what else was compared is equal" in summary(found)
    none = summary(replace(found, outputs={"segmentation": {"equal_argmax": None, "max_difference": None}}))
    assert "first difference: none" in none
    assert none[-1] == "output segmentation: not comparable, the shapes differ"


@pytest.mark.parametrize("share, text", [(1.0, "100.00"), (0.999999, "99.99"), (0.5, "50.00"), (0.0, "0.00")])
def test_only_all_of_it_is_100_per_cent(share, text):
    assert per_cent(share) == text
