"""`edgeailite bench`: files and names are measured in turns; what cannot run is said."""

from __future__ import annotations

import json

import onnx

from edgeailite.cost import candidates, torch_cost
from edgeailite.environment import cpu_features
from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from tests.cost.latency.tiny import tiny_file
from tests.cost.test_onnx_graph import write
from tests.sweep import sweep_card

QUICK = ("--rounds", 2, "--warmup", 0, "--threads", 1)


def test_two_files_with_operators_and_an_estimate(command, tmp_path):
    files = [tiny_file(tmp_path / f"{name}.onnx", size=size) for name, size in (("a", (32, 48)), ("b", (64, 96)))]
    ended = command("bench", *files, *QUICK, "--operators", 2, "--device", "raspberry_pi_5", "--json", True)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["machine"]["threads"], found["machine"]["features"]) == (1, cpu_features())
    first, second = found["models"]
    assert [row["model"] for row in found["models"]] == [str(file) for file in files]
    assert (first["size"], second["size"]) == ([32, 48], [64, 96])
    assert second["giga_macs"] == 4 * first["giga_macs"] == 4 * 8 * 3 * 9 * 32 * 48 / 1e9
    for row in found["models"]:
        assert 0 < row["minimum_ms"] <= row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["estimate"]["low"] < row["estimate"]["ms"] < row["estimate"]["high"]
        assert any("Conv" in operator["kind"] for operator in row["operators"])


def test_a_file_that_cannot_be_counted_is_measured_all_the_same(command, tmp_path, monkeypatch):
    def refuse(path, size):
        raise DataError(f"{path}: shapes unknown")

    monkeypatch.setattr(candidates, "file_cost", refuse)
    file = tiny_file(tmp_path / "a.onnx")
    [row] = json.loads(command("bench", file, *QUICK, "--json", True).out)["models"]
    assert (row["giga_macs"], row["type"]) == (None, "?")
    assert row["median_ms"] > 0
    assert " - " in command("bench", file, *QUICK).out
    ended = command("bench", file, *QUICK, "--device", "tda4vm", "--json", True)
    assert (ended.code, "shapes unknown" in ended.err) == (0, True)
    assert json.loads(ended.out)["models"][0]["estimate"] is None


def test_a_file_that_takes_no_picture_has_no_size(command, tmp_path):
    relu = onnx.helper.make_node("Relu", ["x"], ["y"], name="relu")
    file = write(tmp_path / "a.onnx", [relu], {}, inputs={"x": (4, 8)}, outputs={"y": (4, 8)})
    ended = command("bench", file, *QUICK, "--json", True)
    assert ended.code == 0, ended.err
    [row] = json.loads(ended.out)["models"]
    assert (row["size"], row["giga_macs"]) == (None, 0)
    assert command("bench", file, *QUICK).code == 0


def test_one_network_without_an_estimate_leaves_the_others(command, tmp_path):
    """The TDA4VM has no rate for float convolutions: that is said, and what was measured is printed."""
    file = tiny_file(tmp_path / "a.onnx")
    ended = command("bench", "resnet18_c1", file, *QUICK, "--size", 32, 48, "--int8", True, "--device", "tda4vm",
                    "--json", True)  # fmt: skip
    assert ended.code == 0, ended.err
    estimates = {row["model"]: row["estimate"] for row in json.loads(ended.out)["models"]}
    assert estimates[str(file)] is estimates["resnet18_c1"] is None
    assert estimates["resnet18_c1 int8"]["ms"] > 0
    assert ended.err.count("no rate for float32") == 2
    ended = command("bench", file, *QUICK, "--device", "tda4vm")
    assert (ended.code, "no rate for float32" in ended.err) == (0, True)


def test_a_run_folder_int8_files_and_other_classes(command, tmp_path):
    model = create_model("resnet18_c1", 5)
    save_checkpoint(tmp_path / "last.pt", Checkpoint(sweep_card(model), model.state_dict(), {}))
    words = ("bench", tmp_path, "resnet18_c1", *QUICK, "--int8", True, "--num_classes", 7, "--json", True)
    ended = command(*words, "--size", 32, 64)
    assert ended.code == 0, ended.err
    run, plain, integer = json.loads(ended.out)["models"]
    assert [row["model"] for row in (run, plain, integer)] == [str(tmp_path), "resnet18_c1", "resnet18_c1 int8"]
    assert [row["type"] for row in (run, plain, integer)] == ["float32", "float32", "int8"]
    assert plain["giga_macs"] == torch_cost(create_model("resnet18_c1", 7), (32, 64)).giga_macs
    assert run["giga_macs"] == torch_cost(model, (32, 64)).giga_macs
    [row] = json.loads(command("bench", tmp_path, *QUICK, "--json", True).out)["models"]
    assert row["size"] == [64, 96], "that of the run"


def test_an_open_file_is_measured_at_the_size_it_notes(command, tmp_path):
    path = tiny_file(tmp_path / "open.onnx", size=("height", "width"))
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"input_size": "64x96"})
    onnx.save(model, str(path))
    [row] = json.loads(command("bench", path, *QUICK, "--json", True, "--operators", 1).out)["models"]
    assert row["size"] == [64, 96]
    onnx.helper.set_model_props(model, {"input_size": "largexwide"})
    onnx.save(model, str(path))
    ended = command("bench", path, *QUICK)
    assert (ended.code, "give --img_resize H W" in ended.err) == (2, True), ended.err


def test_a_name_by_torch_and_by_onnxruntime(command):
    name = "resnet18_c1"
    ended = command("bench", name, *QUICK, "--size", 32, 64, "--runtimes", "onnxruntime", "torch", "--operators", 1)
    assert ended.code == 0, ended.err
    assert sum(line.split()[:1] == [name] for line in ended.out.splitlines()) >= 2
    for words in ("onnxruntime", "torch", "32x64", "1 thread;", "median ms", "slowest of"):
        assert words in ended.out


def test_what_cannot_be_measured(command, tmp_path):
    file = tiny_file(tmp_path / "a.onnx")
    for words, message in (
        (("resnet18_c2",), "resnet18_c2: no such file or run; as a name: unknown model 'resnet18_c2'"),
        ((file, "--runtimes", "torch"), "torch takes no ONNX files"),
        ((file, "--device", "abacus"), "device 'abacus': unknown"),
        ((file, "--rounds", 0), "--rounds 0: expected at least 1"),
        ((file, "--int8", True), "--num_classes and --int8: belong to networks given by name"),
        ((file, "--num_classes", 3), "--num_classes and --int8: belong to networks given by name"),
        ((), "missing models"),
    ):
        ended = command("bench", *words)
        assert (ended.code, message in ended.err) == (2, True), ended.err
