"""`edgeailite serve` under many clients: no wrong answer, bounded memory, and its speed against a plain loop.

    python benchmarks/serve.py runs/first/model_int8.onnx pictures/ --clients 64 --seconds 20 --rounds 3

The plain loop does the same decoding, network and encoding (label PNG) with as many threads as the service has workers
and nothing around it. Loop and service are measured in turns. Each answer is compared with the offline one, byte for
byte. Clients are threads of this process with connections that stay open: they share the cores with the service, as a
browser on the same machine would. The last line is JSON.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgeailite.environment import cpu_features, cpu_model, usable_cores
from edgeailite.inference import find_pictures
from edgeailite.serve.models import served
from edgeailite.serve.responses import decode
from edgeailite.serve.served_model import ServedModel

MAX_PIXELS = 16_000_000
SETTLING = 0.2  # share of the samples of memory that are left out of the slope


def main() -> int:
    """Measure and print; 1 if an answer was wrong."""
    options = arguments()
    pictures = [path.read_bytes() for path in find_pictures(options.pictures, apart_from=Path("nowhere"))]
    workers = options.workers or usable_cores()
    model = served("model", options.model, threads=1)
    expected = [model.png(model.labels(decode(data, max_pixels=MAX_PIXELS))) for data in pictures]
    print(f"{cpu_model()}, {cpu_features()}; {workers} workers of 1 thread, {options.clients} clients", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        process, port = start(options.model, workers, options.clients, Path(folder) / "log")
        try:
            result = rounds(options, model, pictures, expected, port=port, pid=process.pid, workers=workers)
        finally:
            process.send_signal(signal.SIGTERM)
            result_code = process.wait(60)
    result["exit code after SIGTERM"] = result_code
    print(json.dumps(result))
    return 1 if result["wrong answers"] or result_code else 0


def rounds(
    options: argparse.Namespace,
    model: ServedModel,
    pictures: Sequence[bytes],
    expected: Sequence[bytes],
    *,
    port: int,
    pid: int,
    workers: int,
) -> dict[str, object]:
    """Loop and service in turns; pictures per second of each, and what came back."""
    loop_rates, serve_rates, memory = [], [], []
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    for number in range(options.rounds):
        loop_rates.append(plain_loop(model, pictures, workers=workers, seconds=options.seconds))
        load = Load(pictures, expected, port, options.clients)
        samples = watched(lambda load=load: load.run(options.seconds), pid)
        memory += samples
        serve_rates.append(load.statuses["right"] / options.seconds)
        statuses += load.statuses
        latencies += load.latencies
        print(f"round {number + 1}: loop {loop_rates[-1]:.2f}/s, service {serve_rates[-1]:.2f}/s", flush=True)
    return {
        "loop per second": round(float(np.median(loop_rates)), 2),
        "service per second": round(float(np.median(serve_rates)), 2),
        "ratio": round(float(np.median(np.array(serve_rates) / np.array(loop_rates))), 3),
        "answers": dict(statuses),
        "wrong answers": statuses["wrong"],
        "latency ms p50 p95": [round(1000 * float(v)) for v in np.percentile(latencies or [0], (50, 95))],
        "RSS MB first last most": [round(v / 1e6, 1) for v in (memory[0][1], memory[-1][1], max(m for _, m in memory))],
        "RSS slope MB per minute": round(slope(memory), 3),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int)
    return parser.parse_args()


def start(model: Path, workers: int, clients: int, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The service on a free port, ready, with room for all clients in its queue."""
    words = ["serve", f"model={model}", "--port", "0", "--workers", str(workers), "--queue", str(clients)]
    command = [sys.executable, "-m", "edgeailite", *words, "--queue_timeout", "600"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file)
    while process.poll() is None:
        text = log.read_text()
        if "\nready" in text:
            return process, int(re.findall(r"listening on \S+:(\d+)", text)[0])
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def plain_loop(model: ServedModel, pictures: Sequence[bytes], *, workers: int, seconds: float) -> float:
    """Pictures per second of decode, network, encode on so many threads."""
    numbers, done = itertools.count(), []
    end = time.perf_counter() + seconds

    def work() -> None:
        while time.perf_counter() < end:
            data = pictures[next(numbers) % len(pictures)]
            model.png(model.labels(decode(data, max_pixels=MAX_PIXELS)))
            done.append(1)

    began = time.perf_counter()
    in_threads(work, workers)
    return len(done) / (time.perf_counter() - began)


class Load:
    """Clients that ask and compare; `statuses` counts right, wrong and other answers."""

    def __init__(self, pictures: Sequence[bytes], expected: Sequence[bytes], port: int, clients: int) -> None:
        self.pictures, self.expected, self.port, self.clients = pictures, expected, port, clients
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self._numbers, self._lock = itertools.count(), threading.Lock()

    def run(self, seconds: float) -> None:
        """So long; answers that come later are compared and not counted as right."""
        self._end = time.perf_counter() + seconds
        in_threads(self._client, self.clients)

    def _client(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        while (began := time.perf_counter()) < self._end:
            index = next(self._numbers) % len(self.pictures)
            connection.request("POST", "/predict?output=labels", self.pictures[index])
            response = connection.getresponse()
            body, status = response.read(), response.status
            now = time.perf_counter()
            kind = str(status) if status != 200 else "right" if body == self.expected[index] else "wrong"
            with self._lock:
                self.statuses["late" if kind == "right" and now > self._end else kind] += 1
                self.latencies.append(now - began)
        connection.close()


def watched(action: Callable[[], None], pid: int) -> list[tuple[float, float]]:
    """(time, bytes in RAM) of a process while something runs, twice a second."""
    samples, over = [], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            samples.append((time.monotonic(), float(pages * os.sysconf("SC_PAGE_SIZE"))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    action()
    over.set()
    watcher.join()
    return samples


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Megabytes per minute of the fitted line, without the time in which memory settles."""
    kept = np.array(samples[int(SETTLING * len(samples)) :])
    return 60 * float(np.polyfit(kept[:, 0] - kept[0, 0], kept[:, 1] / 1e6, 1)[0]) if len(kept) > 2 else float("nan")


def in_threads(work: Callable[[], None], count: int) -> None:
    """Run it in so many threads and wait."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
