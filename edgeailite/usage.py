"""The text of `--help`: the verbs in groups, and the options of one verb in groups, the most used first.

The options' texts and groups are read from the source of the configuration classes: a text stands below its option,
and `group("title")` above the first option of a group.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import shutil
import textwrap
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from edgeailite import __version__
from edgeailite.verbs import GROUPS, MANY, VERBS, Verb, verbs_of

EXIT_CODES = "0 ok, 1 listed failures, 2 usage, 3 data, 4 parity, 5 diverged, 130 interrupted"
WIDEST, INDENT = 120, 26  # columns: of a line, and before a text
JOIN = "\u00a0"  # a space at which no line ends
MOST_USED, OTHERS, MACHINE = "most used", "options", "machine"  # headings
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH", bool: "{True,False}"}
ALWAYS = {
    "--config FILE": "YAML file with values of options by name; options on the command line override it.",
    "--help": "Show this text.",
}


@dataclasses.dataclass(frozen=True)
class Option:
    """An option as the help shows it."""

    name: str
    metavar: str
    text: str
    group: str


def usage() -> str:
    """Return the text of `edgeailite --help`."""
    width = max(map(len, VERBS))
    groups = [
        "\n".join([heading, *(f"  {name:<{width}}  {verb.line}" for name, verb in group.items())])
        for heading, group in GROUPS.items()
    ]
    return (
        f"edgeailite {__version__}: from labelled images to a proven int8 ONNX file\n\n"
        f"usage: edgeailite VERB [options]      edgeailite VERB --help\n"
        f"       edgeailite preset NAME [RUN] [options]\n\n" + "\n\n".join(groups) + f"\n\nexit codes: {EXIT_CODES}\n"
    )


def family_usage(word: str) -> str:
    """Return the text of `edgeailite WORD --help` for verbs of two words that begin with this one."""
    rows = "\n".join(f"  {name:<12} {VERBS[name].line}" for name in verbs_of(word))
    return f"usage: edgeailite {word} VERB [options]      edgeailite {word} VERB --help\n\n{rows}\n"


def verb_usage(verb: Verb, config: type[Any], *, prog: str, columns: int | None = None) -> str:
    """Return the text of `edgeailite VERB --help`: usage, what the verb does, and its options in groups.

    The options that the class lists in `first` come first; the other groups follow in the order of the source, that of
    the machine last. Lines are as wide as the terminal (at most 120 columns), or `columns`.
    """
    width = min(columns or shutil.get_terminal_size().columns, WIDEST)
    options = options_of(config)
    first: tuple[str, ...] = getattr(config, "first", ())
    groups: dict[str, list[Option]] = {MOST_USED: [options[name] for name in first]} if first else {}
    for option in options.values():
        if option.name not in first:
            groups.setdefault(option.group, []).append(option)
    if MACHINE in groups:
        groups[MACHINE] = groups.pop(MACHINE)  # last
    words = "".join(f" {_word(name, config)}" for name in verb.words)
    about = inspect.cleandoc(config.__doc__ or "").split("\n\n")
    parts = [f"usage: {prog}{words} [options]", *(textwrap.fill(part, width) for part in about)]
    for heading, members in groups.items():
        rows = [_row(f"--{option.name} {option.metavar}", option.text, width) for option in members]
        parts.append("\n".join([heading, *rows]))
    parts.append("\n".join(["always", *(_row(name, text, width) for name, text in ALWAYS.items())]))
    return "\n\n".join(parts)


def options_of(config: type[Any]) -> dict[str, Option]:
    """Return a verb's options by name: those of the class itself first, then those it shares with others."""
    hints = get_type_hints(config)
    fields = sorted(dataclasses.fields(config), key=lambda field: bool(field.kw_only))  # as those of shared classes are
    texts: dict[str, str] = {}
    groups: dict[str, str] = {}
    for part in reversed(config.__mro__[:-1]):
        group = OTHERS
        for statement, below in _statements(part):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                group = ast.literal_eval(statement.value.args[0])
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
                groups.setdefault(name, group)
                texts[name] = _text(below)
    return {
        field.name: Option(
            field.name, _metavar(hints[field.name]), texts[field.name] + _default(field, config), groups[field.name]
        )
        for field in fields
    }


@functools.cache
def _classes(path: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _statements(part: type[Any]) -> list[tuple[ast.stmt, ast.stmt | None]]:
    """Return the statements in a class's body, each with the one below it."""
    body = _classes(inspect.getfile(part))[part.__name__].body
    return list(zip(body, [*body[1:], None], strict=True))


def _text(statement: ast.stmt | None) -> str:
    """Return the docstring that a statement is, in one line; "" for any other statement."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


def _default(field: dataclasses.Field[Any], config: type[Any]) -> str:
    """Return ` (default: 100)`; "" where the text itself has to say what happens without the option."""
    if field.default is dataclasses.MISSING:
        return " (required)"
    words = _words(getattr(config, "usual", {}).get(field.name, field.default))
    return f" (default:{JOIN}{words})" if words else ""


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_words, value))
    return "" if value is None else str(value)


def _metavar(hint: Any) -> str:
    """Return the words after an option in its usage: `N`, `H W`, `PATH [PATH ...]`, `{sgd,adam}`."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "{" + ",".join(parts) + "}"
    if origin in (Union, types.UnionType):
        return "|".join(_metavar(part).strip("{}") for part in parts if part is not type(None))
    if hint == tuple[int, int]:
        return "H W"  # a size, whatever it is of
    if origin is tuple and parts[1:] == (Ellipsis,):
        return f"{_metavar(parts[0])} ..."
    if origin is tuple:
        return " ".join(map(_metavar, parts))
    return METAVARS[hint]


def _word(name: str, config: type[Any]) -> str:
    """Return an option given without its name, as the usage line shows it: RUN, [CONTRACT], INPUT ..."""
    plain = name.removesuffix(MANY)
    shown = plain.upper() + (" ..." if plain != name else "")
    required = any(f.name == plain and f.default is dataclasses.MISSING for f in dataclasses.fields(config))
    return shown if required else f"[{shown}]"


def _row(start: str, text: str, width: int) -> str:
    """Return an option with its text beside it, or below it where the option is too long."""
    lines = textwrap.wrap(text, width - INDENT, break_long_words=False, break_on_hyphens=False)
    lines = [line.replace(JOIN, " ") for line in lines]
    start = f"  {start}"
    if len(start) > INDENT - 2 or not lines:
        return "\n".join([start, *(" " * INDENT + line for line in lines)])
    return "\n".join([f"{start:<{INDENT}}{lines[0]}", *(" " * INDENT + line for line in lines[1:])])
