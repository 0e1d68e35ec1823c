"""A run's .tflite file through every verb that takes files: each gives what it gives for an ONNX file, or proves it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.config import ExportConfig, VerifyConfig
from edgeailite.data import open_dataset
from edgeailite.data.files.images import read_image
from edgeailite.errors import ParityError, UsageError
from edgeailite.export import export_run, verify_files
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization import calibrate, prepare, set_input_range
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.runs.open import open_model
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.serve import models

pytest.importorskip("ai_edge_litert")
NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"
SIZE = (64, 96)
QUICK = ("--workers", 0, "--device", "cpu", "--threads", 1)
CPU = torch.device("cpu")


def quantized_checkpoint(data: Path) -> Checkpoint:
    """A network with random weights, calibrated on the pictures of a data set."""
    source = open_dataset("streets", data, "val")
    card = ModelCard(
        NAME,
        {"segmentation": len(source.classes)},
        source.classes,
        source.palette,
        Preprocessing(*SIZE),
        dataset_name="streets",
        data_path=str(data),
    )
    torch.manual_seed(5)
    network = create_model(NAME, outputs=card.outputs)
    items = [preprocess(read_image(item.images[0]), card.preprocessing) for item in source.items]
    images = torch.from_numpy(np.concatenate(items))
    with torch.no_grad():
        for _ in range(4):
            network.train()(images)
    module = prepare(network.eval(), "ort_u8s8")
    set_input_range(module, *card.preprocessing.input_range)
    calibrate(module, [images])
    how = {"scheme": "ort_u8s8", "percentile": 100.0, "method": "calibration"}
    return Checkpoint(card, module.state_dict(), {}, quantization=how)


@pytest.fixture(scope="module")
def run(tmp_path_factory, miniature) -> Path:
    """A quantized run with model_int8.tflite, proven; beside it files of the other heads."""
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(folder / LAST, quantized_checkpoint(miniature))
    export_run(ExportConfig(folder, target="tflite"))
    export_run(ExportConfig(folder, target="tflite", head="codes", output=folder / "codes.tflite"))
    export_run(ExportConfig(folder, target="tflite", argmax="full", output=folder / "labels.tflite"))
    return folder


@pytest.fixture(scope="module")
def proof(run):
    (found,) = verify_files(VerifyConfig(run, sizes=(), threads=1))
    return found


def test_verify_proves_the_file_in_both_arithmetics(proof, run):
    assert proof.verdict == f"{run / 'model_int8.tflite'} is proven: streets val, 2 pictures"
    levels = [name for name, part in proof.results.items() if isinstance(part, dict) and "equal_argmax" in part]
    assert levels[:2] == ["LiteRT, reference kernels", "LiteRT, default (XNNPACK)"]
    for part in (proof.results[level] for level in levels):
        assert (part["equal_argmax"], part["max_difference"]) == (1, 0)
    operators = len(read_tflite(run / "model_int8.tflite").nodes)
    assert proof.results["inner_tensors"] == {"compared": operators, "departing": 0}
    assert proof.results["conversion"]["operators"] > 70
    assert proof.results["export"] == "equal in every byte"


def test_the_command_prints_a_row_per_runtime_and_rechecks_the_contract(command, proof, run):
    ended = command("verify", run / "model_int8.tflite", proof.contract)
    assert ended.code == 0, ended.err
    assert "keeps its contract: 2 pictures" in ended.out
    assert "LiteRT, reference kernels" in ended.out
    ended = command("verify", run / "model_int8.tflite")
    assert (ended.code, "give its contract too" in ended.err) == (2, True)


WITHOUT = """
import sys
for name in {names}:
    sys.modules[name] = None
from edgeailite.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
ALONE = ("onnxruntime", "torch", "torchvision", "onnx", "onnxscript", "cv2", "tyro", "rich", "yaml", "matplotlib")


def ended_without(names: tuple[str, ...], *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process where these packages cannot be imported."""
    line = [sys.executable, "-c", WITHOUT.format(names=names), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_a_file_is_rechecked_with_numpy_and_litert_alone(proof, run, tmp_path):
    done = ended_without(ALONE, "verify", run / "model_int8.tflite", proof.contract)
    assert done.returncode == 0, done.stderr
    assert "keeps its contract: 2 pictures, every bit as expected; file unchanged; proven with LiteRT" in done.stdout
    folder, layer = planted(run, tmp_path, 0, 1, 0x40)
    done = ended_without(ALONE, "verify", folder / "model_int8.tflite", proof.contract, "--skip_hash", True)
    assert (done.returncode, f"departs first at {layer} (CONV_2D)" in done.stderr) == (4, True), done.stderr


@pytest.mark.parametrize("verb", ["infer", pytest.param("validate", marks=pytest.mark.slow)])
def test_labels_and_accuracy_need_no_onnxruntime(verb, run, miniature, tmp_path):
    words = {
        "infer": (miniature / "leftImg8bit/val", "--save_path", tmp_path),
        "validate": ("--data_path", miniature, "--workers", 0),
    }
    done = ended_without(("onnxruntime",), verb, run / "model_int8.tflite", *words[verb], "--device", "cpu")
    assert done.returncode == 0, done.stderr


def test_the_proof_of_each_file_is_run_whatever_comes_of_the_other(run, tmp_path, command):
    """Neither file is what it should be: the ONNX file none at all, the other with changed weights."""
    folder, _ = planted(run, tmp_path, 0, 1, 0x40)
    (folder / "model_int8.onnx").write_bytes(b"nothing")
    ended = command("verify", folder, "--images", 1, "--threads", 1)
    assert ended.code == 4
    assert "model_int8.onnx: cannot be read as ONNX" in ended.err
    assert "model_int8.tflite: weights changed since export" in ended.err


def test_a_trace_finds_nothing_between_file_and_arithmetic(command, run):
    for words in (("integer_exact:tflite_reference", "tflite:reference"), ("integer_exact:xnnpack", "tflite")):
        ended = command("verify", run, "--trace", *words, "--images", 1, "--threads", 1)
        assert ended.code == 0, ended.err
        assert "first difference: none" in ended.out
        assert "not matched" not in ended.out


def test_a_trace_of_two_files_names_the_changed_layer(command, run, miniature, tmp_path):
    folder, layer = planted(run, tmp_path, 1, 1, 0x40)
    words = ("--trace", "tflite:reference", f"{folder / 'model_int8.tflite'}@reference", "--images", 1, "--json", True)
    ended = command("verify", run / "model_int8.tflite", *words, "--data_path", miniature)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["first_departure"] == layer
    ended = command("verify", run / "model_int8.tflite", "--trace", "integer_exact:xnnpack", "tflite")
    assert (ended.code, "is a file; give the run folder" in ended.err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labels.tflite", "codes.tflite"])
def test_a_file_of_another_head_is_proven_as_well_and_at_other_sizes(name, run, tmp_path):
    (tmp_path / LAST).write_bytes((run / LAST).read_bytes())
    (tmp_path / "model_int8.tflite").write_bytes((run / name).read_bytes())
    (found,) = verify_files(VerifyConfig(tmp_path, images=1, sizes=((65, 97),), threads=1))
    assert found.results["LiteRT, reference kernels"]["equal_argmax"] == 1
    assert len(found.results["sizes"]) >= 2
    assert all(part["max_difference"] == 0 for part in found.results["sizes"].values())
    assert found.results["export"] == "equal in every byte"


def planted(run: Path, folder: Path, which: int, role: int, change: int) -> tuple[Path, str]:
    """The run with four changed bytes in weight (1) or bias (2) of a convolution; also the convolution's tensor."""
    (folder / LAST).write_bytes((run / LAST).read_bytes())
    data = (run / "model_int8.tflite").read_bytes()
    read = read_tflite(data)
    node = [node for node in read.nodes if node.kind == "CONV_2D"][which]
    raw, constant = bytearray(data), read.tensors[node.inputs[role]].data
    start, place = (np.frombuffer(part, np.uint8).__array_interface__["data"][0] for part in (data, constant))
    for index in range(place - start, place - start + 4):
        raw[index] ^= change
    (folder / "model_int8.tflite").write_bytes(raw)
    return folder, read.tensors[node.outputs[0]].name


@pytest.mark.parametrize(("which", "role", "change"), [(0, 1, 0x40), (-1, 2, 0x70)])
def test_a_changed_constant_is_found_by_hash_and_named_by_its_layer(which, role, change, run, proof, tmp_path, command):
    folder, layer = planted(run, tmp_path, which, role, change)
    quick = {"images": 1, "sizes": (), "threads": 1}
    with pytest.raises(ParityError, match="weights changed since export"):
        verify_files(VerifyConfig(folder, **quick))
    with pytest.raises(ParityError, match=rf"departs first at {layer} \(CONV_2D; .*LiteRT, reference kernels"):
        verify_files(VerifyConfig(folder, skip_hash=True, **quick))
    ended = command("verify", folder / "model_int8.tflite", proof.contract, "--skip_hash", True)
    assert (ended.code, f"departs first at {layer} (CONV_2D)" in ended.err) == (4, True), ended.err


def test_a_file_of_other_options_is_not_what_export_writes(run, tmp_path):
    (tmp_path / LAST).write_bytes((run / LAST).read_bytes())
    data = (run / "model_int8.tflite").read_bytes()
    said = b'"dataset_name": "streets"'
    (tmp_path / "model_int8.tflite").write_bytes(data.replace(said, said.replace(b"streets", b"Streets")))
    with pytest.raises(ParityError, match=r"edgeailite\.card.*dataset_name"):
        verify_files(VerifyConfig(tmp_path, images=1, sizes=(), threads=1))


def test_infer_labels_pictures(command, run, miniature, tmp_path):
    results = {}
    for name in ("model_int8", "labels", "codes"):
        out = tmp_path / name
        ended = command(
            "infer", run / f"{name}.tflite", miniature / "leftImg8bit/val", "--save_path", out, "--write", "labels"
        )
        assert ended.code == 0, ended.err
        results[name] = [read_image(path) for path in sorted(out.rglob("*.png"))]
        assert len(results[name]) == 2
    same = [np.mean(a == b) for a, b in zip(results["model_int8"], results["labels"], strict=True)]
    assert min(same) > 0.97  # labels of codes at the network's size, enlarged as labels, not as scores


@pytest.mark.parametrize("name", ["model_int8", "labels", "codes"])
def test_validate_gives_the_accuracy_of_the_run(name, command, run, miniature):
    words = ("--data_path", miniature, *QUICK, "--json", True)
    ended = command("validate", run / f"{name}.tflite", *words)
    assert ended.code == 0, ended.err
    found, expected = json.loads(ended.out), json.loads(command("validate", run, *words).out)
    assert abs(found["pixel_accuracy"] - expected["pixel_accuracy"]) < 3


@pytest.mark.slow
def test_compare_and_complexity_count_it_as_the_onnx_file(command, run, miniature, tmp_path):
    onnx = tmp_path / "model_int8.onnx"
    export_run(ExportConfig(run, output=onnx))
    ended = command(
        "compare", run / "model_int8.tflite", onnx, "--data_path", miniature, *QUICK, "--json", True, "--draws", 100
    )
    assert ended.code == 0, ended.err
    counted = [
        json.loads(command("complexity", file, "--json", True).out)["sizes"][0]
        for file in (run / "model_int8.tflite", onnx)
    ]
    assert counted[1]["macs"] > 1e6
    more = counted[0]["macs"] / counted[1]["macs"]  # inner resizes are convolutions in the .tflite file
    assert 1 < more < 1.02
    assert counted[0]["parameters"] == pytest.approx(counted[1]["parameters"], rel=0.01)  # each layer has a bias here
    ended = command("complexity", run / "model_int8.tflite", "--img_resize", 32, 32)
    assert (ended.code, "takes 64x96; leave it out" in ended.err) == (2, True)


def test_bench_runs_it_in_litert(command, run):
    ended = command("bench", run / "model_int8.tflite", "--rounds", 2, "--warmup", 0, "--threads", 1, "--json", True)
    assert ended.code == 0, ended.err
    (row,) = json.loads(ended.out)["models"]
    assert (row["runtime"], row["type"], row["size"]) == ("litert", "int8", list(SIZE))
    assert row["median_ms"] > 0


def test_serve_opens_it(run):
    served = models.served("it", run / "model_int8.tflite", threads=1)
    assert served.facts["form"] == "tflite"
    assert served.labels(np.zeros((30, 40, 3), np.uint8)).shape == (30, 40)


def test_report_measures_it(command, run, miniature, tmp_path):
    page = tmp_path / "report.html"
    ended = command("report", run / "model_int8.tflite", "--data_path", miniature, "--output", page, "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "Exported TFLite file, run by LiteRT." in page.read_text()


def test_other_runtimes_and_the_lack_of_litert_are_said(run, monkeypatch):
    with pytest.raises(UsageError, match=r"--runtime openvino: computes \.onnx files"):
        open_model(run / "model_int8.tflite", device=CPU, runtime="openvino")
    monkeypatch.setattr("edgeailite.runtime.tflite_session.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"model_int8\.tflite: LiteRT.* is not installed; pip install ai-edge-litert"):
        open_model(run / "model_int8.tflite", device=CPU)
