"""One real server for all cases that send it raw bytes; it has to live through them and to end in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.case import Fault
from tests.fuzz.seeds import Seeds

ROOT = Path(__file__).resolve().parents[2]
START, END = 60.0, 30.0  # seconds that it may take
OPTIONS = ("--port", "0", "--workers", "1", "--client_timeout", "3", "--max_megabytes", "1", "--drain_timeout", "5")


@contextmanager
def running(seeds: Seeds) -> Iterator[Path]:
    """A ready server, whose port stands in `server/port` of the seeds; gives its log. Raises Fault for a bad end."""
    folder = seeds / "server"
    folder.mkdir(parents=True)
    log = seeds.root.parent / "server.log"
    words = [sys.executable, "-m", "edgeailite", "serve", str(seeds / "files/model.onnx"), *OPTIONS]
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=file, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT
        )
    try:
        (folder / "port").write_text(_port(process, log))
        yield log
        _end(process, log)
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text()
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", text)
        if found and text.endswith("ready\n"):
            return found[1]
        time.sleep(0.05)
    raise Fault("server", f"not ready: {log.read_text()[-300:]}")


def _end(process: subprocess.Popen[bytes], log: Path) -> None:
    """What the log and the memory say, and whether SIGTERM ends it with 0."""
    if process.poll() is not None:
        raise Fault("server gone", f"exit code {process.returncode}: {log.read_text()[-300:]}")
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) * 1024
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(END)
    except subprocess.TimeoutExpired:
        raise Fault("server hangs", f"no end {END:.0f} s after SIGTERM") from None
    text = log.read_text(errors="replace")
    if code or "Traceback" in text:
        raise Fault("server", f"exit code {code}: {text[-300:]}")
    if peak > 2_500_000_000:
        raise Fault("server memory", f"{peak / 1e9:.1f} GB")
