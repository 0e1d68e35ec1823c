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
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Column, Table

NUMBER = re.compile(r"[-+<>≥≤]*[\d.,]*\d[\d.,]*( ?%)?|[-–]|")
LEAST_TEXT = 16  # columns that a text keeps at least; a longer one is folded
UNLIMITED = 100_000  # columns of a pipe
RULED, PLAIN = 3, 2  # columns between two cells, with lines and without
WORD = re.compile(r"[^_/.\s]*[_/.]+|[^_/.\s]+")  # a part of a name or a path, after which a line may end


def print_table(table: Table) -> None:
    """Print a table to stdout, its title on a line of its own above it, however narrow the table is."""
    title, table.title = table.title, None
    if title is not None:
        print(title)
    for line in lines_of(table, width=width_of_stdout(), ruled=sys.stdout.isatty()):
        print(line)


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
        console = Console(file=io.StringIO(), width=width, markup=False, emoji=False)  # names may hold [/x]
        with console.capture() as captured:
            console.print(part)
        yield from (line.rstrip() for line in captured.get().splitlines())


def _parts(table: Table, width: int, *, ruled: bool) -> Iterator[Table]:
    """Yield the table, or tables of some of its columns each, none wider than `width` if that can be."""
    columns = table.columns
    if not columns:
        return
    between = RULED if ruled else PLAIN
    room = width - (between + 1 if ruled else 0) - _least(columns[0])
    chosen: list[Column] = [columns[0]]
    free = room
    for column in columns[1:]:
        needed = _least(column) + between
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
    broken = [[_broken(str(cell), room) for cell in column.cells] for column, room in zip(columns, rooms, strict=True)]
    for column, cells in zip(columns, broken, strict=True):
        number = _is_number(column)
        longest = max((len(word) for cell in cells for word in cell.split()), default=0)
        part.add_column(
            _folded(str(column.header), _least(column)) if tight else column.header,
            justify=column.justify,
            no_wrap=number or (column is table.columns[0] and _widest(column) <= LEAST_TEXT),
            overflow="fold",
            min_width=max(_least(column), longest) if cells != list(column.cells) else _least(column),
        )
    for row in zip(*broken, strict=True):
        part.add_row(*row)
    return part


def _rooms(columns: list[Column], width: int, *, between: int, ruled: bool) -> list[int]:
    """Return the columns that each column of a table may take: texts share what the least of all leaves."""
    least = [_least(column) for column in columns]
    spare = width - (between + 1 if ruled else 0) - sum(least) - between * (len(columns) - 1)
    texts = sum(not _is_number(column) and _widest(column) > room for column, room in zip(columns, least, strict=True))
    return [
        room if _is_number(column) or _widest(column) <= room else room + max(spare, 0) // texts
        for column, room in zip(columns, least, strict=True)
    ]


def _broken(text: str, room: int) -> str:
    """Break names that are longer than the room behind _ / and dots, so that no line ends within a word."""
    lines = [""]
    for piece in re.split(r"(\s+)", text):
        if len(piece) <= room:
            lines[-1] += piece
            continue
        for part in WORD.findall(piece):
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


def _least(column: Column) -> int:
    """Return the columns that a column of a table needs: a number all, a text LEAST_TEXT, and a word of its head."""
    cells = _widest(column)
    return max(
        cells if _is_number(column) else min(cells, LEAST_TEXT),
        *(len(word) for word in [*str(column.header).split(), ""]),
    )
