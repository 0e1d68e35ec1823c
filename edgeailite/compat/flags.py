"""Rows of the tables of published flags: the option of this package for a flag, and the translation of its values.

A rule takes the given values and returns the values of our option, or nothing to leave the option unset. It raises
UsageError, with the reason and what to do, for a value whose effect does not exist here. A value that asks for what is
done anyway is accepted. `note` tells the user what to know; it is printed when the flag is given, and stands in
docs/published_commands.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeailite.errors import UsageError

NOT_GIVEN = ["None"]  # published code takes this word for nothing
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


class FlagError(UsageError):
    """A published flag that cannot be translated; `why` is the reason."""

    def __init__(self, asked: str, why: str) -> None:
        super().__init__(f"{asked}: {why}")
        self.why = why


@dataclass(frozen=True)
class GivenFlag:
    """A flag of a command: its name, its values, the command's phase, and whether it quantizes."""

    flag: str
    values: tuple[str, ...]
    phase: str = "training"
    quantize: bool = False

    def refused(self, why: str) -> FlagError:
        """Return the error for a value whose effect does not exist here."""
        return FlagError(f"{shown(self.flag)} {' '.join(self.values)}", why)


def shown(name: str) -> str:
    """Return a flag as it is typed; keys of YAML files have no dashes."""
    return name if name[:1].isupper() else f"--{name}"


Rule = Callable[[GivenFlag], Sequence[str]]


def same(asked: GivenFlag) -> Sequence[str]:
    """Return the values unchanged."""
    return asked.values


def nothing(asked: GivenFlag) -> Sequence[str]:
    """Accept any value and set no option."""
    return ()


@dataclass(frozen=True)
class Flag:
    """A published flag: our option ("": none), the values it takes, rule, note; `about` is for the page alone."""

    to: str = ""
    takes: str = ""
    rule: Rule = same
    note: str = ""
    about: str = ""


@dataclass(frozen=True)
class Options:
    """A command translated to options of this package (without the leading `--`), and notes for the user."""

    values: Mapping[str, list[str]]
    notes: tuple[str, ...]


def is_true(asked: GivenFlag) -> bool:
    """Return a published truth value (`True`, `yes`, `1`, ...) as a bool. UsageError for another word."""
    word = asked.values[0].lower() if len(asked.values) == 1 else ""
    if word not in TRUE + FALSE:
        raise asked.refused("expected True or False")
    return word in TRUE


def boolean(asked: GivenFlag) -> Sequence[str]:
    """Return the value as True or False, as this command line writes them."""
    return [str(is_true(asked))]


@dataclass(frozen=True)
class OneOf:
    """The value by a table; a table's "" sets no option. Other values are refused, with the reason."""

    table: Mapping[str, str]
    why: str

    def __call__(self, asked: GivenFlag) -> Sequence[str]:
        """The option's values."""
        value = " ".join(asked.values)
        if value not in self.table:
            raise asked.refused(f"expected {' or '.join(self.table)}: {self.why}" if self.table else self.why)
        return self.table[value].split()


@dataclass(frozen=True)
class Only:
    """A rule for a truth value that must be this one, because it asks for what is done anyway."""

    truth: bool
    why: str

    def __call__(self, asked: GivenFlag) -> Sequence[str]:
        """No option; UsageError for the other value."""
        if is_true(asked) != self.truth:
            raise asked.refused(self.why)
        return ()


@dataclass(frozen=True)
class Zeros:
    """Numbers that have to be 0 in the phases named (none: in all)."""

    why: str
    phases: tuple[str, ...] = ()

    def __call__(self, asked: GivenFlag) -> Sequence[str]:
        """No option; UsageError for another number."""
        if not are_zero(asked.values) and (not self.phases or asked.phase in self.phases):
            raise asked.refused(self.why)
        return ()


@dataclass(frozen=True)
class WhereQuantized:
    """A rule of commands that quantize; elsewhere the flag has no effect, here as in the published code."""

    inner: Rule

    @property
    def why(self) -> str:
        """Return the inner rule's reason."""
        return getattr(self.inner, "why", "")

    def __call__(self, asked: GivenFlag) -> Sequence[str]:
        """The inner rule's values, or none."""
        return self.inner(asked) if asked.quantize or asked.phase == "calibration" else ()


def are_zero(values: Sequence[str]) -> bool:
    """Return True if all of these words are the number 0."""
    return all(value.strip("0.") == "" for value in values)


def as_flags(words: Sequence[str]) -> dict[str, list[str]]:
    """Return values by flag (`--flag value ...`, `--flag=value`), the last of equals. UsageError for leading words."""
    given: dict[str, list[str]] = {}
    values: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            values = given[name] = [value] if equals else []
        elif values is None:
            raise UsageError(f"unexpected argument {word!r}; expected --flags")
        else:
            values.append(word)
    return given


def translate(
    flags: Mapping[str, Flag], given: Mapping[str, Sequence[str]], *, phase: str = "training", quantize: bool = False
) -> Options:
    """Translate published flags by the table; flags that it lacks are options of this package already."""
    values: dict[str, list[str]] = {}
    notes = []
    for name, words in given.items():
        flag = flags.get(name, Flag(to=name))
        said = list(flag.rule(GivenFlag(name, tuple(words), phase, quantize)))
        if flag.to and (said or flag.rule is same):
            values[flag.to] = said
        if flag.note:
            notes.append(f"{shown(name)}: {flag.note}")
    return Options(values, tuple(notes))
