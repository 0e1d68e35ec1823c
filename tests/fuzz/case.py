"""What a case of the fuzz run is: files in a folder of its own, and a command line or a function that meets them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.fuzz.seeds import Seeds

T = TypeVar("T")


class Fault(Exception):
    """What a function of a case found wrong: `kind` is a row of the table, `detail` one line."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class World:
    """Where a case plays: `box` is its folder and the current one, `canary` a folder that nobody may write to.

    `rng` gives the same numbers for the same seed and name; `number` counts the cases of a group, so that a group which
    picks its kind by `pick` meets every kind once before one comes again.
    """

    box: Path
    canary: Path
    seeds: Seeds
    rng: random.Random
    number: int

    def pick(self, kinds: Sequence[T], *, after: int = 1) -> T:
        """The kind of this case; `after` is how many kinds a faster choice of the same group has."""
        return kinds[self.number // after % len(kinds)]

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file of the box; returns its path relative to the box."""
        path = self.box / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return Path(name)


@dataclass(frozen=True)
class Call:
    """What is done with the files: words of the command line, or `act`, which raises Fault.

    `about` says in a few words what was made of the files. An `honest` call has to end with 0, one
    whose files are `wrong` beyond doubt with another code. A
    `greedy` one asks for more than there may be, so that a line about memory is right. A server `serves`: it is
    stopped as soon as it is ready. `patience` multiplies the limit of seconds.
    """

    about: str
    words: Sequence[object] = ()
    stdin: bytes = b""
    act: Callable[[], None] | None = None
    honest: bool = False
    wrong: bool = False
    greedy: bool = False
    serves: bool = False
    patience: float = 1.0

    @property
    def argv(self) -> list[str]:
        """The words as text."""
        return [str(word) for word in self.words]


@dataclass(frozen=True)
class Group:
    """Cases of one kind of input. `share` is its part of all cases; `needs` the seeds that have to be there."""

    name: str
    share: int
    build: Callable[[World], Call]
    needs: tuple[str, ...] = field(default=("data", "files"))
