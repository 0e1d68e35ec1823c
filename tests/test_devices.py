"""int8 files on processors that this machine lacks, emulated: the command that a user would run there.

`tools/devices.sh FOLDER` makes them, and EDGEAILITE_DEVICES names the folder.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from benchmarks import device_matrix
from edgeailite.export import to_onnx
from edgeailite.export.contract import contract_values
from edgeailite.export.parity import Subject
from edgeailite.export.self_test import random_images, small_card, small_network
from edgeailite.quantization import SCHEMES, calibrate, prepare, set_input_range
from tests.export.toy import toy, toy_card

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.emulated

CPUS = {
    "cortex-a72": ("aarch64", "onnxruntime_arm64"),
    "Haswell-noTSX": ("x86_64", "onnxruntime_x86"),
    "Nehalem": ("x86_64", "onnxruntime_sse2"),
}
MORE_CPUS = {
    "cortex-a53": ("aarch64", "onnxruntime_arm64"),
    "cortex-a76": ("aarch64", "onnxruntime_arm64"),
    "max": ("aarch64", "onnxruntime_arm64"),
}


@pytest.fixture(scope="module")
def devices() -> Path:
    folder = os.environ.get("EDGEAILITE_DEVICES", "")
    if not folder or not (Path(folder) / "made").exists():
        pytest.skip("EDGEAILITE_DEVICES names no folder of tools/devices.sh")
    return Path(folder).resolve()


def run_on(devices: Path, cpu: str, *words: str) -> subprocess.CompletedProcess[str]:
    kind, _ = (CPUS | MORE_CPUS)[cpu]
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [str(devices / kind), cpu, "-m", "edgeailite", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)


def write_case(folder: Path, scheme: str) -> tuple[Path, Path]:
    """A file of a network that has every rule of the scheme, and its contract."""
    network, card = (toy(), toy_card()) if scheme == "portable" else (small_network(), small_card())
    prepared = prepare(network, scheme)
    set_input_range(prepared, *card.preprocessing.input_range)
    images = random_images(3)
    calibrate(prepared, [torch.from_numpy(image) for (image,) in images[:2]])
    file, picture = folder / "model_int8.onnx", folder / "picture.png"
    file.write_bytes(to_onnx(prepared.eval(), card, size=card.preprocessing.size).SerializeToString())
    cv2.imwrite(str(picture), np.rint(images[2][0][0].transpose(1, 2, 0) * 64 + 128)[..., ::-1])
    contract = folder / "contract_int8.json"
    contract.write_text(json.dumps(contract_values(Subject(prepared, card, file), [(picture,)], {})))
    return file, contract


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_keeps_its_contract_on_every_processor(scheme: str, devices: Path, tmp_path: Path) -> None:
    file, contract = write_case(tmp_path, scheme)
    for cpu, (_, arithmetic) in CPUS.items():
        done = run_on(devices, cpu, "verify", str(file), str(contract), "--json", "True")
        assert done.returncode == 0, f"{cpu}: {done.stderr}"
        answer = json.loads(done.stdout)
        assert answer["arithmetic"] == answer["expected"] == arithmetic


def test_changed_weights_are_named_on_arm(devices: Path, tmp_path: Path) -> None:
    file, contract = write_case(tmp_path, "ort_u8s8")
    model = onnx.load(str(file))
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "depthwise.0.weight")
    codes = -onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(codes, weight.name))
    onnx.save(model, str(file))
    done = run_on(devices, "cortex-a72", "verify", str(file), str(contract), "--skip_hash", "True")
    assert done.returncode == 4
    assert "departs first at depthwise.0/Conv" in done.stderr


def test_doctor_names_the_arithmetic_where_only_numpy_and_onnxruntime_are(devices: Path) -> None:
    done = run_on(devices, "cortex-a72", "doctor")
    assert "onnxruntime_arm64" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("cpu", [*CPUS, *MORE_CPUS])
def test_whole_networks_keep_their_contracts(cpu: str, devices: Path, tmp_path: Path) -> None:
    for short, scheme in (("fpn", "ort_u8s8"), ("regnet", "ort_u8s7"), ("ppm", "s8s8"), ("unet", "tidl_pow2")):
        case = tmp_path / f"{short}_{scheme}"
        device_matrix.make(case, device_matrix.NETWORKS[short], scheme)
        words = ("verify", str(case / "model_int8.onnx"), str(case / "contract_int8.json"))
        done = run_on(devices, cpu, *words)
        assert done.returncode == 0, f"{cpu} {case.name}: {done.stderr}"
