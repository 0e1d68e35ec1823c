"""Words of the command line to a verb's configuration: tyro for types; words without a flag, names that options had in
earlier versions, and one-line errors here.

`--config FILE` (YAML with option names) gives defaults that flags override. `verify FILE contract.json` and `doctor`
must run where only numpy and onnxruntime are installed, so without tyro the standard library parses their few options.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeailite import config as configs
from edgeailite.config.stored import current_name, current_names
from edgeailite.errors import DataError, UsageError, did_you_mean
from edgeailite.files import read_regular
from edgeailite.untrusted import shown, yaml_value
from edgeailite.usage import verb_usage
from edgeailite.verbs import MANY, VERBS

LARGEST = 1 << 20  # bytes of a --config file


def parse(verb: str, args: list[str], *, prog: str | None = None) -> Any:
    """Return the configuration of a verb from the words after it; `--help` prints its usage and exits.

    `prog` is how messages name the command, by default `edgeailite VERB`. Raises UsageError naming an unknown option, a
    wrong value or a missing one.

    >>> parse("train", ["--epochs", "3", "--img_resize", "64", "96"]).img_resize
    (64, 96)
    """
    row, prog = VERBS[verb], prog or f"edgeailite {verb}"
    kind = getattr(configs, row.config)
    names = {field.name for field in dataclasses.fields(kind)}
    if {"--help", "-h"} & set(args):
        print(verb_usage(row, kind, prog=prog))
        raise SystemExit(0)
    args = [_current_flag(kind, word) for word in _name_positionals(args, row.words)]
    if find_spec("tyro") is None:
        return _parse_without_tyro(kind, args)
    values, args = _config_file(args, kind, names)
    for flag in _flags(args):
        if flag not in names:
            hint = did_you_mean(flag, names, mark="--")
            known = tuple(sorted(names))
            problem = f"{prog}: unknown flag --{flag}{hint} ({prog} --help lists all)"
            raise UsageError(problem, value=flag, known=known, code="unknown-name")
    return _parse_with_tyro(kind, args, values, prog=prog)


def _flags(args: list[str]) -> list[str]:
    """Return the names of the options among words."""
    return [word[2:].split("=")[0] for word in args if word.startswith("--")]


def _current_flag(kind: type[Any], word: str) -> str:
    """Return a flag with the name that its option has now; any other word as it is."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{current_name(kind, name)}{equals}{value}"


def _parse_with_tyro(kind: type[Any], args: list[str], values: dict[str, Any], *, prog: str) -> Any:
    import tyro

    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    given = {*_flags(args), *values}
    if not given & set(getattr(kind, "needless", ())):
        required += getattr(kind, "needed", ())
    if missing := [name for name in required if name not in given]:
        usage = f"{prog} {' '.join(required).upper()} [options]"
        raise UsageError(f"{prog}: missing {', '.join(missing)}; usage: {usage}")
    defaults = [part for name, value in values.items() for part in _as_flags(name, value)]
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(
                kind, args=[*defaults, *args], prog=prog, use_underscores=True, config=(tyro.conf.FlagConversionOff,)
            )
    except SystemExit:
        raise UsageError(f"{prog}: {_one_line(output.getvalue())} ({prog} --help explains)") from None


def _one_line(message: str) -> str:
    """Return the sentence inside tyro's box, without the box's title and the name of the class."""
    lines = [line.strip("│╭╰─╮╯- ") for line in message.splitlines()]
    words = [line for line in lines if line and not line.startswith("For full")]
    return re.sub(r"^Error parsing \w+Config: ", "", " ".join(words[1:]))[:400]


def _config_file(args: list[str], kind: type[Any], names: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Take `--config FILE` out of the arguments; returns its values and the rest."""
    args = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--config=") else (arg,))]
    if "--config" not in args:
        return {}, args
    at = args.index("--config")
    if at + 1 >= len(args):
        raise UsageError("--config: a YAML file must follow")
    path = Path(args[at + 1])
    try:
        values = yaml_value(read_regular(path, limit=LARGEST), where=f"--config {path}: cannot be read") or {}
    except OSError as error:
        raise DataError(f"--config {path}: cannot be read ({error.strerror})", code="unreadable") from None
    if isinstance(values, dict):
        values = current_names(kind, values)
    if not isinstance(values, dict) or set(values) - names:
        unknown = shown(sorted(map(str, set(values) - names))) if isinstance(values, dict) else type(values).__name__
        raise UsageError(f"--config {path}: unknown options {unknown}; use the names of the flags")
    for name, value in values.items():
        if not _is_plain(value):
            raise DataError(f"--config {path}: {name}: expected a number, text or a list of them, found {shown(value)}")
    flags = set(_flags(args))
    return {k: v for k, v in values.items() if k not in flags and v is not None}, args[:at] + args[at + 2 :]


def _is_plain(value: Any) -> bool:
    """Return True if a value can be typed after a flag."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, int) and abs(value) > 2**63:
        return False
    return value is None or isinstance(value, str | int | float)


def _as_flags(name: str, value: Any) -> list[str]:
    return [f"--{name}", *_words(value)]


def _words(value: Any) -> list[str]:
    """A list, also one of lists, as the words that a flag takes."""
    return [word for part in value for word in _words(part)] if isinstance(value, list) else [str(value)]


def _name_positionals(args: list[str], positional: tuple[str, ...]) -> list[str]:
    """`RUN --x 1` -> `--run RUN --x 1`: words before the first flag, in the order of `positional`."""
    words = next((i for i, a in enumerate(args) if a.startswith("-") and a != "-"), len(args))
    if words >= len(positional) > 0 and positional[-1].endswith(MANY):
        single = len(positional) - 1
        rest = [f"--{positional[-1].removesuffix(MANY)}", *args[single:words]]
        return _name_positionals(args[:single], positional[:single]) + rest + args[words:]
    if words > len(positional):
        expected = " ".join(positional).upper() or "only flags"
        raise UsageError(f"unexpected argument {args[len(positional)]!r}; expected {expected}, then --flags")
    named = [part for name, word in zip(positional, args[:words], strict=False) for part in (f"--{name}", word)]
    return named + args[words:]


def _parse_without_tyro(kind: Any, args: list[str]) -> Any:
    if kind not in (configs.VerifyConfig, configs.DoctorConfig):
        raise UsageError(
            "only `verify FILE.onnx contract.json` and `doctor` work without tyro; "
            "install edgeailite with its dependencies (pip install FOLDER_OF_THE_CHECKOUT)",
            code="not-installed",
        )
    verifies = kind is configs.VerifyConfig
    parser = argparse.ArgumentParser(prog=f"edgeailite {'verify' if verifies else 'doctor'}", description=kind.__doc__)
    if verifies:
        parser.add_argument("--model", type=Path, required=True)
        parser.add_argument("--contract", type=Path, required=True)
        parser.add_argument("--threads", type=int)
    for flag in ("skip_hash", "json") if verifies else ("json",):
        parser.add_argument(f"--{flag}", type=lambda text: text == "True", default=False, metavar="{True,False}")
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            return kind(**vars(parser.parse_args(args)))
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise UsageError(output.getvalue().strip().splitlines()[-1].replace(": error", "")) from None
