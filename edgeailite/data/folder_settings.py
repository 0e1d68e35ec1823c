"""What the label values of a folder mean: `dataset.yaml`, or the plain files that labelling tools write.

    classes: [road, car]                 # names of the classes 0, 1, ..
    palette: [[128, 64, 128], ...]       # a colour per class
    ignore: 11                           # a label value, or a list of them
    label_map: {7: road, 8: 0, 34: ignore}   # label value: class (name or number) or ignore
    reduce_zero_label: true              # 0 is ignored, 1 is class 0, ..
    colors: {"128,64,128": road, "#000000": ignore}   # colour-coded masks; `road: [128, 64, 128]` is fine too
    background: false                    # COCO polygons: other pixels are ignored instead of class 0 "background"

All keys are optional, others are errors. A label_map that names a class is the whole table (values it leaves out are
errors); one that only ignores adds to "label values are classes". 255 is ignored unless label_map says otherwise.
Without the keys: CVAT's `labelmap.txt` (name:r,g,b::) and Supervisely's `obj_class_to_machine_color.json` give names
and colours; `classes.txt`, `class_names.txt` or `labels.txt` a name a line (Labelme's `__ignore__` is left out).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgeailite.data.colors import Colour, parse_colour
from edgeailite.data.listing import read_lines
from edgeailite.errors import DataError

IGNORE = 255
FILE = "dataset.yaml"
NAME_FILES = ("classes.txt", "class_names.txt", "labels.txt")
CVAT, SUPERVISELY = "labelmap.txt", "obj_class_to_machine_color.json"
KEYS = ("classes", "palette", "ignore", "label_map", "reduce_zero_label", "colors", "background")
IGNORE_WORDS = ("ignore", "__ignore__")


@dataclass(frozen=True)
class Settings:
    """What is said about a folder; None or empty where nothing is. `file` is where more can be said."""

    file: Path
    classes: tuple[str, ...] | None = None
    palette: tuple[Colour, ...] | None = None
    ignore: tuple[int, ...] = ()
    label_map: Mapping[int, int] | None = None
    reduce_zero_label: bool = False
    colors: Mapping[Colour, int] | None = None
    background: bool = True

    def label_values(self, count: int) -> dict[int, int]:
        """Label values to `count` classes."""
        said = dict(self.label_map or {})
        if any(value != IGNORE for value in said.values()):
            table = said
        elif self.reduce_zero_label:
            table = {0: IGNORE} | {value + 1: value for value in range(count)} | said
        else:
            table = {value: value for value in range(count)} | said
        return {IGNORE: IGNORE} | table | dict.fromkeys(self.ignore, IGNORE)


def read_settings(root: Path) -> Settings:
    """The settings of a folder. Raises DataError for a file that cannot be meant, naming key and value."""
    file = root / FILE
    given = _load(file) if file.is_file() else {}
    names, tool_colors = (_names(file, given["classes"]), None) if "classes" in given else _tool_files(root)
    numbers = _Numbers(file, names)
    colors = _colors(file, given["colors"], numbers) if "colors" in given else None
    label_map = _label_map(file, given["label_map"], numbers) if "label_map" in given else None
    reduce_zero_label = _flag(file, given, "reduce_zero_label", default=False)
    if sum(map(bool, (reduce_zero_label, label_map, colors))) > 1:
        raise DataError(f"{file}: give one of reduce_zero_label, label_map and colors; each says what masks hold")
    if not (label_map or colors or reduce_zero_label):
        colors = tool_colors
    names = numbers.all_names()
    return Settings(
        file=file,
        classes=names,
        palette=_palette(file, given["palette"], names) if "palette" in given else _palette_of(names, colors),
        ignore=_values(file, given.get("ignore", [])),
        label_map=label_map,
        reduce_zero_label=reduce_zero_label,
        colors=colors,
        background=_flag(file, given, "background", default=True),
    )


class _Numbers:
    """Class numbers of names and numbers; without known names, names are numbered as they come."""

    def __init__(self, file: Path, names: tuple[str, ...] | None) -> None:
        self.file, self.known = file, names is not None
        self.names, self.highest = list(names or ()), -1

    def of(self, value: object, key: str) -> int:
        """The number of a class, or 255 for `ignore`. Raises DataError for what is no class."""
        if value == IGNORE or (isinstance(value, str) and value.lower() in IGNORE_WORDS):
            return IGNORE
        if type(value) is int and 0 <= value < (len(self.names) if self.known else IGNORE):
            self.highest = max(self.highest, value)
            return value
        if isinstance(value, str) and not self.known and value not in self.names:
            self.names.append(value)
        if isinstance(value, str) and value in self.names:
            return self.names.index(value)
        known = f"classes are {', '.join(self.names)}" if self.known else "expected a name or a number from 0 to 254"
        raise DataError(f"{self.file}: {key}: {value!r} is no class; {known}, or ignore")

    def all_names(self) -> tuple[str, ...] | None:
        """Names of all classes that were known, named or numbered; None if nothing was."""
        if not self.known and self.names and self.highest >= 0:
            raise DataError(f"{self.file}: classes by name and by number; name all, or list them under classes")
        numbered = [f"class {number}" for number in range(self.highest + 1)]
        return tuple(self.names or numbered) or None


def _load(file: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file}: cannot be read ({' '.join(str(error).split())[:200]}); mend it") from None
    if not isinstance(given, dict):
        raise DataError(f"{file}: expected keys and values, one of {', '.join(KEYS)}")
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"{file}: unknown key {key!r}{hint} (known: {', '.join(KEYS)})")
    return given


def _names(file: Path, given: object) -> tuple[str, ...]:
    names = [str(name) for name in given] if isinstance(given, list) else []
    if not names or len(names) > IGNORE or len(set(names)) < len(names):
        raise DataError(f"{file}: classes: expected a list of 1 to 255 different names, found {given!r:.80}")
    return tuple(names)


def _colors(file: Path, given: object, numbers: _Numbers) -> dict[Colour, int]:
    if not isinstance(given, dict) or not given:
        raise DataError(f'{file}: colors: expected rows such as "128,64,128": road, found {given!r:.80}')
    colors: dict[Colour, int] = {}
    for key, value in given.items():
        colour, name = parse_colour(key), value
        if colour is None:
            colour, name = parse_colour(value), key
        if colour is None:
            raise DataError(f"{file}: colors: no colour in {key!r}: {value!r}; write three numbers from 0 to 255")
        if colour in colors:
            raise DataError(f"{file}: colors: {colour} is given twice; a colour has one class")
        colors[colour] = numbers.of(name, "colors")
    return colors


def _label_map(file: Path, given: object, numbers: _Numbers) -> dict[int, int]:
    if not isinstance(given, dict) or not given:
        raise DataError(f"{file}: label_map: expected rows such as 34: ignore, found {given!r:.80}")
    _values(file, list(given), key="label_map")
    return {value: numbers.of(name, "label_map") for value, name in given.items()}


def _values(file: Path, given: object, key: str = "ignore") -> tuple[int, ...]:
    values = given if isinstance(given, list) else [given]
    wrong = [value for value in values if type(value) is not int or not 0 <= value <= 255]
    if wrong:
        raise DataError(f"{file}: {key}: {wrong[0]!r} is no label value; expected numbers from 0 to 255")
    return tuple(values)


def _flag(file: Path, given: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise DataError(f"{file}: {key}: {value!r}, expected true or false")
    return value


def _palette(file: Path, given: object, names: tuple[str, ...] | None) -> tuple[Colour, ...]:
    colours = [parse_colour(row) for row in given] if isinstance(given, list) else []
    whole = tuple(colour for colour in colours if colour is not None)
    if not whole or len(whole) < len(colours) or (names is not None and len(whole) != len(names)):
        expected = f"{len(names)} " if names else ""
        raise DataError(f"{file}: palette: expected a list of {expected}colours such as [128, 64, 128], one per class")
    return whole


def _palette_of(names: tuple[str, ...] | None, colors: Mapping[Colour, int] | None) -> tuple[Colour, ...] | None:
    """The first colour of every class, if each has one."""
    first: dict[int, Colour] = {}
    for colour, number in (colors or {}).items():
        first.setdefault(number, colour)
    numbers = range(len(names or ()))
    return tuple(first[number] for number in numbers) if names and all(n in first for n in numbers) else None


def _tool_files(root: Path) -> tuple[tuple[str, ...] | None, dict[Colour, int] | None]:
    """Names, and colours of masks, from the plain files of labelling tools."""
    if (root / CVAT).is_file():
        return _cvat(root / CVAT)
    if (root / SUPERVISELY).is_file():
        return _supervisely(root / SUPERVISELY)
    file = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if file is None:
        return None, None
    lines = [line for line in read_lines(file).values() if line.lower() not in IGNORE_WORDS]
    return _names(file, lines), None


def _cvat(file: Path) -> tuple[tuple[str, ...], dict[Colour, int]]:
    colors: dict[Colour, int] = {}
    names: list[str] = []
    for number, line in read_lines(file).items():
        name, _, rest = line.partition(":")
        colour = parse_colour(rest.partition(":")[0])
        if colour is None or colour in colors:
            raise DataError(f"{file}: line {number}: {line!r}, expected name:red,green,blue:: with a colour of its own")
        colors[colour] = len(names)
        names.append(name)
    return _names(file, names), colors


def _supervisely(file: Path) -> tuple[tuple[str, ...], dict[Colour, int]]:
    """Names and colours of machine masks; what no object covers is (0, 0, 0), class "background"."""
    try:
        rows = json.loads(file.read_bytes())
        colours = {name: parse_colour(colour) for name, colour in rows.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: no names with colours in it ({error}); export it again") from None
    colors: dict[Colour, int] = {} if (0, 0, 0) in colours.values() else {(0, 0, 0): 0}
    names = ["background"] * len(colors)
    for name, colour in colours.items():
        if colour is None or colour in colors:
            raise DataError(f"{file}: {name}: {rows[name]!r} is no colour, or another class has it; export it again")
        colors[colour] = len(names)
        names.append(name)
    return _names(file, names), colors
