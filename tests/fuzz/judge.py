"""Whether a case ended well: a documented exit code, one line of error, nothing else, nothing written elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

MEMORY_WORDS = re.compile(
    r"out of memory|MemoryError|bad_alloc|[Cc]annot allocate|Unable to allocate|not enough memory"
)
CODES = (0, 1, 2, 3, 4, 5, 130)
LONGEST_LINE = 2_000  # characters of an error
NOTES = re.compile(
    r"(.+, \d+ tensors loaded|.+: no estimate: |note|warning|skipped|page|list|generating|downloading|listening on|"
    r"ready$|stopped by|before training|resuming|epoch|plan of|calibrated anew|outputs that|measuring|stopped after|"
    r" +\d+ buffers of activation ranges left out|"
    r"libpng (error|warning): |Corrupt JPEG data: |"  # the codecs' own lines, beside ours
    r"classes? .+ never |best|loaded|weights|not tensors|ranges without|split \w+:|\d+ results are|==)"
)
FINDINGS = ("data check",)  # verbs whose findings are their result, with an exit code that is not 0


@dataclass(frozen=True)
class Ended:
    """How a case ended: `code` is None where it was stopped, negative for a signal."""

    name: str
    about: str
    argv: tuple[str, ...]
    code: int | None
    seconds: float
    memory: int
    out: str
    err: str
    place: str = ""  # the stack where it was stopped
    honest: bool = False
    wrong: bool = False
    greedy: bool = False


@dataclass(frozen=True)
class Failure:
    """A row of the table: the kind, and where or what it is."""

    kind: str
    detail: str


def judge(ended: Ended, *, memory: int) -> list[Failure]:
    """Everything that is wrong with an end, worst first."""
    found = []
    if ended.code is None:
        return [Failure("hang", f"{ended.seconds:.0f} s in {place_of(ended.place)}")]
    if "Traceback (most recent call last)" in ended.err:
        found.append(Failure("traceback", f"{exception_of(ended.err)} at {place_of(ended.err)}"))
    elif ended.code < 0 or ended.code not in CODES:
        word = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        found.append(Failure("crash", f"{word} at {place_of(ended.place)}"))
    if ended.memory > memory or (not ended.greedy and MEMORY_WORDS.search(ended.err)):
        found.append(Failure("memory", f"{ended.memory / 1e9:.1f} GB: {first_line(ended.err)}"))
    if found:
        return found
    return [*_lines(ended), *_characters(ended)] or _honesty(ended)


def _lines(ended: Ended) -> list[Failure]:
    """One line of error, the last; before it only notes."""
    lines = ended.err.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ") or line == "interrupted"]
    failed = ended.code not in (0, 1)
    if len(starts) > 1:
        return [Failure("several errors", lines[starts[1]])]
    if not starts and failed:
        silent = ended.argv[:1] == () or " ".join(ended.argv[:2]) in FINDINGS or "usage:" in ended.out
        return [] if silent and ended.out else [Failure("no error line", first_line(ended.err) or "stderr is empty")]
    if starts and ended.code == 0:
        return [Failure("error with exit code 0", lines[starts[0]])]
    notes = lines[: starts[0]] if starts else lines
    noise = [line for line in notes if not NOTES.match(line)]
    if noise:
        return [Failure("noise on stderr", noise[0])]
    if starts and starts[0] < len(lines) - 1:
        return [Failure("error of several lines", lines[starts[0] + 1])]
    if starts and len(lines[-1]) > LONGEST_LINE:
        return [Failure("endless line", f"{len(lines[-1])} characters: {lines[-1][:80]}")]
    return []


def _characters(ended: Ended) -> list[Failure]:
    """Nothing that moves a terminal's cursor, or hides a line."""
    for stream, text in (("stderr", ended.err), ("stdout", ended.out)):
        found = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text)
        if found:
            around = text[max(0, found.start() - 30) : found.start() + 10]
            return [Failure("control characters", f"{stream}: {around!r}")]
    return []


def _honesty(ended: Ended) -> list[Failure]:
    if ended.honest and ended.code != 0:
        return [Failure("honest input refused", f"exit code {ended.code}: {first_line(ended.err)}")]
    if ended.wrong and ended.code == 0:
        return [Failure("believed", ended.about)]
    return []


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line for line in text.splitlines() if line.strip()), "")[:200]


def place_of(stack: str) -> str:
    """File and line of the package where a stack ends; of a stack of faulthandler, where it begins."""
    places = re.findall(r'File ".*?/?(edgeailite/[\w/]+\.py)", line (\d+)', stack)
    if not places:
        return "outside the package"
    file, line = places[0] if "most recent call first" in stack else places[-1]
    return f"{file}:{line}"


def exception_of(text: str) -> str:
    """The class of the exception that a traceback ends with."""
    found = re.findall(
        r"^([\w.]+(?:Error|Exception|Warning|Interrupt|Exit|Fail|Fault|Iteration|\w+))(?::|$)", text, re.MULTILINE
    )
    return found[-1].rpartition(".")[2] if found else "?"
