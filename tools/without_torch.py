"""Exported files without torch, for real: an environment with the base dependencies alone, every verb in it, its size.

    python tools/without_torch.py MODEL CONTRACT DATA [--python OTHER/bin/python]

DATA is a data set of the file's classes, with images/val and labels/val. Makes the environment in a temporary folder,
by pip install of this checkout, unless `--python` names one without torch; runs the verbs that need none, and times
`infer` there and in the environment of this program, in turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
VERBS = (
    "verify {model} {contract}",
    "infer {model} {data}/images/val --save_path labels",
    "validate {model} --data_path {data} --dataset_name folder",
    "compare {model} {model} --data_path {data} --dataset_name folder",
    "bench {model} --rounds 3 --warmup 1",
    "complexity {model}",
    "data check --data_path {data}",
    "data stats --data_path {data}",
    "data show --data_path {data} --output sheet.png",
    "devices list",
    "doctor",
)
NEEDS_TORCH = "train --data_path {data} --save_path runs/own"


def variables(python: Path) -> dict[str, str]:
    """Return the environment variables for an interpreter: this checkout in both."""
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return known | ({"PYTHONPATH": str(ROOT)} if python == Path(sys.executable) else {})


def run(python: Path, line: str, folder: Path) -> tuple[int, float, str]:
    """Run a command of edgeailite; return its exit code, seconds and the last line of what it printed as an error."""
    began = time.perf_counter()
    words = [str(python), "-m", "edgeailite", *line.split()]
    done = subprocess.run(words, cwd=folder, env=variables(python), capture_output=True, text=True, check=False)
    return done.returncode, time.perf_counter() - began, (done.stderr.strip().splitlines() or [""])[-1]


def serve(python: Path, model: Path, picture: Path, folder: Path) -> tuple[int, float, str]:
    """Serve a file, ask for the labels of a picture, stop; return as `run` does, 1 for an answer that is no PNG."""
    began = time.perf_counter()
    words = [str(python), "-m", "edgeailite", "serve", str(model), "--port", "0"]
    with subprocess.Popen(words, cwd=folder, env=variables(python), stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        lines = [service.stderr.readline(), service.stderr.readline()]  # listening on ADDRESS, loading MODEL; ready
        if not lines[1].startswith("ready"):
            service.terminate()
            return service.wait() or 1, time.perf_counter() - began, (lines[1] or lines[0]).strip()
        try:
            address = f"{lines[0].split()[2].rstrip(',')}/predict?output=labels"
            with urllib.request.urlopen(address, picture.read_bytes(), timeout=60) as answer:
                error = "" if answer.read(4) == b"\x89PNG" else "the answer is no PNG"
        except urllib.error.URLError as reason:
            error = str(reason)
        service.terminate()
        return service.wait() or int(bool(error)), time.perf_counter() - began, error


def megabytes(python: Path) -> int:
    """Return the megabytes that the packages of an environment take on disk."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    files = (path for path in Path(place).rglob("*") if path.is_file() and not path.is_symlink())
    return round(sum(path.stat().st_size for path in files) / 1e6)


def made(folder: Path) -> Path:
    """Make an environment with the package and its base dependencies; return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    return python


def main() -> int:
    """Print a table of verbs and the times; 1 if a verb failed or torch is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exported file")
    parser.add_argument("contract", type=Path, help="its contract")
    parser.add_argument("data", type=Path, help="data set of its classes")
    parser.add_argument("--python", type=Path, help="interpreter of an environment with the base dependencies")
    words = parser.parse_args()
    places = {name: getattr(words, name).absolute() for name in ("model", "contract", "data")}
    with tempfile.TemporaryDirectory(prefix="edgeailite-base-") as name:
        here = Path(name)
        python = words.python or made(here / "environment")
        print(f"packages: {megabytes(python)} MB; with torch: {megabytes(Path(sys.executable))} MB")
        failed = run(python, "--version", here)[0]
        for line in VERBS:
            code, took, error = run(python, line.format(**places), here)
            failed |= code
            verb = " ".join(word for word in line.split()[:2] if "{" not in word and "-" not in word)
            print(f"{verb}: exit code {code}, {took:.1f} s{'' if code == 0 else f'; {error}'}")
        picture = min((places["data"] / "images/val").iterdir())
        code, took, error = serve(python, places["model"], picture, here)
        failed |= code
        print(f"serve, a picture labelled: exit code {code}, {took:.1f} s{'' if code == 0 else f'; {error}'}")
        code, _, error = run(python, NEEDS_TORCH.format(**places), here)
        failed |= code != 2
        print(f"train: exit code {code}; {error}")
        seconds: dict[str, list[float]] = {"without torch": [], "with torch": []}
        for _ in range(ROUNDS):
            for kind, one in zip(seconds, (python, Path(sys.executable)), strict=True):
                seconds[kind].append(run(one, VERBS[1].format(**places), here)[1])
        print("infer: " + ", ".join(f"{median(times):.2f} s {kind}" for kind, times in seconds.items()))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
