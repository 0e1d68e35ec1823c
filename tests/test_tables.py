"""Tables at any width: no number is cut, in a pipe there are no lines but those of the text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from edgeailite.tables import lines_of, print_entries, print_table, print_text

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = ("3.1234", "12,345,678", "123.45", "0.9999", "100.0")
NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"


def table() -> Table:
    made = Table("network", title="one")
    for name in ("GigaMACs", "parameters", "weights of the int8 file", "mIoU", "share of all, %"):
        made.add_column(name, justify="right")
    made.add_row(NAME, *NUMBERS)
    return made


@pytest.mark.parametrize("ruled", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_numbers_and_heads_stay_whole(width, ruled):
    lines = list(lines_of(table(), width=width, ruled=ruled))
    assert max(map(len, lines)) <= width
    words = re.split(r"[\s│]+", "\n".join(lines))
    assert set(NUMBERS) <= set(words)
    assert {"GigaMACs", "parameters", "weights", "mIoU", "%"} <= set(re.split(r"[\s│┃]+", "\n".join(lines)))
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [60, 80])
def test_names_end_a_line_behind_a_part_of_theirs(width):
    made = Table("name", "what it is", "GMACs")
    names = (NAME, "runs/of/the/year_2026/model_int8.onnx", "unet_aspp_mobilenetv4_conv_small_050_fd_edgeailite")
    for name in names:
        made.add_row(name, "a network for embedded boards, with a line that is long", "0.333")
    lines = list(lines_of(made, width=width, ruled=True))
    firsts = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert all(first[-1] in "_/." or first in "".join(names) for first in firsts if first)
    assert all(re.fullmatch(r"[\w/.]*([_/.]|edgeailite|onnx)", first) for first in firsts if first)
    assert "".join(firsts).startswith("".join(names)) and max(map(len, lines)) <= width


def test_what_does_not_fit_beside_goes_below_with_the_first_column_again():
    text = "\n".join(lines_of(table(), width=40, ruled=False))
    blocks = text.split("\n\n")
    assert len(blocks) > 1
    assert all(block.splitlines()[1 if "network" in block.splitlines()[1] else -2].strip() for block in blocks)
    assert all("network" in block for block in blocks)


def doctor() -> Table:
    made = Table("", "what", "value", "fix")
    made.add_row("ok", "opencv-python-headless", "AzureExecutionProvider, CPUExecutionProvider", "")
    made.add_row("warn", "cores", "2 usable, torch takes 1 thread", "unset OMP_NUM_THREADS, or export it")
    return made


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100])
def test_nothing_is_cut_off_at_the_right_where_a_word_is_long(width):
    lines = list(lines_of(doctor(), width=width, ruled=True))
    assert all(line[0] in "┏┃┡│└" and line[-1] in "┓┃┩│┘" for line in lines)
    if width >= 40:  # below, a part that is longer than the page is broken anywhere
        assert max(map(len, lines)) <= width
        words = set(re.split(r"[\s│]+", "\n".join(lines)))
        assert {"AzureExecutionProvider,", "CPUExecutionProvider", "thread", "unset"} <= words


def test_a_name_ends_a_line_behind_a_hyphen():
    lines = [line.split("│")[2].strip() for line in lines_of(doctor(), width=60, ruled=True) if line.startswith("│")]
    assert lines[:2] == ["opencv-python-", "headless"]


def test_what_spare_room_there_is_goes_to_texts_that_need_it():
    made = Table("a", "b", "count")
    made.add_row("word " * 8, "x" * 20, "7")
    [row, *_] = [line for line in lines_of(made, width=80, ruled=True) if line.startswith("│")]
    assert row.split("│")[1].strip() == ("word " * 8).strip()


def test_entries_go_on_below_their_text(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "34")
    print_entries({"one": "a text of several words here", "two_": "short"}, 5)
    assert capsys.readouterr().out.splitlines() == [
        "  one   a text of several words", "        here", "  two_  short",
    ]  # fmt: skip
    monkeypatch.delenv("COLUMNS")
    print_entries({"one": "a text of several words here"}, 5)
    assert capsys.readouterr().out.splitlines() == ["  one   a text of several words here"]


def test_text_goes_on_further_in_and_tables_of_text_stay(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "34")
    text = "  a.jpg: the same pixels as /a/long/path/b.jpg\n\n  class  pixels\n  road       12"
    print_text(text)
    assert capsys.readouterr().out.splitlines() == [
        "  a.jpg: the same pixels as", "      /a/long/path/b.jpg", "", "  class  pixels", "  road       12",
    ]  # fmt: skip
    monkeypatch.delenv("COLUMNS")
    print_text(text)
    assert capsys.readouterr().out == text + "\n"


def test_a_pipe_gets_one_line_for_each_row(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(table())
    title, head, row = capsys.readouterr().out.splitlines()
    assert (title, row.split()) == ("one", [NAME, *NUMBERS])
    assert head.index("GigaMACs") + len("GigaMACs") == row.index(NUMBERS[0]) + len(NUMBERS[0])
    assert not set(head + row) & set("│┃━")


def test_a_pipe_is_as_wide_as_columns_says(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    print_table(table())
    assert max(map(len, capsys.readouterr().out.splitlines()[1:])) <= 50


@pytest.mark.parametrize("words", [("presets",), ("devices", "list"), ("train", "--help"), ("--help",)])
def test_a_reader_that_stops_reading_is_no_error(words):
    command = [sys.executable, "-m", "edgeailite", *words]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables) as process:
        process.stdout.close()  # as `| head -0` does
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")
