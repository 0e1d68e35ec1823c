"""The table of planted faults fits the sources of today; running it is a person's choice (about ten minutes)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("mutate_proof", ROOT / "tools/mutate_proof.py")
assert SPEC is not None and SPEC.loader is not None
mutate_proof = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = mutate_proof
SPEC.loader.exec_module(mutate_proof)

ROWS = mutate_proof.read_table()
FILES = sorted({row.file for row in ROWS})
PROOF = [
    *(f"edgeailite/quantization/{name}.py" for name in ("integer", "operator_rules", "convert", "modules", "grids")),
    *(f"edgeailite/export/{name}.py" for name in ("passes", "parity", "agreement", "conversion", "identity")),
    *(f"edgeailite/runtime/{name}.py" for name in ("contract", "contract_file", "fingerprint")),
    "edgeailite/preprocessing.py",
]


@pytest.mark.parametrize("file", FILES)
def test_every_row_applies_and_compiles(file):
    source = (ROOT / file).read_text()
    for row in ROWS:
        if row.file == file:
            changed = row.apply(source)
            assert changed != source
            compile(changed, file, "exec")


def test_every_file_of_the_proof_has_rows_and_no_row_stands_twice():
    counts = Counter(row.file for row in ROWS)
    assert not [file for file in PROOF if counts[file] < 10]
    assert len({(row.file, row.where, row.old, row.new) for row in ROWS}) == len(ROWS) >= 60


def test_the_tests_of_the_rows_exist():
    assert all((ROOT / test.partition("::")[0]).is_file() for row in ROWS for test in row.tests)


SOURCE = """
def f(a):
    return a + 1

class A:
    def f(self):
        return 1 + 1
"""


def test_a_row_holds_in_its_function_alone_and_fails_where_its_text_is_gone():
    def row(where: str, old: str) -> object:
        return mutate_proof.Mutation("x.py", where, old, "a - 1", ())

    assert row("f", "a + 1").apply(SOURCE) == SOURCE.replace("a + 1", "a - 1")
    assert row("A.f", "1 + 1").apply(SOURCE) == SOURCE.replace("1 + 1", "a - 1")
    for where, old, message in (
        ("f", "a * 1", r"x.py, f: 'a \* 1' occurs 0 times, not once"),
        ("", "+ 1", "x.py, anywhere: '[+] 1' occurs 2 times, not once"),
        ("A.g", "1", "no function or class A.g"),
    ):
        with pytest.raises(ValueError, match=message):
            row(where, old).apply(SOURCE)


TABLE = """
[[group]]
file = "edgeailite/preprocessing.py"
tests = ["tests/test_preprocessing.py::test_normalisation_by_hand_and_channel_order"]
mutations = [
    { in = "normalize", old = "- mean", new = "+ mean" },
    { in = "normalize", old = "transpose(2, 0, 1)", new = "transpose(2, 1, 0)" },
    { in = "normalize", old = "image[..., ::-1]", new = "image[..., [2, 1, 0]]", equivalent = "the same order" },
]
"""


@pytest.mark.slow
def test_killed_survived_and_equivalent_rows_are_told_apart_and_a_log_is_read(tmp_path):
    (tmp_path / "table.toml").write_text(TABLE)
    command = [sys.executable, str(ROOT / "tools/mutate_proof.py"), "--table", str(tmp_path / "table.toml")]
    command += ["--log", str(tmp_path / "log.jsonl")]
    for more in ([], ["--equivalent"]):  # the picture of that test has one pixel, so axes may change places
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 1, done.stderr
        verdicts = [line.rpartition("| ")[2] for line in done.stdout.replace(" |\n", "\n").splitlines()[2:5]]
        assert verdicts == [
            "test_preprocessing.py::test_normalisation_by_hand_and_channel_order",
            "SURVIVED",
            "equivalent: the same order",
        ]
        assert "3 rows: 2 faults, 1 equivalent; 1 not as they should be" in done.stdout
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4
