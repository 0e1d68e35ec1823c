"""Every command in the README parses, and every file it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeailite.__main__ import VERBS
from edgeailite.cli import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].split() for line in README.splitlines() if line.startswith("    edgeailite ")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_parses(words):
    verb = words[1]
    parse(VERBS[verb][1], words[2:], prog=f"edgeailite {verb}")


def test_every_verb_that_the_readme_shows_exists_and_the_main_ones_are_shown():
    shown = {words[1] for words in COMMANDS}
    assert shown <= set(VERBS)
    assert {"train", "calibrate", "quantize", "export", "verify", "validate", "infer", "report"} <= shown


def test_files_named_in_the_readme_exist():
    named = set(re.findall(r"`((?:docs|data|tools)/[\w./]+|[A-Z]+\.md)`", README))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
