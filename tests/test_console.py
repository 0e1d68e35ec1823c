"""Tables on stdout: what stands above them stays one line."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest
import torch  # noqa: F401 - sets up its loggers
from rich.table import Table

from edgeailite.console import EXPORTER, exporter_silenced, print_result, print_table

TITLE = "runs/a_rather_long_name_ptq/model_int8.onnx on folder val, 5 pictures"


def test_a_title_wider_than_the_table_is_not_broken(capsys):
    print_result(TITLE, {"miou": 12.345})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == TITLE
    assert lines[1:] == ["miou  12.35"]


def test_a_title_wider_than_the_page_is_not_broken_either(capsys):
    print_table(Table("a", title="word " * 60 + "end"))
    assert capsys.readouterr().out.splitlines()[0] == "word " * 60 + "end"


def test_brackets_are_no_markup(capsys):
    print_result("runs/[bold]", {"run": "runs/[bold]"})
    out = capsys.readouterr().out
    assert out.count("runs/[bold]") == 2


@pytest.mark.parametrize("name", ["onnx_ir._convenience", "torch.fx.experimental.symbolic_shapes", "torch.onnx"])
def test_the_exporter_is_silent(name, capfd, caplog):
    """Its errors too: what fails raises, and where another way is tried then, nothing was wrong."""
    levels = [logging.getLogger(logger).level for logger in EXPORTER]
    with exporter_silenced():
        logging.getLogger(name).warning("Attribute type is ambiguous")
        warnings.warn("a note on internals", stacklevel=1)
        logging.getLogger(name).error("broken")
        print("graph():")
        print("a traceback", file=sys.stderr)
    assert not caplog.text + "".join(capfd.readouterr())
    assert [logging.getLogger(logger).level for logger in EXPORTER] == levels
