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


def verb_of(words: list[str]) -> tuple[str, list[str]]:
    """`edgeailite data check --x 1` -> ("data check", ["--x", "1"])."""
    both = " ".join(words[1:3])
    return (both, words[3:]) if both in VERBS else (words[1], words[2:])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_parses(words):
    verb, rest = verb_of(words)
    parse(VERBS[verb][1], rest, prog=f"edgeailite {verb}")


def test_every_verb_that_the_readme_shows_exists_and_the_main_ones_are_shown():
    shown = {verb_of(words)[0] for words in COMMANDS}
    assert shown <= set(VERBS)
    assert {"train", "calibrate", "quantize", "export", "verify", "validate", "infer", "report"} <= shown


def test_files_named_in_the_readme_exist():
    named = set(re.findall(r"`((?:docs|data|tools)/[\w./]+|[A-Z]+\.md)`", README))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
