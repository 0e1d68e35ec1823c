"""What a folder looks like, to see what a case wrote where."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

Look = dict[str, list[object]]  # relative path -> kind, size, time of change, target of a link


def look(folder: Path) -> Look:
    """Everything below a folder; links are not followed."""
    found: Look = {}
    waiting = [folder]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            state = entry.stat(follow_symlinks=False)
            name = os.path.relpath(entry.path, folder)
            size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
            changed = 0 if stat.S_ISDIR(state.st_mode) else state.st_mtime_ns
            target = str(Path(entry.path).readlink()) if entry.is_symlink() else ""
            found[name] = [stat.S_IFMT(state.st_mode), size, changed, target]
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
    return found


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Names that are new, gone or other than before."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def leftovers(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Half-written files that are new."""
    return [name for name in changes(before, after) if name.endswith(".partial") and name in after]
