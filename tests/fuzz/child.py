"""One case in a process of its own: forked from one that has imported everything, bounded, output in files."""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.__main__ import main
from tests.fuzz.case import Call, Fault, Group, World
from tests.fuzz.folders import look
from tests.fuzz.seeds import Seeds

MEMORY = 2_500_000_000  # bytes that a case may have in RAM, imported libraries included
MORE_ADDRESSES = 3_000_000_000  # bytes that it may allocate beyond what was there at the fork
LARGEST_FILE = 1_000_000_000
HARNESS = 99  # exit code: the case could not be built


@dataclass(frozen=True)
class Folder:
    """The folder of a case: the box that it may write to, a canary, a home and a place for temporary files."""

    root: Path

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def make(self) -> None:
        """Make it; what lies in the canary must stay as it is."""
        for name in ("box", "canary", "home", "tmp"):
            (self.root / name).mkdir(parents=True)
        (self.root / "canary/victim.txt").write_text("precious\n")
        (self.root / "canary/.profile").write_text("# start-up file\n")

    def text(self, name: str) -> str:
        """A file of it as text; empty where there is none."""
        path = self.root / name
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""


def fork(action: Callable[[], int], *, folder: Path, stdin: Path | None = None) -> int:
    """Run the action in a child process of its own session, output in `out` and `err` of the folder; gives its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = HARNESS
    try:
        os.setsid()
        _redirect(folder, stdin)
        code = action()
    except BaseException:  # noqa: BLE001 - the end of the process: the parent reads what happened
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 1
        os._exit(code & 255)


def _redirect(folder: Path, stdin: Path | None) -> None:
    places = (
        (str(stdin or "/dev/null"), os.O_RDONLY),
        *((str(folder / name), os.O_WRONLY | os.O_CREAT) for name in ("out", "err")),
    )
    for number, (path, flags) in enumerate(places):
        descriptor = os.open(path, flags | (os.O_APPEND if number else 0), 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115 - until the end
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8", errors="strict")
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


def play(group: Group, name: str, number: int, *, seed: int, folder: Folder, seeds: Seeds, limit: float) -> int:
    """Build a case and run it; what was done stands in `about.json`, what was there before in `before.json`."""
    _bound(folder, limit)
    rng = random.Random(f"{seed}/{name}")
    call = group.build(World(folder / "box", folder / "canary", seeds, rng, number))
    about = {
        "about": call.about,
        "argv": call.argv,
        "honest": call.honest,
        "wrong": call.wrong,
        "greedy": call.greedy,
        "patience": call.patience,
    }
    (folder / "before.json").write_text(json.dumps(look(folder / "box")))
    (folder / "about.json").write_text(json.dumps(about))
    if call.stdin:
        descriptor = os.memfd_create("stdin")
        os.write(descriptor, call.stdin)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.dup2(descriptor, 0)
    if call.act is not None:
        return _act(call.act, folder)
    return _command(call, folder)


def _bound(folder: Folder, limit: float) -> None:
    """Everything that a case may have; and a signal that makes it say where it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CPU, (int(20 * limit), int(20 * limit)))
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + MORE_ADDRESSES, addresses + MORE_ADDRESSES))
    os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"))
    tempfile.tempdir = None
    os.chdir(folder / "box")
    told = (folder / "place").open("w")
    faulthandler.enable(told, all_threads=False)
    faulthandler.register(signal.SIGUSR1, told, all_threads=True)
    _KEPT.append(told)


_KEPT: list[Any] = []  # files that must stay open as long as the process


def _act(act: Callable[[], None], folder: Folder) -> int:
    try:
        act()
    except Fault as fault:
        (folder / "fault.json").write_text(json.dumps([fault.kind, fault.detail]))
    except BaseException:  # noqa: BLE001 - a traceback is what is looked for
        traceback.print_exc()
        return 1
    return 0


def _command(call: Call, folder: Folder) -> int:
    if call.serves:
        threading.Thread(target=_stop_when_ready, args=(folder / "err",), daemon=True).start()
    try:
        code = main(call.argv)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # as the interpreter does: a thread that never ends is a hang
    return code


def _stop_when_ready(log: Path) -> None:
    while b"ready\n" not in log.read_bytes():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
