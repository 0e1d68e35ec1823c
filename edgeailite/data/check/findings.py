"""Findings of the check of a data set: one row per code, and the record of one finding.

error: training would stop, or learn or measure something wrong. warning: read, but perhaps not as it was meant. note:
good to know. The codes are part of the command line's interface and do not change their meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from edgeailite.errors import DataError

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
KEPT_PER_CODE = 2000  # further ones are counted only: a message each would fill the memory

CODES: dict[str, tuple[Level, str]] = {
    # the listing
    "listing": ("error", "the data set cannot be listed"),
    "empty-split": ("error", "a split without pictures"),
    "split-needed": ("error", "a split that training needs is not there"),
    "split-missing": ("note", "a split that is not there"),
    "missing-mask": ("error", "a picture without its mask"),
    "missing-file": ("error", "a file that is listed and not there"),
    "mask-without-picture": ("error", "a mask without its picture"),
    "unread-picture": ("warning", "a picture that the data set does not read"),
    "duplicate-stem": ("error", "two pictures or masks of one name"),
    "dangling-link": ("error", "a link to nothing"),
    "link-loop": ("error", "a link to itself or to a folder above it"),
    "unreadable": ("error", "a file that cannot be opened"),
    "list-line-ends": ("note", "a list with line ends of Windows"),
    "list-byte-order-mark": ("note", "a list with a byte-order mark"),
    "list-absolute-path": ("warning", "a list with paths of one machine"),
    "list-repeated": ("warning", "a list that names something twice"),
    # picture files
    "empty-file": ("error", "a file without a byte"),
    "truncated": ("error", "a file that was cut off"),
    "damaged": ("error", "a file with a wrong checksum"),
    "not-a-picture": ("error", "a file that is no picture"),
    "unsupported": ("error", "a format that is not read"),
    "animated": ("error", "a file with several frames"),
    "too-large": ("error", "a header that asks for too many pixels"),
    "wrong-suffix": ("warning", "a file that is of another format than its name says"),
    "tiny": ("warning", "a picture smaller than the networks' stride"),
    "extreme-aspect": ("warning", "a picture much longer than wide, or the other way round"),
    "exif-rotated": ("warning", "a picture that is to be shown turned, and is used as stored"),
    "cmyk": ("warning", "a picture in printer's colours"),
    "deep": ("warning", "a picture of more than 8 bits, which are cut off"),
    "bands": ("warning", "a picture with more bands than red, green and blue"),
    "transparent": ("warning", "a picture with transparent pixels, which are shown"),
    "blank": ("warning", "a picture of one colour"),
    "grey": ("note", "a picture without colours"),
    "alpha": ("note", "a picture with an opaque alpha channel"),
    "colour-profile": ("note", "a picture whose colour profile is not applied"),
    # masks
    "size-mismatch": ("error", "a mask or second picture of another size than the picture"),
    "colour-mask": ("error", "a mask in colours"),
    "lossy-mask": ("error", "a mask whose labels were blurred by compression"),
    "bad-label-file": ("error", "a label file that cannot be read"),
    "label-out-of-range": ("error", "label values without a class"),
    "unmapped-ignore": ("error", "255 or -1 for 'ignore', which the data set does not know"),
    "off-by-one": ("error", "labels that are one too high"),
    "all-ignore": ("warning", "a mask without a labelled pixel"),
    "one-class": ("note", "a mask of a single class"),
    "unread-mask": ("warning", "a file among the masks that the data set does not read"),
    # splits
    "single-class": ("error", "a training split with a single class, or none: nothing can be learned"),
    "nothing-labelled": ("error", "a split to validate on without a labelled pixel"),
    "measures-one-class": ("warning", "a split to validate on in which a single class occurs"),
    "class-nowhere": ("warning", "a named class that occurs in no split"),
    "class-untrained": ("warning", "a class that is validated but not in the training split"),
    "class-absent": ("note", "a class that a split lacks"),
    "split-within": ("note", "a split that is a part of another"),
    "leak": ("error", "one picture in two splits"),
    "repeated-picture": ("warning", "one picture twice in a split"),
    "near-duplicate": ("note", "nearly the same picture in two splits"),
    "sequence-split": ("note", "neighbouring frames of a sequence in two splits"),
}

COLOURS_UNCLEAR = "colours-unclear"
CAUSES = {COLOURS_UNCLEAR: "colour-mask"}
"""Codes of errors that are findings of another code."""


@dataclass(frozen=True)
class Finding:
    """One finding. `message` says what, where, the value and the fix; it does not repeat the file's name.

    `values` are label values without a class, and `if_often` the message if other masks have them as well; `colours`
    are those of a mask in colours that nothing explains. `problem` is the message without the fix, and `cause` the code
    of the error that was found, which can be finer than `code`.
    """

    code: str
    file: str
    message: str
    values: tuple[int, ...] = field(default=(), compare=False)
    if_often: str = field(default="", compare=False)
    problem: str = field(default="", compare=False)
    cause: str = field(default="", compare=False)
    colours: tuple[tuple[int, int, int], ...] = field(default=(), compare=False)

    @property
    def level(self) -> Level:
        """Return the level of the code."""
        return CODES[self.code][0]

    def renamed(self, real: Callable[[str], str]) -> Finding:
        """Return the finding with other paths."""
        return replace(
            self,
            file=real(self.file),
            message=real(self.message),
            if_often=real(self.if_often),
            problem=real(self.problem),
        )

    def __str__(self) -> str:
        return f"{self.level}: {self.code}: {self.file}: {self.message}"


def from_error(error: DataError, *, default: str, file: str = "") -> Finding:
    """Make a reader's error a finding; `default` is the code of errors that have none of the table.

    `file` is the file that was looked at, for errors that name no other.
    """
    code = CAUSES.get(error.code, error.code)
    path = "" if error.path is None else str(error.path)
    about = path and (not file or path == file)
    message = error.detail if about else str(error)
    if about and error.other is not None:
        message = f"{message} (the other is {error.other})"
    return Finding(
        code if code in CODES else default,
        path if about else file,
        message,
        problem=error.problem,
        cause=error.code,
        colours=error.value if error.code == COLOURS_UNCLEAR and isinstance(error.value, tuple) else (),
    )


@dataclass
class Findings:
    """A growing list of findings: so many of each code are kept, the others counted; each counts once (by a hash)."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep, or only count."""
        for finding in findings:
            key = hash(finding)
            if key in self.seen:
                continue
            self.seen.add(key)
            if self.counts[finding.code] < KEPT_PER_CODE:
                self.kept.append(finding)
            self.counts[finding.code] += 1

    def count(self, level: Level) -> int:
        """Return the number of findings of a level, kept or not."""
        return sum(count for code, count in self.counts.items() if CODES[code][0] == level)

    def ordered(self) -> list[Finding]:
        """Return errors first, then by code in the order of the table, then as they were found."""
        places = {code: place for place, code in enumerate(CODES)}
        return sorted(self.kept, key=lambda finding: (LEVELS.index(finding.level), places[finding.code]))
