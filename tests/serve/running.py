"""A server in a process of its own on loopback, a client that can break the rules, and a model that is small."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save_model

from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("road", "sky", "car", "<b>tree</b>")
PALETTE = ((128, 64, 128), (70, 130, 180), (0, 0, 142), (107, 142, 35))
PATIENCE = 180.0  # seconds a server may need to start on a busy machine


def tiny_model(
    path: Path,
    *,
    seed: int = 0,
    size: int = 64,
    repeats: int = 0,
    data: tuple[str, object] = ("none", "/secret/folder"),
) -> Path:
    """An ONNX file with the metadata of an exported one: a convolution, `repeats` of 64 channels to make it slow.

    `data` is the name and the folder of the data set that it claims to be trained on.
    """
    rng = np.random.default_rng(seed)
    weights = {"w0": rng.normal(size=(64 if repeats else 4, 3, 3, 3))}
    nodes, last = [helper.make_node("Conv", ["image", "w0"], ["x0"], pads=[1] * 4)], "x0"
    for number in range(1, repeats + 1):
        weights[f"w{number}"] = rng.normal(size=(64 if number < repeats else 4, 64, 3, 3)) / 24
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"x{number}"], pads=[1] * 4))
        last = f"x{number}"
    nodes[-1].output[0] = "segmentation"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("segmentation", TensorProto.FLOAT, [1, 4, size, size])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    pre = Preprocessing(size, size)
    card = ModelCard("tiny", {"segmentation": 4}, CLASSES, PALETTE, pre, dataset_name=data[0], data_path=str(data[1]))
    metadata = {
        "edgeailite.card": json.dumps(card.to_dict()),
        "edgeailite.kind": "float",
        "edgeailite.argmax": "none",
        "input_size": f"{size}x{size}",
        "mean": json.dumps(pre.mean),
        "scale": json.dumps(pre.scale),
        "channel_order": "RGB",
        "interpolation": "linear_exact",
    }
    helper.set_model_props(model, metadata)
    save_model(model, str(path))
    return path


def picture(suffix: str = ".png", *, height: int = 48, width: int = 80, seed: int = 0) -> bytes:
    """A picture of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.imencode(suffix, cv2.resize(noise, (width, height)))[1].tobytes()


def pixels(data: bytes) -> NDArray[np.uint8]:
    """A PNG as it is stored."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


@dataclass(frozen=True)
class Answer:
    """What came back; `headers` by lower-case name."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """The code of a problem, after checking that it is a well-formed one."""
        problem = json.loads(self.body)
        assert set(problem) == {"error", "message", "status"}
        assert problem["status"] == self.status
        assert self.headers["content-type"] == "application/problem+json"
        assert not re.search(r"Traceback|File \"|/[a-z]+/[a-z]+/|\.py\b", self.body.decode()), self.body
        return problem["error"]


@dataclass
class Running:
    """A server process; `log` is what it wrote on stderr."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})
        finally:
            connection.close()

    def predict(self, data: bytes, query: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """POST /predict with a raw body."""
        return self.ask(
            "POST", f"/predict{query}", data, {"Content-Type": "application/octet-stream", **(headers or {})}
        )

    def raw(self, *parts: bytes, pause: float = 0.0, timeout: float = 20.0) -> bytes:
        """Everything that the server sends after these bytes, until it closes or nothing comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            for part in parts:
                try:
                    connection.sendall(part)
                except OSError:
                    break  # refused already: the answer is there to be read
                time.sleep(pause)
            return received(connection)

    def metric(self, line: str) -> float:
        """The value behind a name with its labels."""
        text = self.ask("GET", "/metrics").body.decode()
        found = [row.rpartition(" ")[2] for row in text.splitlines() if row.rpartition(" ")[0] == line]
        return float(found[0]) if found else 0.0

    def memory(self) -> int:
        """Bytes in RAM."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and give its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def received(connection: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


def start(folder: Path, *words: object, environment: Mapping[str, str] | None = None) -> Running:
    """Start `edgeailite serve` on a free port; it may not be ready yet."""
    command = [sys.executable, "-m", "edgeailite", "serve", *map(str, words), "--port", "0"]
    return start_process(command, folder, environment=environment)


def start_process(command: list[str], folder: Path, *, environment: Mapping[str, str] | None = None) -> Running:
    """Start a server that says where it listens; it may not be ready yet."""
    log = folder / "serve.log"
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {})
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, stdout=file, env=variables, cwd=folder)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and (process.poll() is None or "listening" in log.read_text()):
        if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return Running(process, int(found[1]), log)
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no server: {log.read_text()}")


def wait_ready(running: Running) -> Running:
    """The server once /readyz says so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if running.ask("GET", "/readyz").status == 200:
            return running
        time.sleep(0.05)
    raise AssertionError(running.log.read_text())


@contextmanager
def serving(folder: Path, *words: object, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A ready server, gone afterwards."""
    running = start(folder, *words, environment=environment)
    try:
        yield wait_ready(running)
    finally:
        running.process.kill()
        running.process.wait()
