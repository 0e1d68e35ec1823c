"""The parent of all cases: it imports everything once, forks a child per case, waits, and has the ends judged."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgeailite
from edgeailite.untrusted import printable
from tests.fuzz.case import Group
from tests.fuzz.child import MEMORY, Folder, fork, play
from tests.fuzz.folders import Look, changes, leftovers, look
from tests.fuzz.judge import Ended, Failure, judge
from tests.fuzz.seeds import MAKERS, Seeds, with_origins

WAITING = 3  # a busy machine makes a case wait; one that waits for nothing is stopped after so many limits
HEAVY = ("torch._dynamo", "torch.onnx._internal.exporter._core", "onnxsim")  # seconds each; only exports need them
OTHERS = (
    "matplotlib.pyplot",
    "tyro",
    "yaml",
    "jinja2",
    "flask",
    "waitress",
    "onnx",
    "safetensors.torch",
    "werkzeug.test",
)


@dataclass(frozen=True)
class Planned:
    """A case to come."""

    group: Group
    name: str
    number: int


@dataclass(frozen=True)
class Result:
    """A case that has been played."""

    group: str
    ended: Ended
    failures: Sequence[Failure]


def import_everything(*, heavy: bool) -> None:
    """Import all modules now, so that no case does; no thread may run yet, a fork would lose it."""
    for module in pkgutil.walk_packages(edgeailite.__path__, "edgeailite."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ModuleNotFoundError):  # an optional part
                importlib.import_module(module.name)
    for name in (*OTHERS, *(HEAVY if heavy else ())):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"{threads} threads run before the first fork")


def _making(maker: Callable[[Path], None], folder: Path) -> Callable[[], int]:
    def make() -> int:
        maker(folder)
        return 0

    return make


def plan(groups: Sequence[Group], cases: int) -> list[Planned]:
    """About so many cases, shared out between the groups; a case of a name is the same in every plan."""
    total = sum(group.share for group in groups)
    counts = {group.name: max(1, round(cases * group.share / total)) for group in groups}
    return [
        Planned(group, f"{group.name}-{number:04d}", number) for group in groups for number in range(counts[group.name])
    ]


class Runner:
    """Plays cases, several at a time, each in a folder of its own below `root`."""

    def __init__(self, root: Path, *, seed: int, limit: float, jobs: int, keep: bool) -> None:
        self.root, self.seeds, self.seed = root, Seeds(root / "seeds"), seed
        self.limit, self.jobs, self.keep = limit, jobs, keep
        self.seeds_before: Look = {}

    def make_seeds(self, names: Sequence[str]) -> None:
        """Make the seeds of these names, and what they are made of. Raises RuntimeError with what went wrong."""
        for name in with_origins(names):
            folder, log = self.seeds / name, self.root / f"{name}.log"
            for new in (folder, log):
                new.mkdir(parents=True)
            _, status = os.waitpid(fork(_making(MAKERS[name], folder), folder=log), 0)
            if status:
                raise RuntimeError(f"seed {name}: {Folder(log).text('err')[-2000:]}")
            shutil.rmtree(log)

    def play(self, cases: Sequence[Planned]) -> Iterator[Result]:
        """The results, as they come."""
        self.seeds_before = look(self.seeds.root)
        waiting = list(reversed(cases))
        running: list[_Running] = []
        while waiting or running:
            while waiting and len(running) < self.jobs:
                running.append(self._start(waiting.pop()))
            ready, _, _ = select.select([one.handle for one in running], [], [], 0.2)
            for one in [one for one in running if one.handle in ready or one.late]:
                running.remove(one)
                yield self._finish(one)

    def _start(self, case: Planned) -> _Running:
        folder = Folder(self.root / "cases" / case.name)
        folder.make()

        def action() -> int:
            return play(
                case.group, case.name, case.number, seed=self.seed, folder=folder, seeds=self.seeds, limit=self.limit
            )

        pid = fork(action, folder=folder.root)
        return _Running(case, folder, pid, os.pidfd_open(pid), time.monotonic(), self.limit)

    def _finish(self, one: _Running) -> Result:
        late = not select.select([one.handle], [], [], 0)[0]
        if late:
            os.kill(one.pid, signal.SIGUSR1)  # the child says where it is
            time.sleep(0.3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        _, status, used = os.wait4(one.pid, 0)
        os.close(one.handle)
        seconds = time.monotonic() - one.began
        ended = self._read(one, None if late else os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss * 1024)
        failures = self._judge(one, ended)
        if not self.keep:
            shutil.rmtree(one.folder.root)
        return Result(one.case.group.name, ended, failures)

    def _read(self, one: _Running, code: int | None, seconds: float, memory: int) -> Ended:
        known = json.loads(one.folder.text("about.json") or '{"about": "?", "argv": []}')
        rules = {name: bool(known.get(name)) for name in ("honest", "wrong", "greedy")}
        out, err, place = (one.folder.text(name) for name in ("out", "err", "place"))
        return Ended(
            one.case.name, known["about"], tuple(known["argv"]), code, seconds, memory, out, err, place=place, **rules
        )

    def _judge(self, one: _Running, ended: Ended) -> list[Failure]:
        if not (one.folder / "about.json").is_file():
            hung = f"not built after {ended.seconds:.0f} s"
            lines = [line for line in ended.err.splitlines() if line.strip()]
            return [
                Failure("harness", hung if ended.code is None else (lines or [f"exit code {ended.code}"])[-1][:200])
            ]
        fault = one.folder.text("fault.json")
        found = [Failure(*json.loads(fault))] if fault else []
        return found + judge(ended, memory=MEMORY) + self._written(one)

    def _written(self, one: _Running) -> list[Failure]:
        """Files outside the box, and half-written ones in it."""
        found = []
        names = {"box", "canary", "home", "tmp", "out", "err", "place", "about.json", "before.json", "fault.json"}
        strange = [path.name for path in one.folder.root.iterdir() if path.name not in names]
        strange += [f"home/{name}" for name in look(one.folder / "home")]
        canary = {name: (one.folder / "canary" / name).read_bytes() for name in look(one.folder / "canary")}
        if canary != {"victim.txt": b"precious\n", ".profile": b"# start-up file\n"}:
            strange.append("canary")
        strange += changes(self.seeds_before, now := look(self.seeds.root))
        self.seeds_before = now
        if strange:
            found.append(Failure("written outside", ", ".join(strange[:3])))
        before = json.loads(one.folder.text("before.json"))
        half = leftovers(before, look(one.folder / "box"))
        if half:
            found.append(Failure("left half-written", ", ".join(half[:3])))
        return found


@dataclass(frozen=True)
class _Running:
    case: Planned
    folder: Folder
    pid: int
    handle: int
    began: float
    limit: float

    @property
    def late(self) -> bool:
        """Whether it has had its time: so many seconds of computing, or three times as many of waiting."""
        about = self.folder.text("about.json")
        limit = self.limit * (json.loads(about)["patience"] if about.endswith("}") else 1.0)
        waited = time.monotonic() - self.began
        return waited > limit and (waited > WAITING * limit or _computed(self.pid) > limit)


def _computed(pid: int) -> float:
    """Seconds of processor time, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def describe(result: Result) -> str:
    """A failed case on one line."""
    words, failure = " ".join(result.ended.argv)[:160], result.failures[0]
    line = f"{result.ended.name} [{result.ended.about[:60]}] {failure.kind}: {failure.detail[:200]} | {words}"
    return printable(line)
