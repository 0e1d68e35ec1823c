"""What tests read from a page: code blocks, the commands in them, headings as anchors, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "data").glob("*.md")])
FENCE = re.compile(r"^(```+)(\w*)")
LINK = re.compile(r"\[[^\]]*\]\(<?([^)>\s]+)>?\)")
HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")
ENDS = ("|", ";", "&", "&&", "||", ">", ">>", "<", "<<", "2>")
SHELL = ("", "bash", "sh", "console")


@dataclass(frozen=True)
class Block:
    """A block of code: its language ("" where none is named or it is indented), its text and first line."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Fenced blocks, and blocks that are indented by four spaces behind an empty line."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        indented = lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip())
        if fence:
            end = next(n for n in range(at + 1, len(lines)) if lines[n].startswith(fence[1]))
            found.append(Block(fence[2], "\n".join(lines[at + 1 : end]) + "\n", at + 1))
        elif indented:
            end = next((n for n in range(at, len(lines)) if lines[n].strip() and lines[n][:4] != "    "), len(lines))
            found.append(Block("", "\n".join(line[4:] for line in lines[at:end]).rstrip() + "\n", at + 1))
        else:
            end = at
        at = end + 1
    return found


def commands(page: Path) -> list[list[str]]:
    """The words of every shell command in the page's blocks, without what is behind a pipe or a redirection."""
    return [words for block in blocks(page) if block.language in SHELL for words in commands_of(block.text)]


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of the commands of a block; the texts of here-documents are left out, and `...` stands for more."""
    until = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if until:
            until = "" if line.strip() == until else until
            continue
        heredoc = HEREDOC.search(line)
        until = heredoc[1] if heredoc else ""
        yield from _pieces(line)


def _pieces(line: str) -> Iterator[list[str]]:
    reader = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
    reader.whitespace_split = True
    try:
        words = list(reader)
    except ValueError:  # prose or output: quotes that are not closed
        return
    piece: list[str] = []
    taken = True
    for word in [*words, ";"]:
        if word in ENDS:
            if piece and taken:
                yield piece
            piece, taken = [], word in (";", "&&", "||", "|", "&")
        elif word not in ("...", "…"):
            piece.append(word)


def inline(page: Path) -> list[str]:
    """What stands between backticks outside of blocks."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"(?ms)^```.*?^```", "", text)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        inside ^= line.startswith("```")
        if not inside and line.startswith("#"):
            plain = re.sub(r"[^\w\- ]", "", LINK.sub("", line.lstrip("#").strip()).lower()).replace(" ", "-")
            found.add(plain if plain not in found else f"{plain}-{sum(a.startswith(plain) for a in found)}")
    return found


def links(page: Path) -> list[str]:
    """The targets of links and pictures outside of blocks of code."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return LINK.findall(re.sub(r"`[^`]*`", "`code`", "\n".join(lines)))
