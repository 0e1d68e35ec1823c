"""Tables at any width: no number is cut, in a pipe there are no lines but those of the text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from edgeailite.tables import lines_of, print_table

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
