"""int8 files on emulated devices: does each file give the codes that its device's arithmetic predicts, and x86's?

    tools/devices.sh DEVICES
    python -m benchmarks.device_matrix DEVICES FOLDER [--cpus ...] [--networks ...] [--schemes ...]

Makes in FOLDER a file and its contract of every network in every scheme: BatchNorm statistics and ranges from generated
street scenes, 96 x 160 pixels, one golden picture. Then every emulated processor re-checks each file with the command
that a user would run there, `edgeailite verify FILE CONTRACT`, and a table shows the answers:

    =    every bit as the device's arithmetic predicts, which is also every bit of x86's codes
    own  every bit as the device's arithmetic predicts, but other codes than x86's
    the message where it departs, otherwise

`host` is this machine.
Results are kept in FOLDER/results.json, and a second run does only what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgeailite.data.streets.dataset import generate_scene
from edgeailite.data.tensors import to_input
from edgeailite.export import to_onnx
from edgeailite.export.contract import contract_values
from edgeailite.export.parity import Subject
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import SCHEMES, calibrate, prepare, set_input_range, set_state
from edgeailite.runtime.contract_file import BASE

NETWORKS = {
    "deeplab": "deeplabv3plus_mobilenetv2_tv_edgeailite",
    "fpn": "fpn_aspp_mobilenetv2_tv_edgeailite",
    "unet": "unet_aspp_mobilenetv2_tv_edgeailite",
    "regnet": "fpn_aspp_regnetx400mf_edgeailite",
    "ppm": "resnet18dilated_ppm",
}
CPUS = {
    "host": (),
    "Haswell-noTSX": ("x86_64", "Haswell-noTSX"),
    "Nehalem": ("x86_64", "Nehalem"),
    "cortex-a53": ("aarch64", "cortex-a53"),
    "cortex-a72": ("aarch64", "cortex-a72"),
    "cortex-a76": ("aarch64", "cortex-a76"),
    "max": ("aarch64", "max"),
}
SIZE = (96, 160)
CLASSES = 5
CALIBRATION, STATISTICS = 8, 12
LIMIT = 1800  # seconds for one file on one device


def main() -> None:
    """Make what is missing, ask every device, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("devices", type=Path, help="the folder of tools/devices.sh")
    parser.add_argument("folder", type=Path, help="for files and results")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES), choices=SCHEMES)
    parser.add_argument("--cpus", nargs="+", default=list(CPUS), choices=CPUS)
    args = parser.parse_args()
    results_file = args.folder / "results.json"
    args.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = json.loads(results_file.read_text()) if results_file.exists() else {}
    for short in args.networks:
        for scheme in args.schemes:
            case = args.folder / f"{short}_{scheme}"
            if SCHEMES[scheme].tie_free and short == "ppm":  # which refuses its average pooling
                continue
            if not (case / "contract_int8.json").exists():
                make(case, NETWORKS[short], scheme)
            row = results.setdefault(case.name, {})
            for cpu in args.cpus:
                if cpu not in row:
                    row[cpu] = ask(args.devices, cpu, case)
                    results_file.write_text(json.dumps(results, indent=1))
                    print(case.name, cpu, row[cpu], flush=True)
    print(table(results, args.cpus))


def make(case: Path, network: str, scheme: str) -> None:
    """Write the int8 file of a network with random weights, and its contract."""
    torch.manual_seed(0)
    model = create_model(network, CLASSES)
    pictures = list(scenes(STATISTICS))
    preprocessing = Preprocessing(*SIZE)
    batch = to_input(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), preprocessing)
    with torch.no_grad():
        for _ in range(20):  # BatchNorm's running statistics move by a tenth each time
            model.train()(batch)
    prepared = prepare(model.eval(), scheme)
    set_input_range(prepared, -2.0, 1.984375)
    calibrate(prepared, ((image[None],) for image in batch[:CALIBRATION]))
    set_state(prepared, observing=False, enabled=True)
    palette = tuple((40 * i, 255 - 40 * i, 80) for i in range(CLASSES))
    names = tuple(f"class {i}" for i in range(CLASSES))
    card = ModelCard(network, {"segmentation": CLASSES}, names, palette, preprocessing, "streets")
    case.mkdir(parents=True, exist_ok=True)
    file = case / "model_int8.onnx"
    file.write_bytes(to_onnx(prepared, card, size=SIZE).SerializeToString())
    picture = case / "picture.png"
    cv2.imwrite(str(picture), pictures[0][..., ::-1])
    contract = contract_values(Subject(prepared, card, file), [(picture,)], {})
    (case / "contract_int8.json").write_text(json.dumps(contract) + "\n")


def scenes(count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield generated street scenes (96,160,3) RGB."""
    for index in range(count):
        yield np.asarray(generate_scene(5, index, height=SIZE[0], width=SIZE[1]).image)


def ask(devices: Path, cpu: str, case: Path) -> dict[str, Any]:
    """Re-check a file on a device as a user would there; return what it answered."""
    words = ["-m", "edgeailite", "verify", str(case / "model_int8.onnx"), str(case / "contract_int8.json")]
    start = [str(devices.resolve() / CPUS[cpu][0]), CPUS[cpu][1]] if CPUS[cpu] else [sys.executable]
    environment = {**os.environ, "PYTHON": sys.executable}
    begun = time.monotonic()
    done = subprocess.run(
        [*start, *words, "--json", "True"], env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    found = {"exit": done.returncode, "seconds": round(time.monotonic() - begun, 1)}
    if done.returncode == 0:
        arithmetic = json.loads(done.stdout)["arithmetic"]
        return found | {"arithmetic": arithmetic, "same_as_x86": same_as_x86(case, arithmetic)}
    return found | {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""}


def same_as_x86(case: Path, arithmetic: str) -> bool:
    """Tell if the contract of a file expects the same codes in an arithmetic as on x86."""
    golden = json.loads((case / "contract_int8.json").read_text())["golden"]
    return arithmetic == BASE or all(sample["arithmetics"][arithmetic] == BASE for sample in golden)


def table(results: dict[str, dict[str, Any]], cpus: Sequence[str]) -> str:
    """Return the Markdown table, and how many cells are equal to their arithmetic and to x86's codes."""
    lines = [f"| file | {' | '.join(cpus)} |", f"|---|{'---|' * len(cpus)}"]
    for name, row in results.items():
        lines.append(f"| {name} | {' | '.join(cell(row.get(cpu)) for cpu in cpus)} |")
    for cpu in cpus:
        cells = [cell(row[cpu]) for row in results.values() if cpu in row]
        own, same = sum(c in ("=", "own") for c in cells), cells.count("=")
        lines.append(f"\n{cpu}: {own} of {len(cells)} as its arithmetic predicts, {same} with x86's codes")
    return "\n".join(lines)


def cell(found: dict[str, Any] | None) -> str:
    """Return what a device answered, in a word."""
    if found is None:
        return ""
    if found["exit"]:
        return str(found["error"])[:60]
    return "=" if found["same_as_x86"] else "own"


if __name__ == "__main__":
    main()
