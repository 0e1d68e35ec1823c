"""Benchmarks are run by hand: what they take from the package must still be there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_names_that_a_benchmark_imports_from_the_package_exist(name):
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "edgeailite":
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            submodules = [f"{node.module}.{word}" for word in missing]
            assert [each for each in submodules if importlib.util.find_spec(each) is None] == []
