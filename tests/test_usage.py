"""Help texts: every option once, in groups, the most used first, within the width of the terminal."""

import dataclasses
import re

import pytest

from edgeailite import config as configs
from edgeailite.usage import usage, verb_usage
from edgeailite.verbs import GROUPS, VERBS


def test_verbs_are_listed_in_groups():
    lines = usage().splitlines()
    assert max(map(len, lines)) <= 100
    at = [lines.index(heading) for heading in GROUPS]
    assert at == sorted(at)
    listed = [line.split("  ")[1] for line in lines[at[0] :] if line.startswith("  ")]
    assert listed == list(VERBS)


def helped(verb: str, columns: int) -> str:
    """The help of a verb at a width."""
    row = VERBS[verb]
    return verb_usage(row, getattr(configs, row.config), prog=f"edgeailite {verb}", columns=columns)


@pytest.mark.parametrize("columns", [80, 120, 400])
@pytest.mark.parametrize("verb", VERBS)
def test_help_has_every_option_once_and_fits_the_terminal(verb, columns):
    text = helped(verb, columns)
    names = [field.name for field in dataclasses.fields(getattr(configs, VERBS[verb].config))]
    assert sorted(re.findall(r"^  --(\w+)", text, re.MULTILINE)) == sorted([*names, "config", "help"])
    assert max(map(len, text.splitlines())) <= min(columns, 120)


@pytest.mark.parametrize("verb", ["train", "calibrate", "quantize", "validate"])
def test_most_used_options_come_first(verb):
    groups = dict(re.findall(r"^(\w[\w ,]+)\n((?:  .*\n)+)", helped(verb, 80), re.MULTILINE))
    first = re.findall(r"^  --(\w+)", groups["most used"], re.MULTILINE)
    assert first == list(getattr(configs, VERBS[verb].config).first)
    assert 7 <= len(first) <= 12
    assert next(iter(groups)) == "most used" and list(groups)[-2:] == ["machine", "always"]


def test_help_of_a_shared_option_is_that_of_the_verb():
    assert "give the initial ranges" in " ".join(helped("quantize", 80).split())
    assert "give the ranges (preprocessed" in " ".join(helped("calibrate", 80).split())
