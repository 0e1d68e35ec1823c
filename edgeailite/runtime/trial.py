"""A stranger's file run once in a process of its own, within limits of memory and time.

A session in our own process cannot be stopped: a loop without end, or a tensor of terabytes, would take the whole
program with it. So a file without our metadata (whose operators are not known to end) is first loaded and run by a
child; what the child cannot do in time and memory is an error, and nothing is run here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeailite.errors import DataError
from edgeailite.onnxfile import OnnxFile, read_onnx
from edgeailite.runtime.failures import reason_of
from edgeailite.runtime.metadata import about_of_metadata
from edgeailite.runtime.session import admit, cpu_session
from edgeailite.untrusted import printable

SECONDS = 30  # to load the file and to run it once
BYTES = 3 * 2**29  # beside what the program takes itself, four times the file, and stacks
STACK = 16 * 2**20  # of a thread
READY, FULL = "ok", "out of memory"  # what the child says


def check_file(path: Path, *, height_width: tuple[int, int] | None, threads: int) -> OnnxFile:
    """Read a file that is to be measured, and run it once in a child unless it is as export writes it.

    Raises DataError for a file that is missing or damaged, whose metadata are not in order, or that takes too much to
    run here. A file of ours that another tool went on with (quantized it, say) keeps the metadata: it is tried, too.
    """
    file = read_onnx(path)
    if file.is_own:
        about_of_metadata(file.graph.metadata, where=file.name)
        with contextlib.suppress(DataError):
            admit(file)
            return file
    try_file(file, height_width=height_width, threads=threads)
    return file


def try_file(file: OnnxFile, *, height_width: tuple[int, int] | None, threads: int) -> None:
    """Load and run a file once in a child. Raises DataError where that fails, or takes too much.

    Open heights and widths are `height_width`; a file whose inputs cannot be made is only loaded.
    """
    assert file.path is not None, "a file that came as bytes was made here"
    memory = BYTES + 4 * len(file.data) + STACK * threads
    words = [str(file.path.resolve()), str(memory), str(threads), *map(str, height_width or (0, 0))]
    run_apart(__name__, words, memory=memory, name=file.name)


def run_apart(module: str, words: Sequence[str], *, memory: int, name: str, given: bytes | None = None) -> None:
    """Run a module of ours in a child process, which says READY or a reason; `given` is what it reads from stdin.

    `memory` are the bytes that it was told to keep to. Raises DataError with `name`, the file's, where it says a
    reason, says nothing, or takes too long.
    """
    root = str(Path(__file__).resolve().parents[2])  # found also where the package is not installed
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    try:
        child = subprocess.run(
            [sys.executable, "-m", module, *words],
            input=given or b"",
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "2"},  # each reserves address space
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"takes more than {SECONDS} s to load and to run once",
            path=name,
            fix="it is no network to measure",
            code="over-budget",
        ) from None
    answer = child.stdout.decode(errors="replace").strip()
    if answer == READY and child.returncode == 0:
        return
    if not answer:  # killed, or a fault inside the runtime
        answer = f"ends the process that runs it (exit code {child.returncode})"
    if answer == FULL:
        answer = f"takes more than {memory // 10**6} MB of memory for one picture; it is no network to measure"
    raise DataError(f"{printable(answer)[:500]}", path=name)


def main(words: list[str]) -> int:
    """Run in the child process: limit memory, load and run the file; prints READY, or the reason of the failure."""
    import numpy as np
    import onnxruntime

    path, memory, threads, height, width = words[0], *map(int, words[1:])
    limit_memory(memory)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    done = "onnxruntime cannot load it"
    try:
        session = cpu_session(path, options)
        done = "onnxruntime cannot run it"
        feed = {}
        for value in session.get_inputs():
            given = (1, 3, height, width) if len(value.shape) == 4 else (0,) * len(value.shape)
            shape = [side if isinstance(side, int) else number for side, number in zip(value.shape, given, strict=True)]
            if value.type not in types or 0 in shape:
                print(READY)  # who measures it says what is missing
                return 0
            feed[value.name] = np.zeros(shape, types[value.type])
        session.run(None, feed)
    except MemoryError:
        print(FULL)
        return 1
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds, without a common base
        reason = reason_of(error)
        print(FULL if is_memory(reason) else f"{done} ({reason})")
        return 1
    print(READY)
    return 0


def is_memory(reason: str) -> bool:
    """Return whether a runtime's reason means that memory ran out."""
    return any(word in reason for word in ("bad_alloc", "Failed to allocate memory", "bad allocation"))


def limit_memory(more: int) -> None:
    """Let the process grow by so many bytes; where the system has no such limit, time alone ends it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
