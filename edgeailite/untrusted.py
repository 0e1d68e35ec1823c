"""Checks of untrusted text and values: parsed within bounds, checked by type and range, safe to print.

Metadata, contracts, checkpoints' cards, settings and lists all come from files that anybody may have written. Each
value passes these checks once when it is read; the rest of the program may then rely on it. Each refusal is a DataError
on one line that names the file or entry, the key and the value.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from edgeailite.errors import DataError

MOST_VALUES = 1_000_000  # values in one JSON or YAML text, aliases counted as often as they are used
DEEPEST = 64  # lists in lists
LONGEST_SHOWN = 80  # characters of a value in a message
LONGEST_TEXT = 10_000
JOINERS = "\u00ad\u200c\u200d"  # soft hyphen, and the joiners of Persian, Hindi and emoji


def json_value(text: str | bytes, *, where: str) -> Any:
    """Parse JSON. Raises DataError for invalid JSON, nesting beyond 64 levels and numbers that are not finite."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise DataError(f"nested too deeply (at most {DEEPEST} levels)", path=where) from None
    except ValueError as error:  # also UnicodeDecodeError, and integers of more digits than Python converts
        raise DataError(f"not JSON ({printable(str(error))[:160]})", path=where, code="not-json") from None
    _check_depth(value, where)
    return value


def yaml_value(text: str | bytes, *, where: str) -> Any:
    """Parse YAML's plain values. Raises DataError as `json_value` does, and for aliases that unfold endlessly."""
    import yaml  # not among the packages that a contract is checked with

    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _check_unfolded(node, where)
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except DataError:
        raise
    except RecursionError:
        raise DataError(f"nested too deeply (at most {DEEPEST} levels)", path=where) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(printable(str(error)).split())
        raise DataError(f"not YAML ({reason[:200]})", path=where, code="not-yaml") from None
    return value


def _check_unfolded(node: Any, where: str) -> None:
    """Refuse a document whose aliases, each counted where it is used, make more than MOST_VALUES values."""
    counts: dict[int, int] = {}

    def count(part: Any, depth: int) -> int:
        """Return the number of values below a node with aliases unfolded. Raises DataError if they are too many."""
        if depth > DEEPEST:
            raise DataError(f"nested too deeply (at most {DEEPEST} levels), or an alias that holds itself", path=where)
        if id(part) not in counts:
            children = part.value if isinstance(part.value, list) else []
            _check_keys(children, where)
            flat = [child for item in children for child in (item if isinstance(item, tuple) else (item,))]
            counts[id(part)] = 1 + sum(count(child, depth + 1) for child in flat)
            if counts[id(part)] > MOST_VALUES:
                raise DataError(
                    f"its aliases unfold to more than {MOST_VALUES} values", fix="write them out", path=where
                )
        return counts[id(part)]

    if node is not None:
        count(node, 0)


def _check_keys(rows: Sequence[Any], where: str) -> None:
    """Refuse a mapping that gives a key twice: YAML would take the last in silence."""
    seen = set()
    for row in rows:
        if isinstance(row, tuple) and isinstance(row[0].value, str) and row[0].value != "<<":
            key = (row[0].tag, row[0].value)
            if key in seen:
                raise DataError(
                    f"{shown(row[0].value)} is given twice", fix="keep one", path=where, code="unexpected-value"
                )
            seen.add(key)


def _check_depth(value: Any, where: str) -> None:
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        level = [child for part in level for child in _nested(part)]
        if not level:
            return
    raise DataError(f"nested too deeply (at most {DEEPEST} levels)", path=where)


def _nested(part: Any) -> list[Any]:
    """The lists and mappings in a list or mapping, soon told: a file of polygons has a hundred million numbers."""
    children = part.values() if type(part) is dict else part if type(part) is list else ()
    kinds = set(map(type, children))
    if dict not in kinds and list not in kinds:
        return []
    return [child for child in children if type(child) is dict or type(child) is list]


def printable(text: str) -> str:
    """Escape control characters in a text, so that it cannot move the cursor or fake a line.

        >>> printable("road\\x1b[2J\\nerror")
        'road\\\\x1b[2J\\\\nerror'

    Escaped are Unicode's categories Cc, Cf, Zl, Zp and Cs (lone surrogates, which undecodable file names have), but for
    tabs and the joiners that words of some languages need.
    """
    if text.isprintable():  # most texts are; a job calls this for each picture's row
        return text
    return "".join(c if c == "\t" or not _hidden(c) else _escape(c) for c in text)


def is_printable(text: str) -> bool:
    """Tell if `printable` leaves the text unchanged."""
    return printable(text) == text


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") and character not in JOINERS


def _escape(character: str) -> str:
    return {"\n": "\\n", "\r": "\\r"}.get(character) or character.encode("unicode_escape", "backslashreplace").decode()


def shown(value: Any) -> str:
    """Return a value for a message: on one line, printable, cut after 80 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError, MemoryError):  # an integer of more digits than Python prints, say
        text = f"a {type(value).__name__}"
    text = printable(text)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


@dataclass(frozen=True)
class Fields:
    """Values by key, as read from a stranger's file; every method checks one and returns it with its type.

        >>> card = Fields.of({"name": "fpn", "inputs": 1}, where="model.onnx: card")
        >>> card.text("name"), card.whole("inputs", 1, 8)
        ('fpn', 1)
        >>> card.whole("inputs", 2, 8)
        Traceback (most recent call last):
        ...
        edgeailite.errors.DataError: model.onnx: card: inputs: expected a whole number in 2..8, found 1

    A key that is missing is an error unless `default` is given.
    """

    values: Mapping[str, Any]
    where: str

    @staticmethod
    def of(values: Any, *, where: str) -> Fields:
        """Wrap a mapping with text keys. Raises DataError for anything else."""
        if not isinstance(values, Mapping):
            raise DataError(f"expected names with values, found {shown(values)}", path=where, code="unexpected-value")
        for key in values:
            if not isinstance(key, str):
                raise DataError(f"expected text as names, found {shown(key)}", path=where, code="unexpected-value")
        return Fields(values, where)

    def refuse(self, key: str, expected: str) -> DataError:
        """Make the error for a key's value: what was expected, and the value found."""
        value, there = self.values.get(key), key in self.values
        return DataError(
            f"{printable(key)}: expected {expected}, found {shown(value) if there else 'nothing'}",
            path=self.where,
            value=value if isinstance(value, str | int | float) else None,  # small, for other processes
            code="unexpected-value" if there else "missing-value",
        )

    def any(self, key: str) -> Any:
        """Return the value, whatever it is; missing is an error."""
        if key not in self.values:
            raise self.refuse(key, "a value")
        return self.values[key]

    def text(self, key: str, *, choices: Sequence[str] | None = None, longest: int = LONGEST_TEXT) -> str:
        """Return text without control characters, one of `choices` if given."""
        value = self.values.get(key)
        if choices is not None and (not isinstance(value, str) or value not in choices):
            raise self.refuse(key, " or ".join(choices))
        if not isinstance(value, str) or len(value) > longest:
            raise self.refuse(key, f"text of at most {longest} characters")
        if not is_printable(value):
            raise self.refuse(key, "text without control characters")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        """Return a whole number in low..high (True and False do not count as numbers)."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(key, f"a whole number in {low}..{high}")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a finite number in low..high."""
        value = self.values.get(key)
        if not is_finite(value) or not low <= value <= high:
            bounds = "" if (low, high) == (-math.inf, math.inf) else f" in {low:g}..{high:g}"
            raise self.refuse(key, f"a finite number{bounds}")
        return float(value)

    def truth(self, key: str, *, default: bool | None = None) -> bool:
        """True or False."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def items(self, key: str, *, most: int, least: int = 0) -> list[Any]:
        """Return a list (or tuple) of `least` to `most` values."""
        value = self.values.get(key)
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise self.refuse(key, f"a list of {least} to {most} values")
        return list(value)

    def texts(self, key: str, *, most: int, least: int = 0) -> list[str]:
        """Return a list of texts without control characters."""
        values = self.items(key, most=most, least=least)
        if not all(isinstance(value, str) and len(value) <= LONGEST_TEXT and is_printable(value) for value in values):
            raise self.refuse(key, "texts without control characters")
        return values

    def numbers(self, key: str, count: int, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
        """Return exactly `count` finite numbers, each in low..high."""
        values = self.values.get(key)
        if not isinstance(values, list | tuple) or len(values) != count:
            raise self.refuse(key, f"{count} numbers")
        if not all(is_finite(value) and low <= value <= high for value in values):
            bounds = "" if (low, high) == (-math.inf, math.inf) else f" in {low:g}..{high:g}"
            raise self.refuse(key, f"{count} finite numbers{bounds}")
        return tuple(float(value) for value in values)

    def fields(self, key: str) -> Fields:
        """Return nested names with values."""
        if key not in self.values:
            raise self.refuse(key, "names with values")
        return Fields.of(self.values[key], where=f"{self.where}: {printable(key)}")


def is_finite(value: Any) -> TypeGuard[float]:
    """Tell if a value is a finite number that float64 holds (True and False do not count as numbers)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False
