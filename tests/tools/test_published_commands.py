"""docs/published_commands.md holds the tables that the scripts read, and nothing that they do not."""

from pathlib import Path

import pytest

from tools.published_commands import tables

PAGE = Path(__file__).resolve().parents[2] / "docs/published_commands.md"


@pytest.mark.parametrize("name", tables())
def test_the_page_holds_the_table(name):
    assert tables()[name] in PAGE.read_text(encoding="utf-8"), "print it with python tools/published_commands.py"


def test_the_page_has_no_other_rows():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    made = [line for table in tables().values() for line in table.splitlines() if line.startswith("|")]
    assert rows == made
