"""What a training shows in a terminal and in a log file."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from rich.live import Live

from tests.training.watched import Clock, Step, make, train

BAR = "━"


def test_without_a_terminal_one_line_an_epoch(tmp_path, capsys):
    with make(tmp_path) as watch:
        train(watch, range(3))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "epoch 1/3 loss 0.1234 val mIoU 45.67 (12.3 s)\n"
        "epoch 2/3 loss 0.1234 (12.3 s)\n"
        "epoch 3/3 loss 0.1234 val mIoU 45.67 (12.3 s)\n"
    )


def test_long_epochs_say_once_a_minute_where_they_are(tmp_path, capsys):
    clock = Clock()

    def pass_time() -> None:
        clock.now += 1.0

    with make(tmp_path, clock=clock) as watch:
        train(watch, range(1), steps=150, after_step=pass_time)
        clock.now += 70
        watch.checked(5, 20)
    estimate, *lines = capsys.readouterr().err.splitlines()
    assert estimate == "takes about 7:20 and the validations: 3 epochs of 150 updates"
    assert [line.split(" loss")[0] for line in lines[:3]] == [
        "epoch 1/3 step 70/150",
        "epoch 1/3 step 130/150",
        "epoch 1/3",
    ]
    assert lines[0].endswith("(1:20 left in the epoch, 6:20 in the run)")
    assert lines[3].startswith("epoch 1/3 validation 5/20 (")


def test_times_that_nobody_can_know_yet_are_left_out(tmp_path, capsys):
    """A single update that takes minutes, as on a busy machine: no `? left`."""
    clock = Clock()
    with make(tmp_path, clock=clock) as watch:
        clock.now += 70
        watch.step(Step(0, 1, 1, 2.5))
        clock.now += 70
        watch.checked(5, 20)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "epoch 1/3 step 1/1 loss 2.5000"
    assert second == "epoch 1/3 validation 5/20"


def test_a_clock_set_back_neither_floods_nor_silences(tmp_path, capsys):
    clock = Clock()
    with make(tmp_path, clock=clock) as watch:
        clock.now -= 10_000
        for step in range(1, 201):
            clock.now += 1
            watch.step(Step(0, step, 1000, 1.0))
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["takes", "epoch", "epoch", "epoch"]


def test_quiet_leaves_notes(tmp_path, capsys):
    with make(tmp_path, quiet=True) as watch:
        train(watch, range(1))
        watch.note("warning: something")
    assert capsys.readouterr().err == "warning: something\n"


def test_it_shows_nothing_outside_its_block(tmp_path):
    with pytest.raises(RuntimeError, match="with"):
        make(tmp_path).note("too early")


@dataclass
class Terminal:
    """What was written to a terminal of 100 columns."""

    text: str = ""

    def screen(self) -> list[str]:
        """The lines left on it: carriage returns, line feeds, cursor up, erase line."""
        lines, y, x = [""], 0, 0
        for control, number, letter, character in re.findall(
            r"(\x1b\[\??([\d;]*)([A-Za-z]))|(.)", self.text, re.DOTALL
        ):
            if control:
                if letter == "A":
                    y = max(0, y - int(number or 1))
                elif letter == "K":
                    lines[y] = lines[y][:x] if number in ("", "0") else ""
            elif character == "\r":
                x = 0
            elif character == "\n":
                y += 1
                lines += [""] * (y + 1 - len(lines))
            else:
                lines[y] = lines[y][:x].ljust(x) + character + lines[y][x + 1 :]
                x += 1
        return [line.rstrip() for line in lines]


@pytest.fixture
def terminal(monkeypatch) -> Iterator[Callable[[Callable[[], None]], Terminal]]:
    """`terminal(work)`: run it with stderr on a pseudo-terminal."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")

    def run(work: Callable[[], None]) -> Terminal:
        master, slave = pty.openpty()
        received: list[bytes] = []

        def read() -> None:
            try:
                while data := os.read(master, 65536):
                    received.append(data)
            except OSError:  # the other end is closed
                return

        reader = threading.Thread(target=read)
        reader.start()
        try:
            with os.fdopen(slave, "w", encoding="utf-8") as stream:
                monkeypatch.setattr(sys, "stderr", stream)
                try:
                    work()
                finally:
                    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
        finally:
            reader.join(timeout=10)
            os.close(master)
        return Terminal(b"".join(received).decode().replace("\r\n", "\n\r"))

    yield run


def test_a_terminal_shows_bars_and_ends_clean(tmp_path, terminal, capsys):
    clock = Clock()

    def pass_time() -> None:
        clock.now += 0.3

    def work() -> None:
        with make(tmp_path, clock=clock) as watch:
            train(watch, range(3), after_step=pass_time)
            watch.checked(1, 2)
            clock.now += 1
            watch.checked(2, 2)
            watch.note("a note")

    shown = terminal(work)
    assert shown.text.count(BAR) > 20
    for part in ("streets", "run", "2/4", "left", "1234 images/s", "lr 1.0e-02", "(a 0.5, b 0.1)", "validation"):
        assert part in shown.text, part
    assert "best mIoU 45.67 in epoch 1" in shown.text
    assert [line for line in shown.screen() if line] == [
        "epoch 1/3 loss 0.1234 val mIoU 45.67 (12.3 s)",
        "epoch 2/3 loss 0.1234 (12.3 s)",
        "epoch 3/3 loss 0.1234 val mIoU 45.67 (12.3 s)",
        "a note",
    ]
    assert shown.text.rfind("\x1b[?25h") > shown.text.rfind("\x1b[?25l"), "the cursor is back"
    assert capsys.readouterr().out == ""


def test_an_error_takes_the_bars_away_too(tmp_path, terminal):
    def work() -> None:
        with pytest.raises(KeyError), make(tmp_path) as watch:
            watch.step(Step(0, 1, 4, 1.0))
            raise KeyError("stop")

    shown = terminal(work)
    assert BAR in shown.text
    assert not [line for line in shown.screen() if line]
    assert shown.text.rfind("\x1b[?25h") > shown.text.rfind("\x1b[?25l")


def test_no_color_means_none(tmp_path, terminal, monkeypatch):
    def work() -> None:
        with make(tmp_path) as watch:
            train(watch, range(1))

    colored = r"\x1b\[[\d;]*\b(?:3[0-7]|38|9[0-7])\b"
    assert re.search(colored, terminal(work).text)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = terminal(work).text
    assert BAR in shown and not re.search(colored, shown)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(tmp_path, terminal, monkeypatch, term):
    monkeypatch.setenv("TERM", term)

    def work() -> None:
        with make(tmp_path) as watch:
            train(watch, range(1))

    assert [line for line in terminal(work).text.split() if line] == [
        "epoch",
        "1/3",
        "loss",
        "0.1234",
        "val",
        "mIoU",
        "45.67",
        "(12.3",
        "s)",
    ]


def test_steps_draw_at_most_four_times_a_second(tmp_path, terminal, monkeypatch):
    clock, drawn = Clock(), []
    monkeypatch.setattr(Live, "refresh", lambda live: drawn.append(clock.now))

    def work() -> None:
        with make(tmp_path, clock=clock) as watch:
            drawn.clear()
            for step in range(1, 5001):
                clock.now += 0.001
                watch.step(Step(0, step, 5000, 1.0))
            assert 15 <= len(drawn) <= 21

    terminal(work)
