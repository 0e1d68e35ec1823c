"""Compare, byte by byte, what two checkouts make of the same data: python tools/same_results.py BEFORE [--after DIR]

Three networks are trained for one epoch on generated street scenes, calibrated, exported (float and int8), proven,
used on pictures and reported, once with each checkout; then the ONNX files, contracts, label PNGs, tables of shares and
the text of the reports are compared. Prints a row per file and exits with 1 if one differs. Takes about 6 minutes of
one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

NETWORKS = (
    "fpn_aspp_mobilenetv2_tv_edgeailite",
    "deeplabv3plus_regnetx400mf_fd_edgeailite",
    "mobilenetv2_dilated16_c1_deepsup",
)
SIZE = ("64", "128")
KINDS = ("*.onnx", "contract*.json", "labels/**/*.png", "labels/**/*.csv", "report.html")
VARIES = re.compile(  # of a report: times of this run, and hashes of files that hold them
    r"minutes|seconds|images per second|sha256|[0-9a-f]{40,}|\d{4}-\d\d-\d\d|commit|^\d+(\.\d+)?$"
)


class Text(HTMLParser):
    """The text of a page, line by line; pictures and styles are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.hidden:
            self.lines.append(data.strip())


def report_text(path: Path) -> list[str]:
    """Return the lines of a report that do not depend on the time it was made."""
    parser = Text()
    parser.feed(path.read_text(encoding="utf-8"))
    return [line for line in parser.lines if not VARIES.search(line)]


def make(checkout: Path, folder: Path, data: Path) -> None:
    """Run the whole line with a checkout, in `folder`. Raises CalledProcessError where a verb fails."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}

    def edgeailite(*words: str) -> None:
        command = [sys.executable, "-m", "edgeailite", *words]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

    where = ("--data_path", str(data), "--workers", "0")
    for name in NETWORKS:
        edgeailite(
            "train", "--dataset_name", "streets", "--model_name", name, "--save_path", name, "--epochs", "1",
            "--batch_size", "4", "--img_resize", *SIZE, "--device", "cpu", "--threads", "1", "--seed", "1", *where,
        )  # fmt: skip
        edgeailite("calibrate", name, "--save_path", f"{name}_ptq", "--images", "8", *where)
        for run in (name, f"{name}_ptq"):
            edgeailite("export", run)
            edgeailite("verify", run, "--images", "2", "--data_path", str(data))
            file = "model.onnx" if run == name else "model_int8.onnx"
            edgeailite("infer", f"{run}/{file}", str(data / "leftImg8bit/val"), "--save_path", f"{run}/labels")
        edgeailite("report", f"{name}_ptq", "--data_path", str(data))


def content(path: Path) -> bytes:
    """Return what is compared of a file: a report's text, a contract but for `environment`, else every byte."""
    if path.suffix == ".html":
        return "\n".join(report_text(path)).encode()
    if path.suffix == ".json":
        values = json.loads(path.read_bytes())
        del values["environment"]  # names the checkout's commit
        return json.dumps(values).encode()
    return path.read_bytes()


def results(folder: Path) -> dict[str, bytes]:
    """Return what is compared of every file, by name."""
    paths = [path for kind in KINDS for path in sorted(folder.glob(f"*/{kind}"))]
    return {str(path.relative_to(folder)): content(path) for path in paths}


def main() -> int:
    """Print a row per kind of file and network; return 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("--after", type=Path, default=Path(__file__).resolve().parents[1])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = root / "streets"
        script = (
            "from pathlib import Path; from edgeailite.data.streets.dataset import write_streets;"
            f"write_streets(Path({str(data)!r}), seed=1, train=16, val=4, height=64, width=128, workers=0)"
        )
        environment = {**os.environ, "PYTHONPATH": str(args.after)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        sides = {}
        for side, checkout in (("before", args.before.resolve()), ("after", args.after.resolve())):
            make(checkout, root / side, data)
            sides[side] = results(root / side)
        before, after = sides["before"], sides["after"]
        differing = 0
        for file in sorted({*before, *after}):
            same = before.get(file) == after.get(file)
            differing += not same
            digest = hashlib.sha256(after.get(file, b"")).hexdigest()[:12]
            print(f"{'same  ' if same else 'DIFFERS'} {digest} {file}")
            if not same and file.endswith(".html"):
                lines = (before.get(file, b"").decode().splitlines(), after.get(file, b"").decode().splitlines())
                print(*(f"    - {line}" for line in lines[0] if line not in lines[1]), sep="\n")
                print(*(f"    + {line}" for line in lines[1] if line not in lines[0]), sep="\n")
        print(f"{len(after)} files, {differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
