"""When a merged job is whole: the exit code of `infer --merge`."""

from pathlib import Path

import pytest

from edgeailite.inference.manifest import Summary
from edgeailite.inference.merge import Merged

CASES = {
    "whole": (Merged(Path("out"), 2, Summary(pictures=3), missing=0), True),
    "not looked for": (Merged(Path("out"), 2, Summary(pictures=3, repeated=1)), True),
    "missing": (Merged(Path("out"), 2, Summary(pictures=3), missing=1), False),
    "failed": (Merged(Path("out"), 2, Summary(pictures=3, failed=1)), False),
    "doubled": (Merged(Path("out"), 2, Summary(pictures=3, doubled=["a.png"])), False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_job_is_complete_if_each_picture_has_one_line_with_labels(case):
    merged, complete = CASES[case]
    assert merged.complete is complete
