"""Plants faults of one token in the code that the proof rests on, and looks which test sees each.

    python tools/mutate_proof.py                              every row of tools/mutations.toml (about ten minutes)
    python tools/mutate_proof.py --only grids.py --log LOG    rows of one file; what LOG has is not run again
    python tools/mutate_proof.py --list                       the rows alone, nothing is run

Prints a Markdown table: the function, the change, and the test that failed first, or SURVIVED. A row that says why no
answer can change is printed with its reason and run only with `--equivalent`. The package and the tests are copied to a
temporary folder and changed there, one row at a time. First the tests must pass as they are. Exit 1 where a row
survived (or an equivalent one did not). Needs what the tests need.
"""

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("mutations.toml")
COPIED = ("edgeailite", "tests", "tools", "docs", "pyproject.toml")
TIME_LIMIT = 600  # seconds for the tests of one row: a fault may make a loop endless
PYTEST = (
    "-p",
    "_hypothesis_pytestplugin",
    "-x",
    "-q",
    "-rfE",
    "--tb=no",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "--hypothesis-seed=0",
) + (
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # of hypothesis, imported before
)
SLOW_IMPORTS = ("pytest", "hypothesis", "numpy", "cv2", "onnx", "onnxruntime", "torch", "torchvision", "onnxscript")
PASSED, FAILED, NOT_COLLECTED = 0, 1, 2  # exit codes of pytest that say something about the code
SURVIVED = "SURVIVED"


@dataclass(frozen=True)
class Mutation:
    """One row: in function or class `where` of `file` ("" is all of it), `old` occurs once and becomes `new`."""

    file: str
    where: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""

    def apply(self, source: str) -> str:
        """The changed source. Raises ValueError where the row does not fit it."""
        start, end = span(source, self.where)
        found = source[start:end].count(self.old)
        if found != 1:
            place = f"{self.file}, {self.where or 'anywhere'}"
            raise ValueError(f"{place}: {self.old!r} occurs {found} times, not once; change the row of {TABLE.name}")
        return source[:start] + source[start:end].replace(self.old, self.new) + source[end:]


@dataclass(frozen=True)
class Tested:
    """How the tests of a row ended: by which test it was killed ("" if by none), and in how many seconds."""

    killer: str
    seconds: float


def span(source: str, where: str) -> tuple[int, int]:
    """First and last offset of a function or class `A.b` in a source. Raises ValueError where there is none."""
    if not where:
        return 0, len(source)
    body: list[ast.stmt] = ast.parse(source).body
    for name in where.split("."):
        kinds = (ast.FunctionDef, ast.ClassDef)
        node = next((node for node in body if isinstance(node, kinds) and node.name == name), None)
        if node is None:
            raise ValueError(f"no function or class {where}; change the row of {TABLE.name}")
        body = node.body
    lines = source.splitlines(keepends=True)
    return sum(map(len, lines[: node.lineno - 1])), sum(map(len, lines[: node.end_lineno]))


def read_table(path: Path = TABLE) -> list[Mutation]:
    """All rows in order."""
    groups = tomllib.loads(path.read_text())["group"]
    return [
        Mutation(
            group["file"],
            row["in"],
            row["old"],
            row["new"],
            tuple(row.get("tests", group["tests"])),
            row.get("equivalent", ""),
        )
        for group in groups
        for row in group["mutations"]
    ]


class Sandbox:
    """A copy of the package and its tests in `folder`, where tests import that package.

    Tests run in forks of this process, which has imported the slow packages: that takes most of the time of a row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)
        os.environ |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        sys.path[:] = [str(folder), *(path for path in sys.path if not (Path(path) / "edgeailite").is_dir())]
        os.chdir(folder)
        for name in SLOW_IMPORTS:
            importlib.import_module(name)
        gc.freeze()  # a fork need not look through all of torch for garbage
        found = importlib.util.find_spec("edgeailite")
        if "edgeailite" in sys.modules or found is None or not str(found.origin).startswith(f"{folder}/"):
            raise SystemExit(f"tests would import {found and found.origin}, not the copy in {folder}")

    def write(self, name: str, source: str) -> None:
        """Write a source file; a compiled one of the same size and second must not be taken for it."""
        path = self.folder / name
        path.write_text(source)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def test(self, tests: tuple[str, ...]) -> Tested:
        """Run these tests, file by file, up to the first failure."""
        seconds = 0.0
        for name in tests:
            result = self._test_one(name)
            seconds += result.seconds
            if result.killer:
                return Tested(result.killer, seconds)
        return Tested("", seconds)

    def _test_one(self, name: str) -> Tested:
        began, output = time.monotonic(), self.folder / "output.txt"
        child = os.fork()
        if child == 0:
            _run_pytest([*PYTEST, name], output)
        status = None
        while status is None and time.monotonic() - began < TIME_LIMIT:
            done, code = os.waitpid(child, os.WNOHANG)
            status = code if done else time.sleep(0.05)
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Tested("time limit", float(TIME_LIMIT))
        seconds, text = round(time.monotonic() - began, 1), output.read_text(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        if code == PASSED:
            return Tested("", seconds)
        found = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(.+?)(?: - |$)", text, re.MULTILINE)
        if code not in (FAILED, NOT_COLLECTED) or found is None:
            raise SystemExit(f"pytest ended with {code}: {text[-4000:]}")
        return Tested(found.group(1), seconds)


def _run_pytest(words: list[str], output: Path) -> NoReturn:
    """What the child does, and nothing behind it."""
    code = NOT_COLLECTED
    try:
        os.setsid()
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(file, stream)
        code = int(importlib.import_module("pytest").main(words))
        sys.stdout.flush()
    finally:
        os._exit(code)


class Log:
    """What was run before, one JSON object a line; kept for the same code and tests only."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.known = path, dict[str, Tested]()
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.known[entry["key"]] = Tested(entry["killer"], entry["seconds"])

    def add(self, key: str, result: Tested) -> None:
        """Remember, on disk at once."""
        self.known[key] = result
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({"key": key, "killer": result.killer, "seconds": result.seconds}) + "\n")


def key_of(sandbox: Sandbox, file: str, source: str, tests: tuple[str, ...]) -> str:
    """What a result depends on: the changed file, and the tests by name and content."""
    paths = sorted({test.partition("::")[0] for test in tests})
    parts = [file, source, *tests, *((sandbox.folder / path).read_text() for path in paths)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def check_tests(rows: list[Mutation], sandbox: Sandbox, log: Log) -> None:
    """End the program where tests fail without a fault."""
    for file, tests in dict.fromkeys((row.file, row.tests) for row in rows):
        key = key_of(sandbox, file, (sandbox.folder / file).read_text(), tests)
        if key not in log.known:
            log.add(key, sandbox.test(tests))
        if log.known[key].killer:
            raise SystemExit(f"{log.known[key].killer} fails without a fault; repair it first")


def run_row(row: Mutation, sandbox: Sandbox, log: Log) -> Tested:
    """Plant the fault, run its tests, take it back; or what the log says."""
    source = (sandbox.folder / row.file).read_text()
    changed = row.apply(source)
    key = key_of(sandbox, row.file, changed, row.tests)
    if key not in log.known:
        sandbox.write(row.file, changed)
        log.add(key, sandbox.test(row.tests))
        sandbox.write(row.file, source)
    return log.known[key]


def said(row: Mutation) -> str:
    """What the table says of a row that no test killed."""
    return f"equivalent: {row.equivalent}" if row.equivalent else SURVIVED


def line_of(row: Mutation, verdict: str) -> str:
    """A row of the Markdown table."""
    cells = [row.file.removeprefix("edgeailite/"), row.where, f"`{row.old}`", f"`{row.new}`", verdict]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(words: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="FILE", default="", help="rows whose file ends so, for example grids.py")
    parser.add_argument("--list", action="store_true", help="print the rows, run nothing")
    parser.add_argument("--equivalent", action="store_true", help="run rows that are said to change no answer, too")
    parser.add_argument("--table", metavar="FILE", type=Path, default=TABLE, help="other rows")
    parser.add_argument("--log", metavar="FILE", type=Path, help="results are kept there; run again, it goes on")
    options = parser.parse_args(words)
    rows = [row for row in read_table(options.table) if row.file.endswith(options.only)]
    print("| file | in | before | after | result |\n|---|---|---|---|---|")
    if options.list:
        for row in rows:
            row.apply((ROOT / row.file).read_text())
            print(line_of(row, said(row) if row.equivalent else ""))
        return 0
    with tempfile.TemporaryDirectory(prefix="mutate_proof_") as folder:
        sandbox, log = Sandbox(Path(folder).resolve()), Log(options.log)
        tested = [row for row in rows if options.equivalent or not row.equivalent]
        check_tests(tested, sandbox, log)
        wrong = 0
        for row in rows:
            killer = run_row(row, sandbox, log).killer if row in tested else ""
            wrong += bool(killer) == bool(row.equivalent)
            print(
                line_of(row, f"NOT EQUIVALENT: {killer}" if row.equivalent and killer else killer or said(row)),
                flush=True,
            )
    equivalent = sum(bool(row.equivalent) for row in rows)
    print(
        f"\n{len(rows)} rows: {len(rows) - equivalent} faults, {equivalent} equivalent; {wrong} not as they should be"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
