"""`edgeailite bench`: files and names are measured in turns; what cannot run is said."""

from __future__ import annotations

import json

from edgeailite.commands import subjects
from edgeailite.environment import cpu_features
from edgeailite.errors import DataError
from tests.latency.tiny import tiny_file

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

    monkeypatch.setattr(subjects, "onnx_cost", refuse)
    file = tiny_file(tmp_path / "a.onnx")
    [row] = json.loads(command("bench", file, *QUICK, "--json", True).out)["models"]
    assert (row["giga_macs"], row["type"]) == (None, "?")
    assert row["median_ms"] > 0
    assert " - " in command("bench", file, *QUICK).out
    ended = command("bench", file, *QUICK, "--device", "tda4vm")
    assert (ended.code, "shapes unknown" in ended.err) == (3, True)


def test_a_name_by_torch_and_by_onnxruntime(command):
    name = "resnet18_c1"
    ended = command("bench", name, *QUICK, "--size", 32, 64, "--runtimes", "onnxruntime", "torch", "--operators", 1)
    assert ended.code == 0, ended.err
    assert ended.out.count(f" {name} ") >= 2
    for words in ("onnxruntime", "torch", "32x64", "1 threads", "median ms", "slowest of"):
        assert words in ended.out


def test_what_cannot_be_measured(command, tmp_path):
    file = tiny_file(tmp_path / "a.onnx")
    for words, message in (
        (("resnet18_c2",), "resnet18_c2: no such file or run; as a name: unknown model 'resnet18_c2'"),
        ((file, "--runtimes", "torch"), "torch takes no ONNX files"),
        ((file, "--device", "abacus"), "device 'abacus': unknown"),
        ((file, "--rounds", 0), "--rounds 0: expected at least 1"),
        ((), "missing models"),
    ):
        ended = command("bench", *words)
        assert (ended.code, message in ended.err) == (2, True), ended.err
