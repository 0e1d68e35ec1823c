"""What a wheel holds, told from pyproject.toml alone; `tools/package.sh` builds one and looks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from edgeailite import __version__

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MADE = {".pyc"}  # by Python


def test_every_file_of_the_package_is_in_the_wheel():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["edgeailite"]
    package = ROOT / "edgeailite"
    listed = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", *MADE}}
    assert others, "pages and tables are expected here"
    assert others - listed == set()
    folders = {path.parent for path in package.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []  # found as packages


def test_the_metadata_is_whole():
    project = SETTINGS["project"]
    wanted = {"name", "description", "readme", "requires-python", "license", "authors", "classifiers", "urls"}
    assert wanted <= set(project)
    assert all(url.startswith("https://") and len(label) <= 32 for label, url in project["urls"].items())  # PyPI's rule
    assert (ROOT / project["readme"]).is_file() and all((ROOT / name).is_file() for name in project["license-files"])
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?((a|b|rc|\.dev)\d+)?", __version__)
    module, _, function = project["scripts"]["edgeailite"].partition(":")
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file() and function == "main"


def test_pages_name_the_wheel_of_this_version():
    page = (ROOT / "docs/on_device.md").read_text(encoding="utf-8")
    wheels = re.findall(r"edgeailite-\S+?\.whl", page)
    assert set(wheels) == {f"edgeailite-{__version__}-py3-none-any.whl"}
