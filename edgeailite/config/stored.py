"""Options that a file holds: of a run's config.yaml or checkpoint, which somebody else may have written."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgeailite.config.training import TrainConfig
from edgeailite.errors import DataError, UsageError
from edgeailite.untrusted import LONGEST_TEXT, Fields, is_printable, printable

LARGEST = 2**63
Config = TypeVar("Config")


def current_name(kind: type[Any], name: str) -> str:
    """Return the name that an option of a configuration has now, for one that it had in an earlier version.

    >>> from edgeailite.config import BenchConfig
    >>> current_name(BenchConfig, "size")
    'img_resize'
    """
    renamed: Mapping[str, str] = getattr(kind, "renamed", {})
    return renamed.get(name, name)


def known_names(kind: type[Any]) -> set[str]:
    """Return the names of a configuration's options, those of earlier versions included."""
    return {field.name for field in dataclasses.fields(kind)} | set(getattr(kind, "renamed", {}))


def current_names(kind: type[Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return options with the names that they have now; a value under the present name comes before one under an
    earlier name.
    """
    return {current_name(kind, name): value for name, value in values.items()} | {
        name: value for name, value in values.items() if current_name(kind, name) == name
    }


def stored_options(kind: type[Any], values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the options of a configuration found in a mapping, type-checked; unknown names are left out.

    Raises DataError for a value of another type, naming `where` it stands.
    """
    values = current_names(kind, Fields.of(values, where=where).values)
    fields = Fields.of(values, where=where)
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name in values]
    return {name: _typed(hints[name], values[name], fields, name) for name in names}


def stored_config(kind: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Rebuild a configuration from stored options; missing ones get defaults. Raises DataError as `stored_options`."""
    options = stored_options(kind, values, where=where)
    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]  # type: ignore[arg-type]
    missing = [name for name in required if name not in options]
    if missing:
        raise DataError(f"{where}: {missing[0]}: expected a value, found nothing")
    try:
        return kind(**options)
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration as values that YAML and checkpoints can hold: paths as text, tuples as lists."""
    return {key: _plain_value(value) for key, value in dataclasses.asdict(config).items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain_value(v) for v in value] if isinstance(value, tuple) else value


def train_config(values: Mapping[str, Any], *, where: str = "the checkpoint's options") -> TrainConfig:
    """Rebuild the training configuration from values that `plain` made; keys of other versions are left out.

    Raises DataError for values that `train` does not take, naming `where` they stand.
    """
    older = dict(values)
    if isinstance(older.get("pretrained"), str):  # as older runs wrote it
        older["pretrained"] = [older["pretrained"]]
    if "workers" in older and older["workers"] is None:  # as older runs wrote it
        older["workers"] = "auto"
    return stored_config(TrainConfig, older, where=where)


def _typed(hint: Any, value: Any, fields: Fields, name: str) -> Any:
    """The value as the type that a configuration declares. Raises DataError."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for part in parts:
            if _is_of(part, value):
                return _typed(part, value, fields, name)
    elif origin is tuple and isinstance(value, list | tuple):
        kinds = [parts[0]] * len(value) if parts[1:] == (Ellipsis,) else list(parts)
        if len(kinds) == len(value):
            return tuple(_typed(kind, each, fields, name) for kind, each in zip(kinds, value, strict=True))
    elif _is_of(hint, value):
        return Path(value) if hint is Path else float(value) if hint is float else value
    raise fields.refuse(printable(name), _name(hint))


def _is_of(hint: Any, value: Any) -> bool:
    """Return True if a plain value can be one of a type; a tuple is stored as a list."""
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple)
    if hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        kinds = (int,) if hint is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < LARGEST
    if hint in (str, Path):
        return isinstance(value, str | Path) and len(str(value)) <= LONGEST_TEXT and is_printable(str(value))
    return False


def _name(hint: Any) -> str:
    """Return the name of a type for a message."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin in (Union, types.UnionType):
        return " or ".join(_name(part) for part in parts)
    if origin is tuple:
        return f"a list of {_name(parts[0])}" if parts[1:] == (Ellipsis,) else f"{len(parts)} values: {_name(parts[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(hint, "text without control characters")
