"""A Ray cluster of several nodes on this machine, what its processes use, and what kills them: for `fleet.py`.

A node is a raylet with its own workers, started as `ray start` would start it. Killing one is SIGKILL to all its
processes at once, as a power cut; a new node takes its place. Killing a worker is SIGKILL to one process.

    python benchmarks/fleet_cluster.py worker PID     kill a worker of the running benchmark PID; further ones by hand
    python benchmarks/fleet_cluster.py node PID       kill the raylet of a worker, with everything below it
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
NODES, TRIES = 2, 5
EACH = {"object_store_memory": 256 << 20, "include_log_monitor": False}
WORKER = "ray::MapWorker"
SETTINGS = {
    "RAY_worker_niceness": "0",  # else all other work of this machine goes before the workers
    "RAY_health_check_timeout_ms": "60000",  # a slow node is not dead; a killed one is seen after 15 s
    "RAY_worker_register_timeout_seconds": "600",  # 60 is too short to import Python packages at a load of 20
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_prestart_worker_first_driver": "0",  # idle workers, one per CPU, would compete for the machine
}


@dataclass(frozen=True)
class Process:
    """A process of now: its parent, command, processor seconds, and resident memory in MB."""

    pid: int
    parent: int
    command: str
    seconds: float
    memory: float


def processes() -> dict[int, Process]:
    """Return all processes of this machine."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):  # one that ends meanwhile
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            seconds = (int(fields[11]) + int(fields[12])) / TICKS
            pid = int(folder.name)
            found[pid] = Process(pid, int(fields[1]), command, seconds, int(fields[21]) * PAGE / 1e6)
    return found


def below(root: int, every: dict[int, Process]) -> list[Process]:
    """Return the processes that descend from one."""
    children: dict[int, list[Process]] = {}
    for process in every.values():
        children.setdefault(process.parent, []).append(process)
    found, waiting = [], [root]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += [process.pid for process in mine]
    return found


@dataclass
class Usage:
    """What this process' descendants use, looked at every second: (seconds, driver's MB, largest worker's MB).

    `first` are the seconds until `first_picture()` was true.
    """

    first_picture: Callable[[], bool]
    every: float = 1.0
    first: float = 0.0
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    processor: dict[int, float] = field(default_factory=dict)  # seconds of each process, dead ones too
    _end: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def of(self, driver: int) -> Iterator[Usage]:
        """Look until the end of the block; seconds from before it are not counted."""
        before = {one.pid: one.seconds for one in below(os.getpid(), processes()) if one.pid != driver}
        thread = threading.Thread(target=self._look, args=(driver, before), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()

    def _look(self, driver: int, before: dict[int, float]) -> None:
        began = time.perf_counter()
        known: set[int] = set()  # also those that a dead parent has left
        while True:
            every = processes()
            known |= {one.pid for one in below(os.getpid(), every)}
            for pid in known & every.keys():
                self.processor[pid] = every[pid].seconds - before.get(pid, 0.0)
            workers = [every[pid].memory for pid in known & every.keys() if every[pid].command.startswith(WORKER)]
            here = every[driver].memory if driver in every else 0.0
            if not self.first and self.first_picture():
                self.first = time.perf_counter() - began
            if here:
                self.samples.append((time.perf_counter() - began, here, max(workers, default=0.0)))
            if self._end.wait(self.every):
                return

    @property
    def seconds(self) -> float:
        """Return the processor seconds of all."""
        return sum(self.processor.values())

    def memory_at(self, share: float) -> tuple[float, float]:
        """Return the largest memory of driver and of a worker in the tenth of the time that ends at this share."""
        if not self.samples:
            return 0.0, 0.0
        end = self.samples[-1][0] * share
        there = [one for one in self.samples if end - self.samples[-1][0] / 10 <= one[0] <= end] or self.samples[-1:]
        return max(one[1] for one in there), max(one[2] for one in there)


class Nodes:
    """A cluster: a head without workers, which the driver is connected to, and nodes for so many workers each."""

    def __init__(self, workers: int) -> None:
        from ray.cluster_utils import Cluster

        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        self.workers = workers
        self.cluster: Any = patiently(
            lambda: Cluster(
                True, head_node_args={"num_cpus": 0, "include_dashboard": False, "no_monitor": True, **EACH}
            )
        )
        for _ in range(NODES):
            self.add()

    @property
    def address(self) -> str:
        """Return what `--address` takes."""
        return str(self.cluster.address)

    def add(self) -> None:
        """Start a node."""
        patiently(lambda: self.cluster.add_node(num_cpus=self.workers, **EACH))

    def kill_one(self, rng: random.Random) -> bool:
        """Kill a node that has a worker of the job, and start another; False if there is none now."""
        every = processes()
        busy = [node for node in self.cluster.worker_nodes if any(_is_worker(p) for p in _of_node(node, every))]
        if not busy:
            return False
        node = rng.choice(sorted(busy, key=lambda one: one.node_id))
        for process in _of_node(node, every):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.cluster.remove_node(node, allow_graceful=False)
        self.add()
        return True

    def close(self) -> None:
        """End all processes."""
        self.cluster.shutdown()


def patiently(start: Callable[[], Any]) -> Any:
    """Return what `start()` returns; again where Ray gives up after half a minute, as on a busy machine."""
    before = {one.pid for one in below(os.getpid(), processes())}
    for _ in range(TRIES - 1):
        try:
            return start()
        except Exception as error:  # noqa: BLE001 - ray raises Exception itself
            print(f"  {error}; again", flush=True)
            for process in below(os.getpid(), processes()):
                if process.pid not in before:
                    os.kill(process.pid, signal.SIGKILL)
    return start()


def _of_node(node: Any, every: dict[int, Process]) -> list[Process]:
    """Return the processes of a node."""
    roots = [one.process.pid for kind in node.all_processes.values() for one in kind]
    return [every[pid] for pid in roots if pid in every] + [p for pid in roots for p in below(pid, every)]


def _is_worker(process: Process) -> bool:
    return process.command.startswith(WORKER)


def kill_worker(rng: random.Random, root: int | None = None) -> bool:
    """Kill a worker of the job that a process' cluster runs, by default this one's; False if there is none now."""
    found = sorted(one.pid for one in below(root or os.getpid(), processes()) if _is_worker(one))
    if found:
        os.kill(rng.choice(found), signal.SIGKILL)
    return bool(found)


def kill_node(root: int) -> bool:
    """Kill the raylet of a worker below a process, with all below it; False if there is none now."""
    every = processes()
    parents = [every[one.parent] for one in below(root, every) if _is_worker(one) and one.parent in every]
    raylet = next((parent for parent in parents if "raylet" in parent.command), None)
    for process in [] if raylet is None else [raylet, *below(raylet.pid, every)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return raylet is not None


def kill_at(
    moments: list[tuple[float, Callable[[], bool]]], progress: Callable[[], float], running: Callable[[], bool]
) -> int:
    """Wait for each share of the work and kill then; return how many kills there were until the job ended."""
    killed = 0
    for share, kill in moments:
        while running() and (progress() < share or not kill()):
            time.sleep(0.2)
        killed += running()
    return killed


def main() -> None:
    """Kill what the words say; exit 1 if it is not there."""
    kind, root = sys.argv[1], int(sys.argv[2])
    killed = kill_worker(random.Random(), root) if kind == "worker" else kill_node(root)
    print(f"{kind}: {'killed' if killed else 'none there'}")
    raise SystemExit(not killed)


if __name__ == "__main__":
    main()
