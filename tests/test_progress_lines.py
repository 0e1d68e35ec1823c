"""Progress where there is no terminal: a note every minute, with the time left."""

from __future__ import annotations

import pytest

from edgeailite import progress_lines
from edgeailite.console import progress
from edgeailite.progress_lines import line_of


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (40, 160, 60, "analyze: 40 of 160, about 3 min left"),
        (1, 2, 30, "analyze: 1 of 2, about 30 s left"),
        (1, 100, 120, "analyze: 1 of 100, about 3.3 h left"),
        (0, 10, 60, "analyze: 0 of 10"),
        (7, None, 61, "analyze: 7, 61 s so far"),
    ],
)
def test_lines(done, total, seconds, line):
    assert line_of("analyze", done, total, seconds=seconds) == line


def test_a_note_a_minute(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: clock[0])
    with progress("label", 10) as (bar, task):
        for second in (10, 50, 70, 80, 125, 140):
            clock[0] = second
            bar.advance(task)
    assert capsys.readouterr().err.splitlines() == [
        "label: 3 of 10, about 3 min left",
        "label: 6 of 10, about 2 min left",
    ]
