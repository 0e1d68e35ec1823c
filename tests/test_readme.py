"""The README shows the main verbs; its commands, links and files are tested with all pages (test_docs.py)."""

from __future__ import annotations

from edgeailite.verbs import VERBS
from tests.markdown import ROOT, commands
from tests.test_docs import ours, verb_of


def test_the_main_verbs_are_shown():
    shown = {verb_of(found)[0] for words in commands(ROOT / "README.md") if (found := ours(words))}
    assert shown <= {*VERBS, "preset"}
    assert {"train", "calibrate", "quantize", "export", "verify", "validate", "infer", "report"} <= shown
