"""Attacks a service of its own, in every way at once, and says how those who meant well fared meanwhile.

    python tools/attack_service.py [MODEL.onnx] [--seconds 30]

Starts `edgeailite serve` on a free port of 127.0.0.1 with a token, with a tiny model where none is given. Then, at the
same time: hundreds of connections that say nothing, headers and bodies that come a byte at a time or stop, uploads
without the token, pictures that unpack to gigabytes, foreign names and pages, broken chunks, clients that leave, and
some that never read their answer. All of it is bounded in number and time and reaches nothing but that server.
Meanwhile /healthz is asked every 0.2 s and an honest client has a picture labelled again and again; what it gets is
compared with what `edgeailite infer` writes, byte for byte. Last comes SIGTERM, while the attack goes on.

Exit code 0 if every health check was answered within a second, no honest answer was wrong and some were right, memory
stayed within what the service may hold, nothing but single lines was logged, and the service ended with 0; else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TOKEN = "attacks know nothing of this"
MEGA = 1_000_000
LIMITS = ["--max_megabytes", "2", "--max_total_megabytes", "32", "--client_timeout", "3", "--workers", "2"]
ALLOWED_GROWTH = 2 * 32 * MEGA + 2 * 60 * MEGA  # bodies, answers, and what two workers need for the largest picture
HEALTH_EVERY, HEALTH_WITHIN = 0.2, 1.0


@dataclass
class Scene:
    """The server under attack, what attackers got from it, and how many of each kind there are (`scale` 1)."""

    port: int
    picture: bytes
    token: str = TOKEN
    scale: float = 1.0
    over: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)

    def open(self, sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        """A connection that has sent these bytes. Raises OSError."""
        made = socket.socket()
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(5)
        try:
            made.connect(("127.0.0.1", self.port))
            made.sendall(sent)
        except OSError:
            made.close()
            raise
        return made

    def head(self, length: int | None, *, more: str = "", host: str = "localhost", token: bool = True) -> bytes:
        """The header of POST /predict; `length` None for chunks."""
        sized = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = ["POST /predict?output=overlay HTTP/1.1", f"Host: {host}", sized, *filter(None, [more])]
        if token:
            lines.append(f"Authorization: Bearer {self.token}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def ask(self, name: str, sent: bytes) -> None:
        """Send, read the status, and count it under the attack's name."""
        try:
            with self.open() as made:
                with contextlib.suppress(OSError):  # refused while it is sent: the answer is there to be read
                    made.sendall(sent)
                status = made.recv(12)[9:12].decode("latin-1") or "closed"
        except OSError as error:
            status = type(error).__name__
        self.answers[f"{name}: {status}"] += 1


# --- attacks: each goes on until the scene is over


def hold(scene: Scene, count: int, sent: bytes, trickle: bytes = b"", receive_buffer: int = 0) -> None:
    """Keep so many connections open that have sent these bytes and send a little more twice a second."""
    held: list[socket.socket] = []
    pause = 0.0
    while not scene.over.wait(pause):
        pause = 0.5
        alive = []
        for made in held:
            try:
                made.setblocking(False)
                if trickle:
                    made.send(trickle)
                elif not receive_buffer and made.recv(4096) == b"":
                    raise ConnectionError
                alive.append(made)
            except BlockingIOError:
                alive.append(made)
            except OSError:
                made.close()
        held = alive
        with contextlib.suppress(OSError):
            while len(held) < count and not scene.over.is_set():
                held.append(scene.open(sent, receive_buffer))
    for made in held:
        made.close()


def repeat(scene: Scene, name: str, requests: Sequence[bytes], pause: float) -> None:
    """Send one request after the other, each on a connection of its own."""
    for sent in itertools.cycle(requests):
        if scene.over.wait(pause):
            return
        scene.ask(name, sent)


def leave(scene: Scene, cuts: Sequence[bytes]) -> None:
    """Send part of a request and reset the connection."""
    for sent in itertools.cycle(cuts):
        if scene.over.wait(0.05):
            return
        with contextlib.suppress(OSError), scene.open(sent) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def bomb(width: int, height: int, unpacked: int) -> bytes:
    """A PNG that says it has so many pixels, and whose data unpack to so many bytes."""
    packer = zlib.compressobj(9)
    zeros = bytes(MEGA)
    data = b"".join(packer.compress(zeros) for _ in range(unpacked // MEGA)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def attacks(scene: Scene) -> dict[str, Callable[[], None]]:
    """Every attack by name."""
    number = lambda count: max(2, int(count * scene.scale))  # noqa: E731
    upload = bytes(1_900_000)
    bombs = [bomb(10, 10, int(400 * scene.scale) * MEGA), bomb(30_000, 30_000, 100 * MEGA)]
    plain = scene.head(len(scene.picture), token=False) + scene.picture
    foreign = [
        scene.head(len(scene.picture), host="evil.example") + scene.picture,
        scene.head(len(scene.picture), more="Origin: http://evil.example") + scene.picture,
        scene.head(len(scene.picture), more="Sec-Fetch-Site: same-site") + scene.picture,
        scene.head(9).replace(b" /predict", b" http://evil.example/predict") + b"x" * 9,
    ]
    chunks = [
        scene.head(None) + b"1\r\na\r\n" * 50_000,
        scene.head(None) + b"1" * 50_000,
        scene.head(None, more="Content-Length: 5") + b"0\r\n\r\n",
        scene.head(None, token=False) + b"%x\r\n" % len(upload) + upload,
        scene.head(None) + b"%x\r\n" % len(upload) + upload[:-1],
    ]
    without = [
        scene.head(len(upload), token=False) + upload,
        scene.head(len(upload), token=False, more="Expect: 100-continue"),
        plain,
    ]
    good = scene.head(len(scene.picture)) + scene.picture
    return {
        "silent": lambda: hold(scene, number(700), b""),
        "slow headers": lambda: hold(scene, number(60), b"POST /predict HTTP/1.1\r\nHost: ", b"a"),
        "slow bodies": lambda: hold(scene, number(60), scene.head(MEGA), b"a"),
        "stopped uploads": lambda: hold(scene, number(40), scene.head(len(upload)) + upload[:MEGA]),
        "unread answers": lambda: hold(scene, number(20), good, receive_buffer=4096),
        "no token": lambda: repeat(scene, "no token", without, 0.02),
        "bombs": lambda: repeat(scene, "bombs", [scene.head(len(each)) + each for each in bombs], 0.1),
        "foreign": lambda: repeat(scene, "foreign", foreign, 0.02),
        "chunks": lambda: repeat(scene, "chunks", chunks, 0.05),
        "leaving": lambda: leave(scene, [good[:40], good[:-20], good]),
    }


# --- those who mean well


def watch_health(scene: Scene, times: list[float]) -> None:
    """Ask /healthz every 0.2 s on a connection of its own; the seconds each took, infinite where it failed."""
    while not scene.over.wait(HEALTH_EVERY):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", scene.port, timeout=10)
        try:
            connection.request("GET", "/healthz")
            good = connection.getresponse().read() == b'{"status": "alive"}\n'
        except (OSError, http.client.HTTPException):
            good = False
        connection.close()
        times.append(time.monotonic() - began if good else float("inf"))


def label(scene: Scene, expected: bytes, found: Counter[str]) -> None:
    """Have the picture labelled again and again, as a client does that comes back when it is told to."""
    headers = {"Authorization": f"Bearer {scene.token}"}
    while not scene.over.wait(0.1):
        connection = http.client.HTTPConnection("127.0.0.1", scene.port, timeout=30)
        try:
            connection.request("POST", "/predict?output=labels", scene.picture, headers)
            answer = connection.getresponse()
            body = answer.read()
            kind = str(answer.status) if answer.status != 200 else "right" if body == expected else "wrong"
        except (OSError, http.client.HTTPException) as error:
            kind = type(error).__name__
        connection.close()
        found[kind] += 1


def watch_memory(scene: Scene, pid: int, samples: list[tuple[float, float]]) -> None:
    """(time, bytes in RAM) twice a second."""
    while not scene.over.wait(0.5):
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            samples.append((time.monotonic(), float(pages * os.sysconf("SC_PAGE_SIZE"))))


# --- all of it


@contextlib.contextmanager
def in_threads(works: Sequence[Callable[[], None]], over: threading.Event) -> Iterator[None]:
    """Run them beside the block; when it ends they are told to stop, and waited for."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def attack(process: subprocess.Popen[bytes], scene: Scene, expected: bytes, seconds: float) -> dict[str, object]:
    """So long, then SIGTERM under attack; what was found."""
    health: list[float] = []
    honest: Counter[str] = Counter()
    memory: list[tuple[float, float]] = []
    friends = threading.Event()  # over before the server is told to stop
    calm = Scene(scene.port, scene.picture, scene.token, over=friends)
    watchers = [
        lambda: watch_health(calm, health),
        lambda: label(calm, expected, honest),
        lambda: watch_memory(calm, process.pid, memory),
    ]
    with in_threads([*attacks(scene).values()], scene.over):
        with in_threads(watchers, friends):
            time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = process.wait(120)
        ended = time.monotonic() - began
    times, sizes = zip(*memory, strict=True)
    half = len(times) // 2
    slope = np.polyfit(times[half:], sizes[half:], 1)[0] if half > 1 else np.nan
    return {
        "health checks": len(health),
        "median health check s": round(float(np.median(health or [np.inf])), 3),
        "slowest health check s": round(max(health, default=float("inf")), 3),
        "honest answers": dict(honest),
        "answers to attacks": dict(sorted(scene.answers.items())),
        "RSS MB first last most": [round(v / MEGA, 1) for v in (sizes[0], sizes[-1], max(sizes))],
        "RSS slope MB per minute": round(60 * float(slope) / MEGA, 2),
        "exit code after SIGTERM": code,
        "seconds after SIGTERM": round(ended, 1),
    }


def faults(result: dict[str, object], log: str, *, within: float = HEALTH_WITHIN) -> list[str]:
    """What should not have been, each in words; none if the service held. Health checks may take `within` seconds."""
    honest: dict[str, int] = result["honest answers"]  # type: ignore[assignment]
    first, _, most = result["RSS MB first last most"]  # type: ignore[misc]
    slowest: float = result["slowest health check s"]  # type: ignore[assignment]
    said = {
        f"a health check took {slowest} s": slowest > within,
        f"{honest.get('wrong', 0)} honest answers were wrong": honest.get("wrong", 0) > 0,
        "no honest answer was right": honest.get("right", 0) == 0,
        f"memory grew by {most - first:.0f} MB": (most - first) * MEGA > ALLOWED_GROWTH,
        f"the exit code was {result['exit code after SIGTERM']}": result["exit code after SIGTERM"] != 0,
        "the log has a traceback": "Traceback" in log,
    }
    return [words for words, wrong in said.items() if wrong]


def truth(model: Path, picture: bytes, folder: Path) -> bytes:
    """The label PNG that `edgeailite infer` writes."""
    from edgeailite.commands import infer
    from edgeailite.config import InferConfig

    (folder / "picture.png").write_bytes(picture)
    infer.run(InferConfig(model, (folder / "picture.png",), folder / "truth", threads=1, write=("labels",)))
    return (folder / "truth" / "picture_label.png").read_bytes()


def run(model: Path | None, folder: Path, *, seconds: float, scale: float = 1.0) -> tuple[dict[str, object], str]:
    """Start, attack, stop; what was found, and the log of the service."""
    from tests.serve.running import picture, serving, tiny_model

    sys.setswitchinterval(0.0005)  # the attackers' threads should not delay the watchers'
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    model = model or tiny_model(folder / "tiny.onnx")
    honest = picture(height=480, width=640)
    expected = truth(model, honest, folder)
    variables = {"EDGEAILITE_TOKEN": TOKEN, "TMPDIR": str(folder)}
    try:
        with serving(folder, f"model={model}", *LIMITS, environment=variables) as running:
            scene = Scene(running.port, honest, scale=scale)
            return attack(running.process, scene, expected, seconds), running.log.read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main() -> int:
    """Attack, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result, log = run(options.model, Path(folder), seconds=min(options.seconds, 600))
    wrong = faults(result, log)
    print(json.dumps(result, indent=1))
    print("\n".join([log, *(f"fault: {words}" for words in wrong)]) if wrong else "the service held")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
