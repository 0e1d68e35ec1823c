"""The entry point of the image, in clean folders: which command it runs, `init`, and all of it for real once."""

from __future__ import annotations

import hashlib
import http.server
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.serve.running import picture, tiny_model

SCRIPT = Path(__file__).resolve().parents[2] / "tools/container.sh"
PATIENCE = 180


@pytest.fixture
def variables(tmp_path) -> dict[str, str]:
    """Folders as in the image; `python3` only says what it was given."""
    for name in ("models", "built_in", "bin"):
        (tmp_path / name).mkdir()
    stub = tmp_path / "bin/python3"
    stub.write_text('#!/bin/sh\nprintf "%s " "$@"\n')
    stub.chmod(0o755)
    own = {name: str(tmp_path / name) for name in ("models", "built_in")}
    return {"MODELS": own["models"], "BUILT_IN": own["built_in"], "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


@pytest.fixture
def real(tmp_path, variables) -> dict[str, str]:
    """The same with this interpreter as python3."""
    own = Path(variables["MODELS"]).parent / "bin/python3"
    own.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    root = str(SCRIPT.parents[1])
    return (
        os.environ
        | variables
        | {"PYTHONPATH": root, "EDGEAILITE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    )


def given(words: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *shlex.split(words)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE)


def put(folder: str, *names: str) -> None:
    for name in names:
        (Path(folder) / name).write_text(name)


@pytest.mark.parametrize(
    "words, runs",
    [
        ("", "serve {models}/a.onnx {models}/b.onnx --host 0.0.0.0 --port 80"),
        ("serve --workers 2", "serve {models}/a.onnx {models}/b.onnx --host 0.0.0.0 --port 80 --workers 2"),
        ("test --imgs /x.png", "infer {models}/a.onnx /x.png --save_path /tmp/result"),
        ("test --imgs='/a b' --result /out", "infer {models}/a.onnx /a b --save_path /out"),
        (
            "test --alpha 0.3 --imgs /x --resume True",
            "infer {models}/a.onnx /x --save_path /tmp/result --alpha 0.3 --resume True",
        ),
        ("test --imgs /x --gpu 0", "infer {models}/a.onnx /x --save_path /tmp/result"),
        ("verify /m.onnx /c.json", "verify /m.onnx /c.json"),
        ("--help", "--help"),
    ],
)
def test_commands(variables, words, runs):
    put(variables["MODELS"], "b.onnx", "a.onnx", "last.pt", "contract.json")
    put(variables["BUILT_IN"], "model.onnx")
    ended = given(words, variables)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.rstrip() == f"-m edgeailite {runs}".format(models=variables["MODELS"])
    assert ("--gpu 0 is not used" in ended.stderr) == ("--gpu" in words)


def test_without_a_mounted_model_the_one_in_the_image_is_served(variables):
    put(variables["BUILT_IN"], "model.onnx")
    assert f" serve {variables['BUILT_IN']}/model.onnx --host" in given("serve", variables | {"PORT": "8080"}).stdout


@pytest.mark.parametrize(
    "words, code, reason",
    [
        ("serve", 3, "no model: mount a folder"),
        ("test --imgs /x", 3, "no model: mount a folder"),
        ("test", 2, "--imgs is missing"),
        ("test --imgs", 2, "test --imgs: a value must follow"),
        ("test --cfg a.yaml --imgs /x", 2, "test --cfg a.yaml: the exported file knows its network"),
        ("init", 2, "there is no model in this image: set MODEL_URL"),
        ("init now", 2, "init takes no arguments"),
    ],
)
def test_refusals(variables, words, code, reason):
    ended = given(words, variables)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("error: ") and reason in ended.stderr


def test_init_copies_the_model_of_the_image_once(variables):
    put(variables["BUILT_IN"], "model.onnx", "contract.json", "test.png")
    models = Path(variables["MODELS"])
    ended = given("init", variables)
    assert ended.stdout.split() == [f"{models}/{name}" for name in ("contract.json", "model.onnx", "test.png")]
    (models / "model.onnx").write_text("own")
    ended = given("init", variables)
    assert (ended.returncode, (models / "model.onnx").read_text()) == (0, "own")
    assert "it stays" in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root may write anywhere")
def test_init_says_who_cannot_write(variables):
    put(variables["BUILT_IN"], "model.onnx")
    models, top = Path(variables["MODELS"]), Path(variables["MODELS"]).parent
    models.chmod(0o555)
    command = ["bash", "-s", "init"]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", *command]
        for folder in (top, *list(top.parents)[:3]):
            folder.chmod(folder.stat().st_mode | 0o055)
    ended = subprocess.run(
        command, env=variables, input=SCRIPT.read_text(), capture_output=True, text=True, check=False, cwd="/"
    )
    assert ended.returncode == 3
    assert f"{models} cannot be written by user" in ended.stderr


@pytest.fixture
def address(tmp_path) -> Iterator[str]:
    """A server of files in `tmp_path/files`."""
    (tmp_path / "files").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "files"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_init_fetches_and_checks(tmp_path, real, address):
    model = tiny_model(tmp_path / "files/m.onnx")
    put(str(tmp_path / "files"), "page.onnx")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    fetched = Path(real["MODELS"]) / "model.onnx"
    ended = given("init", real | {"MODEL_URL": f"{address}/page.onnx"})
    assert ended.returncode == 3 and "cannot be read as ONNX" in ended.stderr
    ended = given("init", real | {"MODEL_URL": f"{address}/m.onnx", "MODEL_SHA256": "0" * 64})
    assert ended.returncode == 3 and "sha256" in ended.stderr.lower()
    assert not fetched.exists()
    ended = given("init", real | {"MODEL_URL": f"{address}/m.onnx", "MODEL_SHA256": digest})
    assert (ended.returncode, ended.stdout.split()) == (0, [str(fetched)]), ended.stderr
    assert fetched.read_bytes() == model.read_bytes()


def test_serve_ready_and_test_for_real(tmp_path, real):
    tiny_model(Path(real["MODELS"]) / "tiny.onnx")
    (tmp_path / "a.png").write_bytes(picture())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        real["PORT"] = str(free.getsockname()[1])
    ended = given("ready", real)
    assert ended.returncode == 1 and ended.stderr.startswith("not ready: ")
    server = subprocess.Popen(["bash", str(SCRIPT)], env=real, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PATIENCE
        while given("ready", real).returncode:
            assert server.poll() is None and time.monotonic() < end
        request = urllib.request.Request(f"http://127.0.0.1:{real['PORT']}/predict?output=labels", data=picture())
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            labels = answer.read()
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0  # the shell is gone: the signal reached the service
    finally:
        server.kill()
    ended = given(f"test --imgs {tmp_path}/a.png --result {tmp_path}/out --write labels", real)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out/a_label.png").read_bytes() == labels
