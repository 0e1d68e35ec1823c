"""Benchmarks are run by hand: what they take from the package must still be there."""

from __future__ import annotations

import ast
import importlib.util
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
            is_package = hasattr(module, "__path__")
            assert [m for m in missing if not is_package or not importlib.util.find_spec(f"{node.module}.{m}")] == []
