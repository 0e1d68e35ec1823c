"""No dishonest file, contract or conversion is called proven or kept, and every honest one is.

By default one of each kind of attack and a few exports; with `-m slow` all. `python -m tests.export.dishonest` prints
the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.dishonest import ATTACKS, HONEST, Honest, Run, honest, make_run

QUICK = {  # of files, contracts and answers all that is refused before or without another export is quick
    "file": (
        "class names exchanged", "colours exchanged in the plain entry", "mean 128.01", "scale in the last digit",
        "size of pictures", "tasks", "data set", "options of the network", "an entry twice", "no entry",
        "negated on bright pictures", "scores not finite", "another IR version", "one weight, the last bit",
        "one bias, one code", "kind", "says that parts have 16 bits",
    ),
    "conversion": ("biases halved",),
    "contract": (),
    "answers": (),
}  # fmt: skip
QUICK_HONEST = (HONEST[1], HONEST[7])
HONEST_CASES = [pytest.param(case, id=str(case)) for case in QUICK_HONEST]
HONEST_CASES += [
    pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in HONEST if case not in QUICK_HONEST
]


def _cases() -> list[object]:
    found: list[object] = []
    for attack, (_, cases) in ATTACKS.items():
        for name, kind, word in cases:
            quick = not QUICK[attack] or name in QUICK[attack]
            marks = () if quick else pytest.mark.slow
            found.append(pytest.param(attack, name, kind, word, marks=marks, id=f"{attack}-{kind}-{name}"))
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A float and an int8 run, each proven once."""
    return {kind: make_run(tmp_path_factory.mktemp(kind), kind) for kind in ("float", "int8")}


@pytest.mark.parametrize(("attack", "name", "kind", "word"), _cases())
def test_it_is_refused_in_one_line_that_names_what_is_wrong(
    attack: str, name: str, kind: str, word: str, runs: dict[str, Run], tmp_path: Path
) -> None:
    code, message = ATTACKS[attack][0](runs[kind], name, tmp_path)
    assert code in (3, 4), message
    assert any(part in message for part in word.split("|")), message
    assert "\n" not in message


@pytest.mark.parametrize("case", HONEST_CASES)
def test_an_honest_file_is_proven_and_keeps_its_contract(case: Honest, tmp_path: Path) -> None:
    assert honest(case, tmp_path) == (0, "")


def test_there_are_enough_cases() -> None:
    assert sum(len(cases) for _, cases in ATTACKS.values()) >= 100
    assert len(HONEST) >= 40
