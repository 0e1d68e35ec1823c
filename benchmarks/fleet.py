"""Jobs of many workers on one machine: the same manifest however they are run and killed, rates, and memory.

    python benchmarks/fleet.py                                    1,000 pictures; 1 and 2 workers of Ray, with kills
    python benchmarks/fleet.py --pictures 100000 --workers 1 2 4  at full size; 1000000 to see that nothing grows
    python benchmarks/fleet.py --only shards                      8 parts as processes, two killed and run again
    python benchmarks/fleet.py --only s3                          an object store on loopback, 1 request in 10 fails

Pictures of 64x64 are made from a seed, as files and as tar shards; the network is one convolution, so that what is
measured is everything around it. Printed are pictures per second of the whole command, start of Ray included, and the
largest resident memory of the command's own process (of Ray's driver). A kill is SIGKILL to a random worker. Needs the
extra `ray`; `--only s3` moto as well (`pip install "moto[server]"`).
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeailite.environment import cpu_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.describe import Description, describe

SIDE, CLASSES, PER_SHARD = 64, ("a", "b", "c"), 250
PARTS, KILLED = 8, (2, 5)


def main() -> None:
    """Print a row per run, and whether all manifests are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--kills", type=int, default=2, help="workers to kill in each run of Ray but the first")
    parser.add_argument("--only", choices=("ray", "shards", "s3"), default="ray")
    parser.add_argument("--port", type=int, default=5055, help="of the object store; the next one is the proxy's")
    args = parser.parse_args()
    print(
        f"{cpu_model()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {args.pictures} pictures, {SIDE}x{SIDE}"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = smallest_file(root / "model")
        make_pictures(root, args.pictures)
        runs = {"ray": by_ray, "shards": by_parts, "s3": by_store}[args.only]
        hashes = {}
        for name, out, seconds, memory in runs(root, model, args):
            hashes[name] = last_hash(out)
            print(f"{name:<28} {args.pictures / seconds:8.1f} /s  {memory:6.0f} MB  {hashes[name][:16]}", flush=True)
    print("all manifests are equal" if len(set(hashes.values())) == 1 else "MANIFESTS DIFFER")
    raise SystemExit(len(set(hashes.values())) != 1)


def smallest_file(folder: Path) -> Path:
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
    onnx.save(
        describe(folder / "plain.onnx", Description(Preprocessing(SIDE, SIDE), CLASSES))[0], folder / "small.onnx"
    )
    return folder / "small.onnx"


def make_pictures(root: Path, count: int) -> None:
    """Write pictures as files below `in` and as tar shards below `tar`."""
    (root / "tar").mkdir()
    rng = np.random.default_rng(1)
    for first in range(0, count, PER_SHARD):
        (root / "in" / f"{first // PER_SHARD:05d}").mkdir(parents=True)
        with tarfile.open(root / "tar" / f"{first // PER_SHARD:05d}.tar", "w") as archive:
            for index in range(first, min(first + PER_SHARD, count)):
                noise = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (SIDE, SIDE))
                data = cv2.imencode(".jpg", noise)[1].tobytes()
                name = f"{first // PER_SHARD:05d}/{index:07d}.jpg"
                (root / "in" / name).write_bytes(data)
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


Run = tuple[str, Path, float, float]


def by_ray(root: Path, model: Path, args: argparse.Namespace) -> Iterator[Run]:
    """Plain `infer`, then Ray with so many workers, over shards and over files; some are killed."""
    rng = random.Random(0)
    yield ("plain, files", *timed(root, "plain", [model, root / "in"]))
    yield ("one process, shards", *timed(root, "local", [model, *sorted((root / "tar").glob("*.tar"))]))
    for number, count in enumerate(args.workers):
        more = ["--engine", "ray", "--concurrency", count, "--actor_cpus", 1]
        kills = args.kills if number else 0
        for what, inputs in (("shards", sorted((root / "tar").glob("*.tar"))), ("files", [root / "in"])):
            name = f"ray-{count}-{what}"
            watch = killer(root / name, kills, rng)
            yield (
                f"ray, {count} workers, {what}, {kills} kills",
                *timed(root, name, [model, *inputs, *more], watch=watch),
            )


def by_parts(root: Path, model: Path, args: argparse.Namespace) -> Iterator[Run]:
    """Plain `infer`, then parts as processes, one after the other; two are killed and run again."""
    yield ("plain, files", *timed(root, "plain", [model, root / "in"]))
    out, began, memory = root / "parts", time.perf_counter(), 0.0
    for index in [*range(PARTS), *KILLED]:
        again = ["--resume", "True"] if (out / f"shard-{index}-of-{PARTS}").exists() else []
        watch = None if again or index not in KILLED else part_killer(out / f"shard-{index}-of-{PARTS}")
        words = [model, root / "in", "--shard", f"auto/{PARTS}", *again]
        memory = max(memory, timed(root, "parts", words, watch=watch, index=index)[2])
    subprocess.run(
        [sys.executable, "-m", "edgeailite", "infer", "--merge", str(out)], check=True, stdout=subprocess.DEVNULL
    )
    yield (f"{PARTS} parts, {len(KILLED)} killed", out, time.perf_counter() - began, memory)


def by_store(root: Path, model: Path, args: argparse.Namespace) -> Iterator[Run]:
    """Plain `infer`, then shards from an object store and results into it, through a proxy that fails."""
    import boto3

    yield ("plain, files", *timed(root, "plain", [model, root / "in"]))
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(args.port)], stderr=subprocess.DEVNULL)
    proxy = failing_proxy(args.port + 1, args.port, every=10)
    try:
        wait_for(args.port)
        os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_REGION="us-east-1")
        store = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{args.port}", region_name="us-east-1")
        store.create_bucket(Bucket="fleet")
        for path in sorted((root / "tar").glob("*.tar")):
            store.upload_file(str(path), "fleet", f"tar/{path.name}")
        where = f"?endpoint_override=127.0.0.1:{args.port + 1}&scheme=http&region=us-east-1"
        words = [model, f"s3://fleet/tar{where}", "--save_format", "tar", "--tables", root / "store"]
        found = timed(root, f"s3://fleet/out{where}", words)
        yield ("object store, shards", root / "store", found[1], found[2])
        print(f"requests {proxy.requests}, of which {proxy.failed} were answered with 503")
        listed = store.get_paginator("list_objects_v2").paginate(Bucket="fleet", Prefix="out/")
        print("objects written:", sum(page["KeyCount"] for page in listed))
    finally:
        proxy.shutdown()
        server.terminate()
        server.wait()


def timed(
    root: Path,
    out: str,
    words: list[object],
    *,
    watch: Callable[[subprocess.Popen[bytes]], None] | None = None,
    index: int | None = None,
) -> tuple[Path, float, float]:
    """Run `infer` in a process; return its folder, seconds, and largest resident memory in MB."""
    folder = out if out.startswith("s3:") else str(root / out)
    command = [sys.executable, "-m", "edgeailite", "infer", *map(str, words), "--write", "labels", "manifest"]
    command += ["--threads", "1", "--save_path", folder]
    environment = os.environ | ({} if index is None else {"JOB_COMPLETION_INDEX": str(index)})
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    if watch is not None:
        watch(process)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and watch is None:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return root / out, time.perf_counter() - began, used.ru_maxrss / 1024


def killer(out: Path, kills: int, rng: random.Random) -> Callable[[subprocess.Popen[bytes]], None] | None:
    """Return a function that kills random workers of Ray while results appear."""
    if not kills:
        return None

    def watch(process: subprocess.Popen[bytes]) -> None:
        left = kills
        while left and process.poll() is None:
            found = workers_of(process.pid)
            if found and any(out.rglob("*.png")):
                os.kill(rng.choice(found), signal.SIGKILL)
                left -= 1
                time.sleep(rng.uniform(1, 3))
            time.sleep(0.2)
        print(f"  killed {kills - left} workers")

    return watch


def workers_of(driver: int) -> list[int]:
    """Return the actors of Ray that a driver's own cluster runs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker") and driver in ancestors(
                    int(folder.name)
                ):
                    found.append(int(folder.name))
            except (OSError, ValueError):
                continue
    return found


def ancestors(pid: int) -> Iterator[int]:
    """Yield the processes above one."""
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        yield pid


def part_killer(tables: Path) -> Callable[[subprocess.Popen[bytes]], None]:
    """Return a function that kills a part as soon as it has labelled a picture."""

    def watch(process: subprocess.Popen[bytes]) -> None:
        journal = tables / "manifest.journal"
        while process.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)

    return watch


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on to an object store; each `every`-th is answered with 503."""

    store, every, requests, failed = 0, 10, 0, 0
    lock = threading.Lock()


class Forward(http.server.BaseHTTPRequestHandler):
    """A request on its way."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def forward(self) -> None:
        """Answer with what the store says, or 503."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.requests += 1
            fails = self.server.requests % self.server.every == 0
            self.server.failed += fails
        if fails:
            status, headers, data = 503, [], b"<Error><Code>SlowDown</Code></Error>"
        else:
            store = http.client.HTTPConnection("127.0.0.1", self.server.store)
            store.request(self.command, self.path, body, dict(self.headers))
            answer = store.getresponse()
            status, headers, data = answer.status, answer.getheaders(), answer.read()
        self.send_response(status)
        own = {"content-length", "transfer-encoding", "connection", "date", "server"}
        for name, value in headers:
            if name.lower() not in own or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(data)))
        elif fails:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def failing_proxy(port: int, store: int, *, every: int) -> Proxy:
    """Start the proxy in a thread."""
    proxy = Proxy(("127.0.0.1", port), Forward)
    proxy.store, proxy.every = store, every
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    return proxy


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(600):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/")
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nobody listens on port {port}")


def last_hash(out: Path) -> str:
    """Return the sha256 that a manifest ends with."""
    return str(json.loads((out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[-1])["sha256"])


if __name__ == "__main__":
    main()
