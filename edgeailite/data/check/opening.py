"""Opens a split that may be broken: collects every problem of its listing, and opens what remains.

A reader stops at the first problem, as it should when training. Here it then reads a mirror of the data set (a folder
of links, in the temporary folder) without the file that it named, and so on until it raises nothing. If nothing says
what label values mean, the mirror gets settings that name each value. Nothing in the data set itself is touched. Lists
are copied, so that a bad line can be left out. If a file cannot be left out, this stops: the message is a finding, and
the split has no items.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeailite.data.check.findings import Finding, from_error
from edgeailite.data.sets.folder_settings import FILE
from edgeailite.data.sets.folder_values import UnclearLabelsError
from edgeailite.data.source import DataSource
from edgeailite.errors import DataError, UsageError

Open = Callable[[Path, str], DataSource]
MAX_ROUNDS, MAX_SECONDS = 500, 30.0  # per split: beyond that, the message with its own "and N more" has to do
LIST_SUFFIXES = (".txt", ".lst", ".csv", ".odgt")
MAX_LIST_BYTES = 64_000_000
ASK_MEANING = {"not-two-classes", "gaps", "palettes-differ", "colours-unclear"}  # errors that ask for settings


@dataclass
class OpenedSplit:
    """A split as far as it could be opened; `source` is None where nothing remained."""

    split: str
    source: DataSource | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass
class Mirror:
    """A folder of links to the files of `root`, made when it is first needed."""

    root: Path
    folder: Path
    made: bool = False
    left_out: set[str] = field(default_factory=set)  # names without suffix
    lines_out: int = 0  # lines of lists that were left out
    findings: list[Finding] = field(default_factory=list)

    def make(self) -> None:
        """Link every file; links that lead nowhere or in a circle are findings and are left out."""
        if not self.made:
            self.made = True
            self._copy(self.root, self.folder, (os.path.realpath(self.root),))

    def _copy(self, real: Path, here: Path, above: tuple[str, ...]) -> None:
        here.mkdir(parents=True, exist_ok=True)
        try:
            entries = sorted(os.scandir(real), key=lambda entry: entry.name)
        except OSError as error:
            message = f"cannot be read ({error.strerror}); give leave to read it"
            self.findings.append(Finding("unreadable", str(real), message))
            return
        for entry in entries:
            path, link = real / entry.name, here / entry.name
            code = broken_link(path) if entry.is_symlink() else None
            target = os.path.realpath(path) if code is None else ""
            if code is None and entry.is_dir() and target in above:
                code = "link-loop"
            if code is not None:
                where = path.readlink()
                self.left_out.add(path.stem)
                self.findings.append(Finding(code, str(path), f"link to {where}; mend or remove the link"))
            elif entry.is_dir():
                self._copy(path, link, (*above, target))
            elif _is_list(entry):
                self._copy_text(path, link)
            else:
                link.symlink_to(target)

    def _copy_text(self, path: Path, copy: Path) -> None:
        """A list, with absolute paths below the data set as those of the mirror."""
        try:
            text = path.read_bytes()
        except OSError:
            copy.symlink_to(path)
            return
        real, here = (f"{folder.resolve()}/".encode() for folder in (self.root, self.folder))
        copy.write_bytes(text.replace(real, here))

    def real(self, text: str) -> str:
        """Replace the mirror's paths in a text by those of the data set."""
        return text.replace(str(self.folder), str(self.root))

    def leave_out(self, error: DataError) -> bool:
        """Remove from the mirror the cause of a reader's error; False if the cause is not known."""
        if error.path is None:
            return False
        path = Path(error.path)
        if error.line is not None:
            dropped = _drop_line(path, error.line)
            self.lines_out += dropped
            return dropped
        if path.suffix == ".json":  # without its annotations the split is another
            return False
        if self.folder in path.parents and path.is_symlink():
            path.unlink()
            self.left_out.add(path.stem)
            return True
        return False

    def name_labels(self, label_map: Mapping[int, str]) -> bool:
        """Give label values names in settings of the mirror, so that masks can be read; False the second time."""
        file = self.folder / FILE
        if not label_map or (file.is_file() and not file.is_symlink()):
            return False
        file.unlink(missing_ok=True)
        rows = ", ".join(f"{value}: {name}" for value, name in label_map.items())
        file.write_text(f"label_map: {{{rows}}}\n", encoding="utf-8")
        return True

    def follows(self, finding: Finding) -> bool:
        """Tell if a finding is only a consequence of a removed file: a missing partner, or masks without a meaning."""
        if Path(FILE).stem in self.left_out and finding.cause in ASK_MEANING:
            return True
        return finding.code in ("missing-mask", "mask-without-picture") and Path(finding.file).stem in self.left_out


def _is_list(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(LIST_SUFFIXES) and entry.is_file() and entry.stat().st_size < MAX_LIST_BYTES


def broken_link(path: Path) -> str | None:
    """Return the code for a link that leads nowhere; None for any other file."""
    try:
        path.stat()
    except FileNotFoundError:
        return "dangling-link"
    except OSError as error:
        return "link-loop" if error.errno == errno.ELOOP else "unreadable"
    return None


@contextmanager
def mirrored(root: Path) -> Iterator[Mirror]:
    """Make a mirror that exists as long as the data opened through it is read."""
    with tempfile.TemporaryDirectory(prefix="edgeailite-check-") as folder:
        yield Mirror(root, Path(folder) / root.resolve().name)


def open_split(read: Open, root: Path, split: str, mirror: Mirror) -> OpenedSplit:
    """Open a split with its reader; on problems again through the mirror, one finding for each."""
    opened = OpenedSplit(split)
    try:
        opened.source = read(root, split)
        return opened
    except DataError as error:
        first = error
    mirror.make()
    began = time.monotonic()
    for _ in range(MAX_ROUNDS):
        try:
            opened.source = read(mirror.folder, split)
            break
        except UsageError:
            break  # what was left out was the split itself; that is said already
        except DataError as error:
            raised = error
        finding = from_error(raised, default="listing").renamed(mirror.real)
        if finding.code == "empty-split" and (mirror.left_out or mirror.lines_out):
            finding = Finding("listing", "", "nothing remains of it without the files that are named with other errors")
        if not finding.file:
            finding = replace(finding, file=f"split {split}")
        if not mirror.follows(finding):
            opened.findings.append(finding)
        if isinstance(raised, UnclearLabelsError):
            done = mirror.name_labels(raised.label_map)
        else:
            done = mirror.leave_out(raised)
        if time.monotonic() - began > MAX_SECONDS or not done:
            break
    if opened.source is not None and not opened.findings and not mirror.findings:
        opened.findings.append(from_error(first, default="listing"))
    return opened


def _drop_line(path: Path, number: int) -> bool:
    """Make a line of a copied list empty."""
    if path.is_symlink() or not path.is_file():
        return False
    lines = path.read_bytes().splitlines(keepends=True)
    if not 0 < number <= len(lines) or not lines[number - 1].strip():
        return False
    lines[number - 1] = b"\n"
    path.write_bytes(b"".join(lines))
    return True
