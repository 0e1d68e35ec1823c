"""Which networks the tests take by default: lists made from the table, so that a new row is tested unasked."""

from __future__ import annotations

import pytest

from edgeailite.models import MODELS


def first_of_each_decoder() -> list[str]:
    """The first network in the table with each decoder of each family: on the smallest encoder."""
    chosen: dict[tuple[str, str, bool], str] = {}
    for name, row in MODELS.items():
        chosen.setdefault((row.family, row.decoder, name.startswith("v1_")), name)
    return list(chosen.values())


def by_default_or_slow(names: list[str]) -> list[object]:
    """Parameters of a test: those of `first_of_each_decoder` as they are, the rest marked slow."""
    few = first_of_each_decoder()
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in names]
