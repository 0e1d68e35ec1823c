"""Files beside those that a data set reads: masks and pictures that are left over, and lists with traps in them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from edgeailite.data.check.findings import Finding
from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.data.files.listing import DRIVE
from edgeailite.data.source import DataSource, Item
from edgeailite.errors import counted
from edgeailite.files import open_regular

UNREAD_SUFFIXES = tuple(
    suffix
    for suffix in (
        ".gif", ".heic", ".heif", ".avif", ".jxl", ".jfif", ".jpe", ".jif", ".tga", ".jp2", ".j2k", ".jpx", ".pgm",
        ".pbm", ".pnm", ".pfm", ".exr", ".hdr", ".psd", ".svg", ".pcx", ".ico", ".mpo", ".dds", ".ras", ".sr", ".dng",
        ".raw", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".npy", ".npz", ".mat", ".dcm", ".nii", ".h5",
        ".tfrecord", ".mp4", ".avi", ".mov", ".mkv",
    )
    if suffix not in IMAGE_SUFFIXES
)  # fmt: skip
PICTURE_SUFFIXES = (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)
LIST_FOLDERS = ("", "splits", "lists", "ImageSets", "ImageSets/Segmentation")
LIST_SUFFIXES = (".txt", ".lst")
MARK = b"\xef\xbb\xbf"
BYTES_READ = 64_000_000  # of a list


def stray_files(sources: Sequence[DataSource]) -> list[Finding]:
    """Find pictures that lie beside the listed ones and are not used, and masks of a kind that is not read.

    Such a picture shares a listed name, has a mask and is not listed, or is of a kind that is not read.
    """
    used = {str(path) for source in sources for item in source.items for path in _files(item)}
    folders: dict[str, Counter[str]] = defaultdict(Counter)  # of pictures: suffixes in use
    masks: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for item in source.items:
            folders[str(item.image.parent)][item.image.suffix] += 1
            for label in item.labels.values():
                if isinstance(label, Path):
                    masks[str(item.image.parent)].add(str(label.parent))
    found = []
    told: set[str] = set()
    for folder, suffixes in folders.items():
        names = _pictures(folder)
        stems: dict[str, list[str]] = defaultdict(list)
        for name in names:
            stems[name.rpartition(".")[0].casefold()].append(name)
        labelled = {name.rpartition(".")[0].casefold() for mask in masks[folder] - {folder} for name in _pictures(mask)}
        usual = suffixes.most_common(1)[0][0]
        for name in names:
            path = str(Path(folder) / name)
            if path in used:
                continue
            stem, suffix = name.rpartition(".")[0], "." + name.rpartition(".")[2]
            twin = next((other for other in stems[stem.casefold()] if str(Path(folder) / other) in used), None)
            if twin is not None:
                found.append(Finding("duplicate-stem", path, f"one name with {twin}; rename or remove one of them"))
                told.add(path)
            elif stem.casefold() in labelled and suffix != usual:
                message = f"has a mask, but the data set reads {usual} here; convert or rename it"
                found.append(Finding("unread-picture", path, message))
                told.add(path)
    labels = {mask for ours in masks.values() for mask in ours} - set(folders)
    for code, places in (("unread-picture", folders), ("unread-mask", labels)):
        for folder in sorted(places):
            found += _unread(folder, code, told)
    return found


def _unread(folder: str, code: str, told: Set[str]) -> list[Finding]:
    """Make one finding for each kind of file that is not read, naming one of its files."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in _pictures(folder):
        suffix = Path(name).suffix.lower()
        if suffix in UNREAD_SUFFIXES and str(Path(folder) / name) not in told and not name.startswith("."):
            kinds[suffix].append(name)
    return [
        Finding(
            code,
            str(Path(folder) / names[0]),
            f"{counted(len(names), 'file')} of kind {suffix} in this folder, which the data set "
            "does not read; convert them to PNG or JPEG, or move them away",
        )
        for suffix, names in kinds.items()
    ]


def _files(item: Item) -> Iterable[Path]:
    return (*item.images, *(label for label in item.labels.values() if isinstance(label, Path)))


def _pictures(folder: str) -> list[str]:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return []
    return sorted(name for name in names if name.lower().endswith(PICTURE_SUFFIXES))


def check_lists(root: Path, splits: Iterable[str]) -> list[Finding]:
    """Find traps in the lists of a data set, whether its reader uses them or not: other tools will."""
    wanted = ("train", "val", "test", *splits)
    found = []
    for folder in LIST_FOLDERS:
        try:
            paths = sorted(path for path in (root / folder).iterdir() if path.suffix.lower() in LIST_SUFFIXES)
        except OSError:
            continue
        for path in paths:
            if path.stem.lower().startswith(wanted):
                found += _check_list(path, root)
    return found


def _check_list(path: Path, root: Path) -> list[Finding]:
    try:
        with open_regular(path) as file:
            data = file.read(BYTES_READ)
    except OSError as error:
        return [Finding("unreadable", str(path), f"cannot be read ({error.strerror}); give leave to read it")]
    found = []
    if data.startswith(MARK):
        message = "starts with a byte-order mark, which other tools take for a part of the first name; save as UTF-8"
        found.append(Finding("list-byte-order-mark", str(path), message))
    if b"\r\n" in data:
        count = data.count(b"\r\n")
        message = f"{count} line ends of Windows (CRLF), which other tools take for a part of the names; use LF"
        found.append(Finding("list-line-ends", str(path), message))
    seen: dict[str, int] = {}
    absolute = repeated = None
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        if absolute is None and (DRIVE.match(name) or name.startswith("/")) and not _is_below(name, root):
            absolute = f"line {number}: {name} is a path of one machine; write names relative to the data set"
        if repeated is None and name in seen:
            repeated = f"line {number}: {name} is named again, as in line {seen[name]}; remove one"
        seen[name] = number
    if absolute is not None:
        found.append(Finding("list-absolute-path", str(path), absolute))
    if repeated is not None:
        found.append(Finding("list-repeated", str(path), repeated))
    return found


def _is_below(name: str, root: Path) -> bool:
    """Tell if a line begins with a path relative to the data set's folder, as lists of VOC and CamVid do."""
    words = name.lstrip("/").split()
    try:
        return bool(words) and ".." not in words[0].split("/") and (root / words[0]).is_file()
    except OSError:
        return False
