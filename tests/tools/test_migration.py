"""docs/migrate_*.md hold what is made from the tables of the scripts."""

import re

import pytest

from edgeailite.compat import ade20k, pixel2pixel
from edgeailite.compat.flags import shown
from tests.markdown import ROOT
from tools.migration import CSAIL, EDGEAILITE, WIDTH, groups, parts


@pytest.mark.parametrize("page, text", parts(), ids=lambda value: value[:40].replace("\n", " "))
def test_the_page_holds_it(page, text):
    content = (ROOT / page).read_text(encoding="utf-8")
    assert text in content, f"print it with python tools/migration.py: {text[:200]}"


@pytest.mark.parametrize("page", [EDGEAILITE, CSAIL])
def test_no_other_block_says_that_commands_are_the_same(page):
    made = "".join(text for where, text in parts() if where == page)
    content = (ROOT / page).read_text(encoding="utf-8")
    assert content.count("# is the same as") == made.count("# is the same as") >= 3


@pytest.mark.parametrize("flags", [pixel2pixel.FLAGS, ade20k.KEYS | ade20k.OTHER], ids=["edgeailite", "csail"])
def test_every_flag_is_in_one_group(flags):
    listed = re.findall(r"(?:^\| |here: |, )`([\w.-]+)`", groups(flags), re.MULTILINE)
    apart = {shown(name) for name, flag in flags.items() if flag.to in (ade20k.JOINT, "several")}
    assert sorted(listed) == sorted({shown(name) for name in flags} - apart)


def test_lines_are_short_enough_to_copy():
    lines = [line for _, text in parts() for line in text.splitlines() if line.startswith("    ")]
    assert lines and max(map(len, lines)) < WIDTH + 6
