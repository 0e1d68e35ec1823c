"""Jobs of many workers on one machine: the same manifest however they are run and killed, rates, and memory.

    python benchmarks/fleet.py                                    1,000 pictures; 1 and 2 workers of Ray, with kills
    python benchmarks/fleet.py --pictures 100000 --workers 1 2 4  at full size
    python benchmarks/fleet.py --pictures 1000000 --size 1 8 --rows shards --workers 2
                                                                  10^6 inputs of one row, to see that nothing grows
    python benchmarks/fleet.py --workers 1 --kills 0 --node_kills 0 --cores 1 --rounds 3
                                                                  Ray beside the plain loop on one core, by turns
    python benchmarks/fleet.py --workers 1 --kills 0 --node_kills 0 --cores 1 --model model_int8.onnx
                                                                  the same around a network that somebody would use
    python benchmarks/fleet.py --only shards                      8 parts as processes, two killed and run again
    python benchmarks/fleet.py --only s3                          an object store on loopback, 1 request in 10 fails

Pictures are made from a seed, as files, which are labelled as files, and as tar shards, which are labelled as tar
shards; the network is one convolution, so that what is measured is everything around it, or --model. Ray runs on a
cluster of several nodes (`fleet_cluster.py`); workers and a node are killed with SIGKILL meanwhile. A row has: pictures
per second of the whole command, and from its first finished picture on; milliseconds of processor time per picture, of
all processes of the job; resident memory of the command's own process (Ray's driver) after a fifth and after nine
tenths of the time, and of the largest worker likewise; the manifest is sorted later. Needs the extra `ray`; `--only s3`
moto and boto3 as well (`pip install "moto[server]" boto3`).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from failing_store import failing_proxy, object_store
from fleet_cluster import Nodes, Usage, kill_at, kill_worker
from onnx import TensorProto, helper, numpy_helper

from edgeailite.environment import cpu_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.describe import Description, describe

CLASSES, PER_SHARD = ("a", "b", "c"), 250
ROWS = ("plain", "files", "local", "shards")
PARTS, KILLED = 8, (2, 5)
LINE = 300  # bytes of a picture in the journal, about
EARLY, LATE = 0.2, 0.9  # of a run: when everything is loaded, and before the manifest is sorted
HEAD = ("", "/s", "/s later", "ms CPU", "driver MB", "worker MB", "manifest")


@dataclass(frozen=True)
class Run:
    """A run of the command: seconds in all and from the first finished picture on, processor seconds, memory."""

    name: str
    tables: Path
    seconds: float
    later: float
    processor: float
    early: tuple[float, float]
    end: tuple[float, float]
    killed: str = ""

    def row(self, pictures: int) -> str:
        """Return the row of the table."""
        memory = [
            f"{first:.0f} -> {last:.0f}" if last else "-" for first, last in zip(self.early, self.end, strict=True)
        ]
        milliseconds = f"{1000 * self.processor / pictures:.2f}"
        values = (f"{pictures / self.seconds:.0f}", f"{pictures / self.later:.0f}", milliseconds, *memory)
        return line(self.name, *values, last_line(self.tables)["sha256"][:16]) + self.killed


def line(*values: str) -> str:
    """Return values as columns."""
    return f"{values[0]:<28}" + "".join(f"{value:>{width}}" for value, width in zip(values[1:], (8, 9, 8, 14, 14, 18)))


def main() -> None:
    """Print a row per run, and whether all manifests are equal and whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), help="height and width of pictures and network")
    parser.add_argument("--model", type=Path, help="an exported file in the place of one convolution")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=ROWS,
                        help="plain, local: one process over files, over shards; files, shards: Ray")  # fmt: skip
    parser.add_argument("--kills", type=int, default=2, help="workers to kill in each run of more than one")
    parser.add_argument("--node_kills", type=int, default=1, help="nodes to kill likewise")
    parser.add_argument("--rounds", type=int, default=1, help="how often all rows are run, by turns")
    parser.add_argument("--cores", type=int, help="cores that all processes together may use; default: all")
    parser.add_argument("--only", choices=("ray", "shards", "s3"), default="ray")
    parser.add_argument("--port", type=int, default=5055, help="of the object store; the next one is the proxy's")
    args = parser.parse_args()
    if args.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.cores :])
    cores = len(os.sched_getaffinity(0))
    print(f"{cpu_model()}, {cores} of {os.cpu_count()} CPUs; {args.pictures} pictures, {args.size[0]}x{args.size[1]}")
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    print(line(*HEAD), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = args.model.resolve() if args.model else smallest_file(root / "model", args.size)
        make_pictures(root, args.pictures, args.size, files=args.only != "ray" or {"plain", "files"} & {*args.rows})
        runs = {"ray": by_ray, "shards": by_parts, "s3": by_store}[args.only]
        found: dict[str, list[Run]] = {}
        ends = []
        for _ in range(args.rounds):
            for run in runs(root, model, args):
                found.setdefault(run.name, []).append(run)
                ends.append(last_line(run.tables))
                print(run.row(args.pictures), f" load {os.getloadavg()[0]:.1f}", flush=True)
                shutil.rmtree(run.tables)
    if args.rounds > 1:
        compared(found, args.pictures)
    whole = all(end["pictures"] == args.pictures and not end["failed"] for end in ends)
    equal = len({end["sha256"] for end in ends}) == 1
    print(f"{len(ends)} manifests, {'all equal' if equal else 'THEY DIFFER'}, "
          f"{'each with every picture' if whole else 'PICTURES ARE MISSING OR FAILED'}")  # fmt: skip
    raise SystemExit(not (equal and whole))


def compared(found: dict[str, list[Run]], pictures: int) -> None:
    """Print the medians of all rounds, and their ratio to those of one process over the same inputs."""
    print(line("medians, and median ratio", "/s", "", "ms CPU", "rate ratio", "CPU ratio"))
    bases = {_inputs(name): runs for name, runs in found.items() if not name.startswith("ray")}
    for name, runs in found.items():
        base = bases.get(_inputs(name), runs)
        rate = statistics.median(pictures / run.seconds for run in runs)
        used = statistics.median(1000 * run.processor / pictures for run in runs)
        faster = statistics.median(one.seconds / run.seconds for one, run in zip(base, runs, strict=True))
        leaner = statistics.median(one.processor / run.processor for one, run in zip(base, runs, strict=True))
        print(line(name, f"{rate:.0f}", "", f"{used:.2f}", f"{faster:.2f}", f"{leaner:.2f}"))


def _inputs(name: str) -> str:
    return name.rpartition(", ")[2]


def smallest_file(folder: Path, size: tuple[int, int]) -> Path:
    """Write a network of one convolution, with classes and preprocessing."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(len(CLASSES), 3, 3, 3)), "b": rng.normal(size=len(CLASSES))}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w", "b"], ["logits"], pads=[1] * 4)],
        "smallest",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "plain.onnx"
    )
    onnx.save(describe(folder / "plain.onnx", Description(Preprocessing(*size), CLASSES))[0], folder / "small.onnx")
    return folder / "small.onnx"


def make_pictures(root: Path, count: int, size: tuple[int, int], *, files: bool) -> None:
    """Write pictures as tar shards below `tar`, and as files below `in`."""
    (root / "tar").mkdir()
    rng = np.random.default_rng(1)
    suffix = ".jpg" if min(size) >= 8 else ".png"  # a jpeg has blocks of 8x8
    for first in range(0, count, PER_SHARD):
        folder = f"{first // PER_SHARD:05d}"
        if files:
            (root / "in" / folder).mkdir(parents=True)
        with tarfile.open(root / "tar" / f"{folder}.tar", "w") as archive:
            for index in range(first, min(first + PER_SHARD, count)):
                noise = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), size[::-1])
                data = cv2.imencode(suffix, noise)[1].tobytes()
                member = tarfile.TarInfo(f"{folder}/{index:07d}{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
                if files:
                    (root / "in" / member.name).write_bytes(data)


def by_ray(root: Path, model: Path, args: argparse.Namespace) -> Iterator[Run]:
    """Plain `infer`, then Ray with so many workers, over shards and over files; some are killed, and a node."""
    rng = random.Random(0)
    shards = [root / "tar" / "*.tar", "--save_format", "tar"]
    if "plain" in args.rows:
        yield timed("plain, files", root / "plain", [model, root / "in"])
    if "local" in args.rows:
        yield timed("one process, shards", root / "local", [model, *shards])
    inputs = {what: words for what, words in (("shards", shards), ("files", [root / "in"])) if what in args.rows}
    if not inputs:
        return
    nodes = Nodes(max(args.workers))
    try:
        for count in args.workers:
            for what, words in inputs.items():
                out = root / f"ray-{count}-{what}"
                more = ["--engine", "ray", "--address", nodes.address, "--concurrency", count, "--actor_cpus", 1]
                watch = killer(out, kills_of(args, nodes, rng) if count > 1 else [], args.pictures)
                yield timed(f"ray, {count} workers, {what}", out, [model, *words, *more], watch=watch)
    finally:
        nodes.close()


Moment = tuple[float, Callable[[], bool]]


def kills_of(args: argparse.Namespace, nodes: Nodes, rng: random.Random) -> list[Moment]:
    """Return at which shares of the work what is killed."""
    kinds: list[Callable[[], bool]] = [lambda: kill_worker(rng)] * args.kills
    kinds += [lambda: nodes.kill_one(rng)] * args.node_kills
    rng.shuffle(kinds)
    return list(zip(sorted(rng.uniform(0.05, 0.8) for _ in kinds), kinds, strict=True))


def by_parts(root: Path, model: Path, args: argparse.Namespace) -> Iterator[Run]:
    """Plain `infer`, then parts as processes, one after the other; two are killed and run again."""
    yield timed("plain, files", root / "plain", [model, root / "in"])
    out, began, processor = root / "parts", time.perf_counter(), 0.0
    early, end = (0.0, 0.0), (0.0, 0.0)
    for index in [*range(PARTS), *KILLED]:
        again = ["--resume", "True"] if (out / f"shard-{index}-of-{PARTS}").exists() else []
        watch = None if again or index not in KILLED else part_killer(out / f"shard-{index}-of-{PARTS}")
        words = [model, root / "in", "--shard", f"auto/{PARTS}", *again]
        run = timed("", out, words, watch=watch, index=index, killed=watch is not None)
        processor += run.processor
        early, end = max(early, run.early), max(end, run.end)
    command = [sys.executable, "-m", "edgeailite", "infer", "--merge", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    yield Run(f"{PARTS} parts, {len(KILLED)} killed", out, seconds, seconds, processor, early, end)


def by_store(root: Path, model: Path, args: argparse.Namespace) -> Iterator[Run]:
    """Plain `infer`, then shards from an object store and results into it, through a proxy that fails."""
    yield timed("plain, files", root / "plain", [model, root / "in"])
    with object_store(args.port, "fleet") as store:
        for path in sorted((root / "tar").glob("*.tar")):
            store.upload_file(str(path), "fleet", f"tar/{path.name}")
        proxy = failing_proxy(args.port + 1, args.port, every=10)
        where = f"?endpoint_override=127.0.0.1:{args.port + 1}&scheme=http&region=us-east-1"
        for engine in ("local", "ray"):
            words = [model, f"s3://fleet/tar{where}", "--save_format", "tar", "--engine", engine]
            tables = root / f"store-{engine}"
            out = f"s3://fleet/{engine}{where}"
            yield timed(f"object store, {engine}", tables, [*words, "--tables", tables], save_path=out)
            listed = store.get_paginator("list_objects_v2").paginate(Bucket="fleet", Prefix=f"{engine}/")
            count = sum(page["KeyCount"] for page in listed)
            print(f"  {count} objects written; so far {proxy.requests} requests, {proxy.failed} of them answered 503")
        proxy.shutdown()


def timed(
    name: str,
    tables: Path,
    words: list[object],
    *,
    save_path: str = "",
    watch: Callable[[subprocess.Popen[bytes]], str] | None = None,
    index: int | None = None,
    killed: bool = False,
) -> Run:
    """Run `infer` in a process, with its tables in this folder; `watch` may kill what belongs to it.

    Ends this program where the command fails, unless it was `killed`.
    """
    command = [sys.executable, "-m", "edgeailite", "infer", *map(str, words), "--write", "labels", "manifest"]
    command += ["--threads", "1", "--save_path", save_path or str(tables)]
    environment = os.environ | ({} if index is None else {"JOB_COMPLETION_INDEX": str(index)})
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    with Usage(first_picture=lambda: journal_size(tables) > 0).of(process.pid) as used:
        said = watch(process) if watch is not None else ""
        code = process.wait()
    seconds = time.perf_counter() - began
    if code and not killed:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    later = seconds - min(used.first, seconds / 2) if used.first else seconds
    return Run(name, tables, seconds, later, used.seconds, used.memory_at(EARLY), used.memory_at(LATE), said)


def journal_size(tables: Path) -> int:
    """Return how much is written of the lines of pictures; 0 before the first, and after the end."""
    try:
        return (tables / "manifest.journal").stat().st_size
    except FileNotFoundError:
        return 0


def killer(out: Path, moments: list[Moment], pictures: int) -> Callable[[subprocess.Popen[bytes]], str] | None:
    """Return a function that kills at these shares of the work, which the length of the journal tells."""
    if not moments:
        return None

    def progress() -> float:
        return journal_size(out) / (pictures * LINE)

    def watch(process: subprocess.Popen[bytes]) -> str:
        killed = kill_at(moments, progress, lambda: process.poll() is None)
        return f"  {killed} of {len(moments)} kills"

    return watch


def part_killer(tables: Path) -> Callable[[subprocess.Popen[bytes]], str]:
    """Return a function that kills a part as soon as it has labelled a picture."""

    def watch(process: subprocess.Popen[bytes]) -> str:
        while process.poll() is None and not journal_size(tables):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        return ""

    return watch


def last_line(tables: Path) -> dict[str, str | int]:
    """Return the last line of a manifest: counts, and the sha256 of all others."""
    with (tables / "manifest.jsonl").open("rb") as file:
        file.seek(-1000, os.SEEK_END)
        return json.loads(file.read().splitlines()[-1])


if __name__ == "__main__":
    main()
