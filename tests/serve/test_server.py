"""The process: it is ready when it can answer, ends in order, and gives what `infer` gives."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from edgeailite.commands import infer
from edgeailite.config import InferConfig
from tests.serve.running import Answer, picture, serving, start, tiny_model, wait_ready


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
            infer.run(InferConfig(models / file, pictures, out, threads=1))
            for path in pictures.iterdir():
                for kind, output in (("label", "labels"), ("overlay", "overlay")):
                    headers = {"Authorization": "Bearer correct horse"}
                    answer = running.predict(path.read_bytes(), f"?output={output}&model={name}", headers)
                    assert answer.status == 200
                    assert answer.body == (out / f"{path.stem}_{kind}.png").read_bytes()
        assert running.predict(picture()).status == 401
        assert "/secret" not in running.ask("GET", "/models", headers=headers).body.decode()


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


def test_an_upload_under_way_is_finished(models, tmp_path):
    with serving(tmp_path, models / "first.onnx") as running:
        body = picture()
        head = b"POST /predict?output=labels HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
            connection.sendall(head + body[:100])
            time.sleep(0.5)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.7)
            connection.sendall(body[100:])
            assert connection.recv(100_000).startswith(b"HTTP/1.1 200")
        assert running.process.wait(30) == 0


@pytest.mark.parametrize("numbers, code", [((signal.SIGTERM,), 0), ((signal.SIGINT,), 130)], ids=["term", "ctrl-c"])
def test_exit_code_of_an_idle_server(models, tmp_path, numbers, code):
    with serving(tmp_path, models / "first.onnx") as running:
        for number in numbers:
            assert running.stop(number) == code


def test_what_does_not_end_is_left_at_the_deadline(models, tmp_path):
    with serving(tmp_path, models / "first.onnx", "--drain_timeout", 1) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
            time.sleep(0.5)
            began = time.monotonic()
            assert running.stop() == 1
            assert time.monotonic() - began < 8


def ended(folder, *words: object) -> tuple[int, str]:
    """Exit code and last line of a server that cannot start."""
    command = [sys.executable, "-m", "edgeailite", "serve", *map(str, words), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=180, check=False)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_models_that_are_missing_or_damaged(models, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    code, line = ended(tmp_path, models / "first.onnx", "gone.onnx")
    assert code == 3 and line.startswith("error: gone.onnx: no such ONNX file")
    code, line = ended(tmp_path, "text.onnx")
    assert code == 3 and line.startswith("error: text.onnx: onnxruntime cannot load it")


def test_an_address_that_is_taken(models, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [sys.executable, "-m", "edgeailite", "serve", str(models / "first.onnx")]
        command += ["--port", str(other.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False)
    assert done.returncode == 2
    assert "cannot listen there (Address already in use)" in done.stderr


def test_it_listens_on_this_machine_alone(models, tmp_path):
    running = wait_ready(start(tmp_path, models / "first.onnx"))
    try:
        inodes = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]  # noqa: PTH123, SIM115
        listening = [row[1] for row in inodes if row[3] == "0A" and int(row[1].split(":")[1], 16) == running.port]
        assert listening == [f"0100007F:{running.port:04X}"]
    finally:
        running.process.kill()
        running.process.wait()
