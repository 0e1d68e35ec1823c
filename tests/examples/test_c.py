"""The commands of examples/README.md, as they stand there, on contracts made with OpenCV and onnxruntime."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.examples.contracts import write_contract

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "examples/README.md").read_text()
COMMANDS = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
UNPACK, BUILD, CHECK, BUILD_WITH_NETWORK, CHECK_NETWORK, BUILD_PARTS, BUILD_CPP, CHECK_CPP = COMMANDS
# Larger, smaller, the same, one side each way, one pixel, sizes whose steps are no round numbers.
SIZES = ((97, 131), (20, 30), (48, 64), (100, 33), (1, 1), (47, 129), (7, 640))
pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or shutil.which("c++") is None, reason="no C and C++ compiler"
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder in which the README's commands can be given: `examples`, and `runs/first_qat`."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "runs/first_qat").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def release(tmp_path) -> Path:
    """What a release of onnxruntime looks like, from the library of Python's package."""
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        pytest.skip("this onnxruntime package has no C library")
    for part in ("include", "lib"):
        (tmp_path / "ort" / part).mkdir(parents=True)
    headers = Path(os.environ.get("EDGEAILITE_ORT_INCLUDE", ROOT / "tests/examples"))
    for header in headers.glob("*.h"):  # a release's takes in others
        (tmp_path / "ort/include" / header.name).symlink_to(header)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tmp_path / "ort/lib" / name).symlink_to(found[-1])
    return tmp_path / "ort"


def given(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the README in this folder; `python` is the one that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": path, "ORT": "ort", "ORT_DISABLE_TELEMETRY": "1"},
    )


def passed(command: str, folder: Path) -> str:
    ended = given(command, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def unpack(folder: Path, kind: str, **options) -> dict:
    contract = write_contract(folder / "runs/first_qat", kind, **options)
    passed(UNPACK.replace("contract_int8", "contract"), folder)
    return contract


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_is_opencvs_in_every_byte(folder, order):
    unpack(folder, "int8", pictures=SIZES, order=order)
    passed(BUILD, folder)
    assert passed(CHECK, folder) == f"{len(SIZES)} golden case(s): preprocessing agree\n"
    if order == "RGB":
        passed(BUILD_PARTS, folder)
        passed(BUILD_CPP, folder)
        assert passed(CHECK_CPP, folder) == f"{len(SIZES)} golden case(s): preprocessing agree\n"


@pytest.mark.parametrize("kind", ["int8", "float"])
def test_outputs_are_those_of_the_contract(folder, release, kind):
    contract = unpack(folder, kind, pictures=((97, 131), (48, 64)))
    model = CHECK_NETWORK.replace("model_int8", "model")
    passed(BUILD_WITH_NETWORK, folder)
    assert passed(model, folder) == "2 golden case(s): preprocessing and outputs agree\n"

    first = contract["golden"][0]["outputs"]["segmentation"]
    first["sha256"] = "0" * 64
    first["sample"][0] += 10 * first["std"]
    (folder / "runs/first_qat/contract.json").write_text(json.dumps(contract))
    passed(UNPACK.replace("contract_int8", "contract"), folder)
    passed(BUILD_WITH_NETWORK, folder)
    ended = given(model, folder)
    assert ended.returncode == 4
    assert "case 0, segmentation: " in ended.stdout and "DIFFER" in ended.stdout
    assert "case 1" not in ended.stdout


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_file_that_is_wrong_but_at_64_places_differs(folder, release, language):
    contract = unpack(folder, "float", pictures=((48, 64),))
    output = contract["golden"][0]["outputs"]["segmentation"]
    size = int(np.prod(output["shape"]))
    added = np.ones(size, np.float32)
    added[np.random.default_rng(size).integers(0, size, 64)] = 0
    path = folder / "runs/first_qat/model.onnx"
    model = onnx.load(str(path))
    model.graph.node[0].output[0] = "honest"
    model.graph.node.append(onnx.helper.make_node("Add", ["honest", "added"], ["segmentation"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(added.reshape(output["shape"]), "added"))
    onnx.save(model, str(path))
    if language == "c":
        passed(BUILD_WITH_NETWORK, folder)
        ended = given(CHECK_NETWORK.replace("model_int8", "model"), folder)
        assert "case 0, segmentation: sum 0 of all values departs" in ended.stdout
    else:
        passed(f"{BUILD_PARTS} -DWITH_ONNXRUNTIME -Iort/include", folder)
        passed(f"{BUILD_CPP} -Lort/lib -Wl,-rpath,ort/lib -lonnxruntime", folder)
        ended = given(f"{CHECK_CPP} runs/first_qat/model.onnx", folder)
        assert "segmentation departs" in ended.stdout
    assert ended.returncode == 4


def test_in_cpp_outputs_are_those_of_the_contract(folder, release):
    unpack(folder, "int8", pictures=((97, 131),))
    passed(f"{BUILD_PARTS} -DWITH_ONNXRUNTIME -Iort/include", folder)
    passed(f"{BUILD_CPP} -Lort/lib -Wl,-rpath,ort/lib -lonnxruntime", folder)
    found = passed(f"{CHECK_CPP} runs/first_qat/model.onnx", folder)
    assert found == "1 golden case(s): preprocessing and outputs agree\n"


def test_a_picture_in_the_wrong_order_is_a_wrong_input(folder):
    unpack(folder, "int8", pictures=((20, 30),))
    header = folder / "golden.h"
    header.write_text(header.read_text().replace("}, 0};", "}, 1};", 1))
    passed(BUILD, folder)
    ended = given(CHECK, folder)
    assert ended.returncode == 4
    assert ended.stdout.startswith("case 0, input: sha256 ")


def test_files_that_cannot_be_run(folder, release):
    unpack(folder, "int8", pictures=((20, 30),))
    passed(BUILD, folder)
    ended = given("./check no.onnx", folder)
    assert (ended.returncode, ended.stderr) == (3, "no.onnx: compiled without -DWITH_ONNXRUNTIME\n")
    passed(BUILD_WITH_NETWORK, folder)
    ended = given("./check no.onnx", folder)
    assert ended.returncode == 3 and ended.stderr.startswith("onnxruntime: Load model from no.onnx failed")


@pytest.mark.parametrize("change", [{"format": 1}, {"interpolation": "area"}, {"output": "segmentation_label"}])
def test_contracts_that_the_examples_cannot_reproduce(folder, change):
    contract = write_contract(folder / "runs/first_qat", "float", pictures=((20, 30),))
    contract["format"] = change.get("format", 2)
    contract["preprocessing"]["interpolation"] = change.get("interpolation", "linear_exact")
    outputs = contract["golden"][0]["outputs"]
    outputs[change.get("output", "segmentation")] = outputs.pop("segmentation")
    (folder / "runs/first_qat/contract.json").write_text(json.dumps(contract))
    ended = given(UNPACK.replace("contract_int8", "contract"), folder)
    assert ended.returncode == 3
    assert "the examples reproduce format 2 with --interpolation linear_exact" in ended.stderr
