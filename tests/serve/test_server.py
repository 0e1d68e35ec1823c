"""The process: it is ready when it can answer, ends in order, and gives what `infer` gives."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from edgeailite.commands import infer
from edgeailite.config import InferConfig
from edgeailite.errors import UsageError
from edgeailite.serve.admission import Gate
from edgeailite.serve.app import Service
from edgeailite.serve.server import listen
from tests.serve.running import Answer, Running, picture, serving, start, start_process, tiny_model, wait_ready


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "second.onnx", seed=2)
    tiny_model(folder / "slow.onnx", repeats=60)
    return tiny_model(folder / "first.onnx").parent


def test_answers_are_those_of_infer(models, tmp_path):
    """Bytes of label PNG and overlay, of several formats and sizes, from two models, with a token."""
    pictures = tmp_path / "in"
    pictures.mkdir()
    for index, suffix in enumerate((".png", ".jpg", ".webp", ".bmp", ".tiff", ".ppm")):
        (pictures / f"{index}{suffix}").write_bytes(picture(suffix, height=50 + 13 * index, width=90, seed=index))
    token = {"EDGEAILITE_TOKEN": "correct horse"}
    with serving(tmp_path, models / "first.onnx", f"other={models / 'second.onnx'}", environment=token) as running:
        for name, file in (("first", "first.onnx"), ("other", "second.onnx")):
            out = tmp_path / name
            infer.run(InferConfig(models / file, (pictures,), out, threads=1))
            for path in pictures.iterdir():
                for kind, output in (("label", "labels"), ("overlay", "overlay")):
                    headers = {"Authorization": "Bearer correct horse"}
                    answer = running.predict(path.read_bytes(), f"?output={output}&model={name}", headers)
                    assert answer.status == 200
                    assert answer.body == (out / f"{path.stem}_{kind}.png").read_bytes()
        assert listening(running.port) == [f"0100007F:{running.port:04X}"]  # 127.0.0.1 alone
        assert running.predict(picture()).status == 401
        assert "/secret" not in running.ask("GET", "/models", headers=headers).body.decode()
        assert running.stop() == 0


def listening(port: int) -> list[str]:
    """Addresses, in hexadecimal, on which something listens on a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


def test_ready_comes_after_alive(models, tmp_path):
    running = start(tmp_path, models / "slow.onnx")
    try:
        seen = []
        while not seen or seen[-1] != "ready":
            alive, answer = running.ask("GET", "/healthz"), running.ask("GET", "/readyz")
            assert alive.status == 200
            state = json.loads(answer.body)["status"]
            assert answer.status == (200 if state == "ready" else 503)
            if state == "starting":
                early = running.predict(picture())
                assert early.status == 200 or (early.error, early.headers["retry-after"]) == ("starting", "2")
            seen.append(state)
        assert seen[0] == "starting"
        assert running.predict(picture()).status == 200
        assert running.stop() == 0
    finally:
        running.process.kill()


def test_signal_drains(models, tmp_path):
    """What was accepted is answered, new ones are told to go elsewhere, /readyz says so meanwhile; exit 0."""
    words = (models / "slow.onnx", models / "first.onnx", "--workers", 1, "--queue", 8)
    with serving(tmp_path, *words) as running:
        right = running.predict(picture(), "?output=labels").body
        answers: list[Answer] = []
        query = "?output=labels"
        pending = [threading.Thread(target=lambda: answers.append(running.predict(picture(), query))) for _ in range(6)]
        for thread in pending:
            thread.start()
        deadline = time.monotonic() + 20
        while running.metric("edgeailite_waiting") < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        refused = readiness = None
        while refused is None or refused.status == 200:
            readiness = running.ask("GET", "/readyz")
            refused = running.predict(picture(), "?model=first")
        assert (refused.error, readiness.status, json.loads(readiness.body)["status"]) == ("draining", 503, "draining")
        assert readiness.headers["connection"] == "close"
        for thread in pending:
            thread.join()
        assert [answer.status for answer in answers] == [200] * 6
        assert {answer.body for answer in answers} == {right}
        assert running.process.wait(30) == 0
        with pytest.raises(OSError, match="refused"):
            running.ask("GET", "/healthz")


# --- the same server with a model that needs neither torch nor onnxruntime, so that it starts at once


@contextmanager
def light(folder: Path, *, seconds: float = 0.0, failing: bool = False, drain_timeout: float = 30) -> Iterator[Running]:
    """A process that serves labels of zeros, each after so many seconds; or whose models cannot be loaded."""
    words = [f"{seconds}", f"{int(failing)}", f"{drain_timeout}"]
    running = start_process([sys.executable, "-m", "tests.serve.light", *words], folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_an_upload_under_way_is_finished(tmp_path):
    with light(tmp_path) as running:
        body = picture()
        head = b"POST /predict?output=labels HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
            connection.sendall(head + body[:100])
            time.sleep(0.5)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.7)
            connection.sendall(body[100:])
            assert connection.recv(100_000).startswith(b"HTTP/1.1 200")
        assert running.process.wait(30) == 0


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["term", "ctrl-c"])
def test_exit_code_of_an_idle_server(tmp_path, number, code):
    with light(tmp_path) as running:
        wait_ready(running)
        with socket.create_connection(("127.0.0.1", running.port)):  # says nothing: is not waited for
            assert running.stop(number) == code
        assert running.log.read_text().splitlines()[-1] == f"stopped by {number.name}, 0 pictures labelled"


def test_the_last_line_counts_what_was_answered(tmp_path):
    with light(tmp_path) as running:
        wait_ready(running)
        assert [running.predict(picture()).status for _ in range(2)] == [200, 200]
        assert running.predict(b"no picture").status == 415
        assert running.stop() == 0
        assert running.log.read_text().splitlines()[-1] == "stopped by SIGTERM, 2 pictures labelled"


def test_what_does_not_end_is_left_at_the_deadline(tmp_path):
    with light(tmp_path, drain_timeout=1) as running:
        wait_ready(running)
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
            time.sleep(0.5)
            began = time.monotonic()
            assert running.stop() == 1
            assert time.monotonic() - began < 8
        assert running.log.read_text().rstrip().endswith(", some requests unfinished")


def test_slow_clients_do_not_spoil_the_end(tmp_path):
    """Half a request before the signal, more behind it: the first are refused in time, the others not waited for."""
    half = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"
    with light(tmp_path, drain_timeout=2.5) as running:
        wait_ready(running)
        address = ("127.0.0.1", running.port)
        slow = [socket.create_connection(address) for _ in range(6)]
        for number, connection in enumerate(slow):
            connection.sendall(half[: 10 * number])
        time.sleep(0.3)
        running.process.send_signal(signal.SIGTERM)
        while running.process.poll() is None and len(slow) < 200:
            with suppress(OSError):
                slow.append(socket.create_connection(address, timeout=1))
                slow[-1].sendall(half)
            time.sleep(0.05)
        assert running.process.wait(30) == 0
        assert running.log.read_text().splitlines()[-1] == "stopped by SIGTERM, 0 pictures labelled"
        for connection in slow:
            connection.close()


def quietly(running: Running) -> None:
    """A request that gets no answer."""
    with suppress(OSError, HTTPException):
        running.predict(picture())


def test_a_second_signal_ends_at_once(tmp_path):
    with light(tmp_path, seconds=20) as running:
        wait_ready(running)
        asking = threading.Thread(target=quietly, args=(running,))
        asking.start()
        time.sleep(0.5)
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert running.process.poll() is None
        assert running.stop(signal.SIGINT) == 1
        asking.join()


def test_models_that_cannot_be_loaded_end_it(tmp_path):
    with light(tmp_path, failing=True) as running:
        assert running.process.wait(30) == 3
        assert "error: gone.onnx: no such file" in running.log.read_text()


def test_a_missing_model_ends_the_command(models, tmp_path):
    running = start(tmp_path, models / "first.onnx", "gone.onnx")
    assert running.process.wait(60) == 3
    assert running.log.read_text().splitlines()[-1].startswith("error: gone.onnx: no such ONNX file")


def test_an_address_that_is_taken():
    service = Service(("a",), Gate(1, queue=0, patience=1), max_body=1000, max_pixels=1000)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port}: cannot listen there \(Address already in use\)"):
            listen(service, host="127.0.0.1", port=port, client_timeout=1)
    with pytest.raises(UsageError, match=r"--host no\.such\.name\.invalid --port 1: cannot listen there"):
        listen(service, host="no.such.name.invalid", port=1, client_timeout=1)
