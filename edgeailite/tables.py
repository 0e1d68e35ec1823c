"""Tables on stdout at any width: numbers are never cut, and what does not fit beside goes below.

On a terminal a table is drawn with lines; in a pipe or a file it is plain text, aligned with spaces, as wide as it
needs, or as the environment variable COLUMNS says.
"""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Column, Table

NUMBER = re.compile(r"[-+<>≥≤]*[\d.,]*\d[\d.,]*( ?%)?|[-–]|")
LEAST_TEXT = 16  # columns that a text keeps at least; a longer one is folded
LONGEST_PART = 0.4  # share of the page that a word may claim for itself; one that is longer is broken anywhere
UNLIMITED = 100_000  # columns of a pipe
RULED, PLAIN = 3, 2  # columns between two cells, with lines and without
PART = re.compile(r"[^-_/.,=:\s]*[-_/.,=:]+|[^-_/.,=:\s]+")  # of a name or a path: a line may end behind it


def print_table(table: Table) -> None:
    """Print a table to stdout, its title on a line of its own above it, however narrow the table is."""
    title, table.title = table.title, None
    if title is not None:
        print(title)
    for line in lines_of(table, width=width_of_stdout(), ruled=sys.stdout.isatty()):
        print(line)


def print_entries(entries: Mapping[str, str], name_width: int, indent: str = "  ") -> None:
    """Print names with a line of text each, in two columns; a line that the page is too narrow for goes on below."""
    columns = max(width_of_stdout() - len(indent) - name_width - 1, LEAST_TEXT)
    for name, text in entries.items():
        first, *more = textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False) or [""]
        print(f"{indent}{name:<{name_width}} {first}".rstrip())
        for line in more:
            print(f"{indent}{'':<{name_width}} {line}")


def print_text(text: str) -> None:
    """Print lines of text; one that is wider than the page goes on below, further in, and no word is broken."""
    columns = max(width_of_stdout(), 2 * LEAST_TEXT)
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())] + "    "
        wrapped = textwrap.wrap(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        print("\n".join(wrapped) if len(line) > columns else line)


def width_of_stdout() -> int:
    """Return the columns of the terminal; in a pipe COLUMNS where it is a number, else as many as a table needs."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or UNLIMITED
    except (OSError, ValueError):  # no terminal, or no file at all
        return UNLIMITED


def lines_of(table: Table, *, width: int, ruled: bool) -> Iterator[str]:
    """Return the lines of a table; where its columns do not fit, further ones stand below, beside the first again."""
    from rich.console import Console

    for number, part in enumerate(_parts(table, width, ruled=ruled)):
        if number and not ruled:
            yield ""
        # What cannot be narrower is wider than the page: the terminal breaks the line, nothing is cut off.
        console = Console(file=io.StringIO(), width=UNLIMITED, markup=False, emoji=False)  # names may hold [/x]
        with console.capture() as captured:
            console.print(part)
        yield from (line.rstrip() for line in captured.get().splitlines())


def _parts(table: Table, width: int, *, ruled: bool) -> Iterator[Table]:
    """Yield the table, or tables of some of its columns each, none wider than `width` if that can be."""
    columns = table.columns
    if not columns:
        return
    between = RULED if ruled else PLAIN
    room = width - (between + 1 if ruled else 0) - _least(columns[0], width)
    chosen: list[Column] = [columns[0]]
    free = room
    for column in columns[1:]:
        needed = _least(column, width) + between
        if needed > free and len(chosen) > 1:
            yield _part(table, chosen, width, ruled=ruled)
            chosen, free = [columns[0]], room
        chosen.append(column)
        free -= needed
    yield _part(table, chosen, width, ruled=ruled)


def _part(table: Table, columns: list[Column], width: int, *, ruled: bool) -> Table:
    """Make a table of some columns of another; where not all fit side by side, heads have several lines."""
    from rich import box
    from rich.table import Table

    tight = len(columns) < len(table.columns) or sum(_natural(column) + RULED for column in columns) >= width
    part = Table(box=box.HEAVY_HEAD if ruled else None, show_header=table.show_header, pad_edge=ruled)
    if not ruled:
        part.padding = (0, PLAIN, 0, 0)
    rooms = _rooms(columns, width, between=RULED if ruled else PLAIN, ruled=ruled)
    for column, room in zip(columns, rooms, strict=True):
        part.add_column(
            _folded(str(column.header), room) if tight else column.header,
            justify=column.justify,
            no_wrap=_is_number(column),
            overflow="fold",
            min_width=room,
            max_width=room,
        )
    broken = [[_broken(str(cell), room) for cell in column.cells] for column, room in zip(columns, rooms, strict=True)]
    for row in zip(*broken, strict=True):
        part.add_row(*row)
    return part


def _rooms(columns: list[Column], width: int, *, between: int, ruled: bool) -> list[int]:
    """Return the columns that each column of a table takes: what the least of all leaves goes to those that want more.

    Heads that can have several lines want nothing: numbers stand closer, and texts have the room.
    """
    rooms = [_least(column, width) for column in columns]
    spare = width - (between + 1 if ruled else 0) - sum(rooms) - between * (len(columns) - 1)
    for wanted in ([_widest(column) for column in columns], [_natural(column) for column in columns]):
        while spare > 0 and (short := [at for at, room in enumerate(rooms) if room < wanted[at]]):
            share = max(spare // len(short), 1)
            for at in short:
                given = min(share, spare, wanted[at] - rooms[at])
                rooms[at] += given
                spare -= given
    return rooms


def _broken(text: str, room: int) -> str:
    """Break names that are longer than the room behind _ / and dots, so that no line ends within a word."""
    lines = [""]
    for piece in re.split(r"(\s+)", text):
        if len(piece) <= room:
            lines[-1] += piece
            continue
        for part in PART.findall(piece):
            if lines[-1].strip() and len(lines[-1].rsplit(" ", 1)[-1]) + len(part) > room:
                lines.append("")
            lines[-1] += part
    return "\n".join(lines)


def _natural(column: Column) -> int:
    """Return the columns that a column of a table takes where there is room."""
    return max(_widest(column), len(str(column.header)))


def _folded(head: str, width: int) -> str:
    return "\n".join(textwrap.wrap(head, max(width, 1), break_long_words=False, break_on_hyphens=False))


def _is_number(column: Column) -> bool:
    """Return True for a column that must not be broken: of numbers, or set to the right."""
    return column.justify == "right" or all(NUMBER.fullmatch(str(cell)) for cell in column.cells)


def _widest(column: Column) -> int:
    return max((len(line) for cell in column.cells for line in str(cell).splitlines()), default=0)


def _least(column: Column, width: int) -> int:
    """Return the columns that a column of a table needs: a number all, a text LEAST_TEXT or its longest part.

    And the longest word of its head.
    """
    cells = _widest(column)
    if not _is_number(column):
        parts = [part for cell in column.cells for word in str(cell).split() for part in PART.findall(word)]
        longest = min(max(map(len, parts), default=0), int(LONGEST_PART * width))
        cells = max(min(cells, LEAST_TEXT), longest)
    return max(cells, *(len(word) for word in [*str(column.header).split(), ""]))
