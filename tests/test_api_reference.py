"""docs/api.md is what tools/api_reference.py makes of the sources, and Python agrees with it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect

import pytest

from tests.markdown import ROOT


def load_tool():
    spec = importlib.util.spec_from_file_location("api_reference", ROOT / "tools/api_reference.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


TOOL = load_tool()
NAMES = [(module, name) for module in TOOL.MODULES for name in TOOL.public_names(TOOL.parsed(module))]


def test_the_page_is_up_to_date():
    assert TOOL.PAGE.read_text(encoding="utf-8") == TOOL.page(), "write it with python tools/api_reference.py"


def test_every_package_that_says_what_is_public_is_in_it():
    inner = {
        "config",
        "presets",
        "inference",
        "report",
        "onnxfile",
    }  # command line; inside of `infer`, `report`, `runtime`
    public = {
        path.parent.name
        for path in (ROOT / "edgeailite").glob("*/__init__.py")
        if "__all__" in path.read_text(encoding="utf-8")
    }
    assert {f"edgeailite.{name}" for name in public - inner} <= set(TOOL.MODULES)


@pytest.mark.parametrize("module", TOOL.MODULES)
def test_python_finds_the_same_names_and_parameters(module):
    package = importlib.import_module(module)
    for name in (name for where, name in NAMES if where == module):
        value = getattr(package, name)
        node, _ = TOOL.find(module, name)
        if inspect.isfunction(value) and isinstance(node, TOOL.ast.FunctionDef):
            words = [word.lstrip("*").partition(":")[0].partition("=")[0] for word in TOOL.argument_words(node.args)]
            assert [word for word in words if word] == list(inspect.signature(value).parameters)


@pytest.mark.parametrize("module", TOOL.MODULES)
def test_every_function_and_class_says_what_it_is(module):
    entries = [(name, TOOL.find(module, name)[0]) for where, name in NAMES if where == module]
    kinds = (TOOL.ast.FunctionDef, TOOL.ast.ClassDef)
    assert entries
    assert [name for name, node in entries if isinstance(node, kinds) and not TOOL.docstring(node)] == []
