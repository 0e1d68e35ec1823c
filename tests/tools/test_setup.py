"""tools/setup.sh chooses PyTorch's builds: from a package index of the test, with a driver that is there or not."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "torch-99.0+cpu-py3-none-any.whl"
PROJECT = """[project]
name = "edgeailite"
dependencies = ["numpy>=2"]
[project.optional-dependencies]
train = ["torch>=2.11", "tyro"]
bench = ["torchmetrics"]
"""
# The interpreter of the environment: pip downloads instead of installing, the editable install is only written down.
PYTHON = """#!/bin/bash
echo "$*" >>"$LOG"
case "$*" in
    *--editable*) exit 0 ;;
    "-m pip"*) words=("$@"); exec {python} "${{words[@]/#install/download}}" --no-deps --dest "$DOWNLOADS" ;;
    *) exec {python} "$@" ;;
esac
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def index(tmp_path):
    """Serve a package index in PEP 503's form with one wheel of torch; the address."""
    folder = tmp_path / "index/torch"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("torch-99.0+cpu.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 99.0+cpu\n")
        wheel.writestr(
            "torch-99.0+cpu.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("torch-99.0+cpu.dist-info/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{WHEEL.replace("+", "%2B")}">{WHEEL}</a>')
    handler = partial(Quiet, directory=str(tmp_path / "index"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def install(tmp_path):
    """`install(choice, index, driver=False)` -> exit code, what was said, the calls of the interpreter, downloads."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "root/.venv/bin").mkdir(parents=True)
    (tmp_path / "root/pyproject.toml").write_text(PROJECT)
    python = tmp_path / "root/.venv/bin/python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)

    def run(choice: str, address: str, *, driver: bool = False) -> tuple[int, str, list[str], list[str]]:
        smi = tmp_path / "bin/nvidia-smi"
        smi.write_text('#!/bin/sh\necho "GPU 0: some"\n' if driver else "#!/bin/sh\nexit 9\n")
        smi.chmod(0o755)
        log, downloads = tmp_path / "calls", tmp_path / "downloads"
        own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        environment = own | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LOG": str(log), "DOWNLOADS": str(downloads),
            "EDGEAILITE_TORCH_INDEX": address, "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0",
        }  # fmt: skip
        code = f'source "{ROOT}/tools/setup.sh"; EDGEAILITE_ROOT="$1"; NVIDIA_DRIVER=/nowhere; install "" "$2"'
        words = ["bash", "-c", code, "bash", str(tmp_path / "root"), choice]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)
        calls = log.read_text().splitlines() if log.exists() else []
        return done.returncode, done.stderr, calls, sorted(path.name for path in downloads.glob("*"))

    return run


UNREACHABLE = "http://127.0.0.1:9"


@pytest.mark.parametrize("choice", ["", "cpu"])
def test_without_a_driver_or_asked_for_it_is_the_index_without_cuda(install, index, choice):
    code, said, calls, downloads = install(choice, index)
    assert code == 0, said
    assert downloads == [WHEEL]
    assert f"installing torch>=2.11 from {index}" in said
    assert ("no NVIDIA driver is loaded" in said) == (choice == "")
    assert "--editable" in calls[-1]


@pytest.mark.parametrize("choice, driver", [("", True), ("cuda", False)])
def test_with_a_driver_or_asked_for_it_is_the_package_index(install, index, choice, driver):
    code, said, calls, downloads = install(choice, index, driver=driver)
    assert code == 0 and not downloads and not any("--index-url" in call for call in calls)
    assert "driver" not in said


def test_an_index_out_of_reach_is_left_for_the_package_index_and_said(install):
    code, said, calls, _ = install("", UNREACHABLE)
    assert code == 0 and not any("--index-url" in call for call in calls)
    assert f"{UNREACHABLE} cannot be reached: torch is taken from the package index, with CUDA (6 GB)" in said


@pytest.mark.slow
def test_an_index_without_torch_is_left_for_the_package_index_and_said(install, index, tmp_path):
    (tmp_path / "index/torch" / WHEEL).unlink()
    (tmp_path / "index/torch/index.html").write_text("")
    code, said, calls, downloads = install("", index)
    assert code == 0 and not downloads and "--editable" in calls[-1]
    assert "that failed: torch is taken from the package index" in said


def test_asked_for_it_an_index_out_of_reach_is_an_error(install):
    code, said, calls, _ = install("cpu", UNREACHABLE)
    assert code == 1 and not any("--editable" in call for call in calls)
    assert (
        f"error: pip could not install torch from {UNREACHABLE} (see above): check the network, or leave out --cpu"
        in said
    )


@pytest.mark.parametrize("script", ["tools/setup.sh", "run_edgeailite_segmentation.sh"])
def test_both_flags_are_in_the_help(script):
    done = subprocess.run(["bash", ROOT / script, "--help"], capture_output=True, text=True, check=True)
    assert "--cpu" in done.stdout and "--cuda" in done.stdout
