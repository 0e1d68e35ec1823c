"""Settings of a folder's label values: `dataset.yaml`, or the plain files that labelling tools write.

    classes: [road, car]                 # names of the classes 0, 1, ..
    palette: [[128, 64, 128], ...]       # a colour per class
    ignore: 11                           # a label value, or a list of them
    label_map: {7: road, 8: 0, 34: ignore}   # label value (also -1, or of 16 bits): class (name or number) or ignore
    reduce_zero_label: true              # 0 is ignored, 1 is class 0, ..
    colors: {"128,64,128": road, "#000000": ignore}   # colour-coded masks; `road: [128, 64, 128]` is fine too
    background: false                    # COCO polygons: other pixels are ignored instead of class 0 "background"
    overlaps: later                      # COCO polygons: which is on top, smaller (without the key) or later; or ignore

All keys are optional, others are errors. A label_map that names a class is the whole table (values it leaves out are
errors); one that only ignores adds to "label values are classes". 255 is ignored unless label_map says otherwise.
Without the keys: CVAT's `labelmap.txt` (name:r,g,b::) and Supervisely's `obj_class_to_machine_color.json` give names
and colours; `classes.txt`, `class_names.txt` or `labels.txt` a name a line (Labelme's `__ignore__` is left out),
Roboflow's `train/_classes.csv` a value and a name a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.data.files.colors import Colour, parse_colour
from edgeailite.data.files.listing import read_lines
from edgeailite.errors import DataError, did_you_mean
from edgeailite.files import read_regular, unreadable
from edgeailite.untrusted import is_printable, json_value, shown, yaml_value

IGNORE = 255
FILE = "dataset.yaml"
NAME_FILES = ("classes.txt", "class_names.txt", "labels.txt")
CVAT, SUPERVISELY = "labelmap.txt", "obj_class_to_machine_color.json"
ROBOFLOW = ("_classes.csv", "train/_classes.csv")
KEYS = ("classes", "palette", "ignore", "label_map", "reduce_zero_label", "colors", "background", "overlaps")
IGNORE_WORDS = ("ignore", "__ignore__")
OVERLAPS = ("smaller", "later", "ignore")
LOWEST, HIGHEST = -(2**31), 2**32 - 1  # label values that masks can hold
LARGEST = 500_000  # bytes of a file of settings
LONGEST = 200  # characters of a class name


@dataclass(frozen=True)
class Settings:
    """Settings of a folder; None or empty where nothing is said. `file` is where the user can say more."""

    file: Path
    classes: tuple[str, ...] | None = None
    palette: tuple[Colour, ...] | None = None
    ignore: tuple[int, ...] = ()
    label_map: Mapping[int, int] | None = None
    reduce_zero_label: bool = False
    colors: Mapping[Colour, int] | None = None
    background: bool = True
    overlaps: str = "smaller"

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
    """Read the settings of a folder. Raises DataError for a file that cannot be meant, naming key and value."""
    file = root / FILE
    given = _load(file) if os.path.lexists(file) else {}
    names, tool_colors = (_names(file, given["classes"]), None) if "classes" in given else _tool_files(root, given)
    numbers = _Numbers(file, names)
    colors = _colors(file, given["colors"], numbers) if "colors" in given else None
    label_map = _label_map(file, given["label_map"], numbers) if "label_map" in given else None
    reduce_zero_label = _flag(file, given, "reduce_zero_label", default=False)
    if sum(map(bool, (reduce_zero_label, label_map, colors))) > 1:
        raise DataError(
            "give one of reduce_zero_label, label_map and colors", fix="each says what masks hold", path=file
        )
    if not (label_map or colors or reduce_zero_label):
        colors = tool_colors
    names = numbers.all_names()
    ignore = _values(file, given.get("ignore", []))
    twice = [value for value in ignore if (label_map or {}).get(value, IGNORE) != IGNORE]
    if twice:
        raise DataError(
            f"label value {twice[0]} is a class in label_map and stands under ignore", fix="keep one", path=file
        )
    overlaps = given.get("overlaps", OVERLAPS[0])
    if overlaps not in OVERLAPS:
        raise DataError(f"overlaps: {shown(overlaps)}, expected {' or '.join(OVERLAPS)}", path=file)
    return Settings(
        file=file,
        classes=names,
        palette=_palette(file, given["palette"], names) if "palette" in given else _palette_of(names, colors),
        ignore=ignore,
        label_map=label_map,
        reduce_zero_label=reduce_zero_label,
        colors=colors,
        background=_flag(file, given, "background", default=True),
        overlaps=overlaps,
    )


class _Numbers:
    """Class numbers of names and numbers; without known names, names are numbered as they come."""

    def __init__(self, file: Path, names: tuple[str, ...] | None) -> None:
        self.file, self.known = file, names is not None
        self.names, self.highest = list(names or ()), -1

    def of(self, value: object, key: str) -> int:
        """Return the number of a class, or 255 for `ignore`. Raises DataError for anything else."""
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
        raise DataError(f"{key}: {shown(value)} is no class", fix=f"{known}, or ignore", path=self.file)

    def all_names(self) -> tuple[str, ...] | None:
        """Names of all classes that were known, named or numbered; None if nothing was."""
        if not self.known and self.names and self.highest >= 0:
            raise DataError("classes by name and by number", fix="name all, or list them under classes", path=self.file)
        numbered = [f"class {number}" for number in range(self.highest + 1)]
        return check_names(self.file, self.names or numbered) if self.names or numbered else None


def _load(file: Path) -> dict[str, Any]:
    given = yaml_value(_read(file), where=str(file))
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise DataError(f"expected keys and values, one of {', '.join(KEYS)}", path=file)
    for key in given:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS)
            raise DataError(f"unknown key {shown(key)}{hint} (known: {', '.join(KEYS)})", path=file)
    return given


def _read(file: Path) -> bytes:
    try:
        return read_regular(file, limit=LARGEST)
    except OSError as error:
        raise unreadable(file, error, fix="mend or remove it") from None


def _names(file: Path, given: object) -> tuple[str, ...]:
    names = list(given) if isinstance(given, list) else []
    if not names or len(names) > IGNORE:
        raise DataError(f"classes: expected a list of 1 to 255 different names, found {shown(given)}", path=file)
    odd = next((name for name in names if not isinstance(name, str) and type(name) is not int), None)
    if odd is not None or None in names:  # yes, no, on, off and dates are other values than they look like
        raise DataError(f"classes: {shown(odd)} is no text to YAML", fix='write the name in quotes: "road"', path=file)
    return check_names(file, map(str, names))


def check_names(file: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Check class names, which must be distinct and printable. Raises DataError that begins with the file."""
    named: dict[str, str] = {}
    for name in names:
        if not name.strip() or len(name) > LONGEST or not is_printable(name):
            raise DataError(
                f"classes: {shown(name)} is no class name",
                fix=f"expected 1 to {LONGEST} characters, no control characters",
                path=file,
            )
        if name.lower() in IGNORE_WORDS:
            raise DataError(
                f"classes: {name} is the word for pixels that do not count, no class",
                fix=("take it out, and give its label value under ignore"),
                path=file,
            )
        plain = " ".join(name.split()).casefold()
        if plain in named:
            how = f"{shown(name)} twice" if named[plain] == name else f"{shown(named[plain])} and {shown(name)}"
            raise DataError(
                f"classes: expected different names, found {how}", fix="make them one, or rename one", path=file
            )
        named[plain] = name
    if not 0 < len(named) <= IGNORE:
        raise DataError(f"{len(named)} classes, expected 1 to {IGNORE}", path=file)
    return tuple(named.values())


def _colors(file: Path, given: object, numbers: _Numbers) -> dict[Colour, int]:
    if not isinstance(given, dict) or not given:
        raise DataError(f'colors: expected rows such as "128,64,128": road, found {shown(given)}', path=file)
    colors: dict[Colour, int] = {}
    for key, value in given.items():
        colour, name = parse_colour(key), value
        if colour is None:
            colour, name = parse_colour(value), key
        if colour is None:
            raise DataError(
                f"colors: no colour in {shown(key)}: {shown(value)}", fix="write three numbers from 0 to 255", path=file
            )
        if colour in colors:
            raise DataError(f"colors: {colour} is given twice", fix="a colour has one class", path=file)
        colors[colour] = numbers.of(name, "colors")
    return colors


def _label_map(file: Path, given: object, numbers: _Numbers) -> dict[int, int]:
    if not isinstance(given, dict) or not given:
        raise DataError(f"label_map: expected rows such as 34: ignore, found {shown(given)}", path=file)
    _values(file, list(given), key="label_map")
    return {value: numbers.of(name, "label_map") for value, name in given.items()}


def _values(file: Path, given: object, key: str = "ignore") -> tuple[int, ...]:
    values = given if isinstance(given, list) else [given]
    wrong = [value for value in values if type(value) is not int or not LOWEST <= value <= HIGHEST]
    if wrong:
        raise DataError(
            f"{key}: {shown(wrong[0])} is no label value",
            fix=f"expected whole numbers from {LOWEST} to {HIGHEST}",
            path=file,
        )
    return tuple(values)


def _flag(file: Path, given: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise DataError(f"{key}: {shown(value)}, expected true or false", path=file)
    return value


def _palette(file: Path, given: object, names: tuple[str, ...] | None) -> tuple[Colour, ...]:
    colours = [parse_colour(row) for row in given] if isinstance(given, list) else []
    whole = tuple(colour for colour in colours if colour is not None)
    if not whole or len(whole) < len(colours) or (names is not None and len(whole) != len(names)):
        expected = f"{len(names)} " if names else ""
        raise DataError(
            f"palette: expected a list of {expected}colours such as [128, 64, 128], one per class", path=file
        )
    return whole


def _palette_of(names: tuple[str, ...] | None, colors: Mapping[Colour, int] | None) -> tuple[Colour, ...] | None:
    """The first colour of every class, if each has one."""
    first: dict[int, Colour] = {}
    for colour, number in (colors or {}).items():
        first.setdefault(number, colour)
    numbers = range(len(names or ()))
    return tuple(first[number] for number in numbers) if names and all(n in first for n in numbers) else None


def _tool_files(root: Path, given: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, dict[Colour, int] | None]:
    """Names, and colours of masks, from the plain files of labelling tools."""
    if (root / CVAT).is_file():
        return _cvat(root / CVAT)
    if (root / SUPERVISELY).is_file():
        return _supervisely(root / SUPERVISELY)
    table = next((root / name for name in ROBOFLOW if (root / name).is_file()), None)
    if table is not None and not {"label_map", "colors", "reduce_zero_label"} & set(given):
        return _roboflow(table, root / FILE), None
    file = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if file is None:
        return None, None
    lines = list(read_lines(file).values())
    for end in (0, -1):  # between others its place is a label value, which would go to the next name
        if lines and lines[end].lower() in IGNORE_WORDS:
            del lines[end]
    return check_names(file, lines), None


def _roboflow(file: Path, settings: Path) -> tuple[str, ...]:
    """Names of `Pixel Value, Class` rows, whose values have to be 0, 1, .."""
    rows = [line.partition(",") for line in read_lines(file).values()]
    values = {value.strip(): name.strip() for value, _, name in rows if value.strip().isdecimal()}
    if list(values) != [str(number) for number in range(len(values))] or len(values) < len(rows) - 1:
        raise DataError(
            "expected a row VALUE, NAME for each of 0, 1, ..",
            fix=f"or say in {settings} what values mean: label_map",
            path=file,
        )
    return check_names(file, values.values())


def _cvat(file: Path) -> tuple[tuple[str, ...], dict[Colour, int]]:
    colors: dict[Colour, int] = {}
    names: list[str] = []
    for number, line in read_lines(file).items():
        name, _, rest = line.partition(":")
        colour = parse_colour(rest.partition(":")[0])
        if colour is None or colour in colors:
            raise DataError(
                f"line {number}: {shown(line)}, expected name:red,green,blue:: with a colour of its own", path=file
            )
        colors[colour] = _number(name, names)
    return check_names(file, names), colors


def _supervisely(file: Path) -> tuple[tuple[str, ...], dict[Colour, int]]:
    """Read names and colours of machine masks; pixels without an object are (0, 0, 0), class "background"."""
    rows = json_value(_read(file), where=str(file))
    if not isinstance(rows, dict) or not rows:
        raise DataError("no names with colours in it", fix="export it again", path=file)
    colours = {name: parse_colour(colour) for name, colour in rows.items()}
    colors: dict[Colour, int] = {} if (0, 0, 0) in colours.values() else {(0, 0, 0): 0}
    names = ["background"] * len(colors)
    for name, colour in colours.items():
        if colour is None or colour in colors:
            raise DataError(
                f"{shown(name)}: {shown(rows[name])} is no colour, or another class has it",
                fix="export it again",
                path=file,
            )
        colors[colour] = _number(name, names)
    return check_names(file, names), colors


def _number(name: str, names: list[str]) -> int:
    """The number of a name that is added to `names`; 255 for the word ignore."""
    if name.lower() in IGNORE_WORDS:
        return IGNORE
    names.append(name)
    return len(names) - 1
