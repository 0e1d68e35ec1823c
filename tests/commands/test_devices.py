"""`edgeailite devices`: the list, and a fit from measurements here or from times of another board."""

from __future__ import annotations

import json

from edgeailite.cost.devices import list_devices, load_profile
from tests.cost.latency.tiny import tiny_file


def test_list_and_figures(command):
    ended = command("devices", "list")
    assert ended.code == 0, ended.err
    assert not [name for name in list_devices() if name not in ended.out]
    ended = command("devices", "list", "tda4vm")
    assert "SPRY344A" in ended.out
    out = command("devices", "list", "coral_edge_tpu_usb").out
    for words in ("host bandwidth, GB/s", "host overhead, us", "alignment, channels", "fused", "resize_nearest"):
        assert words in out
    assert "float32 add" in command("devices", "list", "xeon_vnni_amx_2threads").out
    assert set(json.loads(command("devices", "list", "--json", True).out)) == set(list_devices())


def test_fit_here_then_estimate_with_the_profile(command, tmp_path):
    files = [tiny_file(tmp_path / f"{side}.onnx", size=(side, side)) for side in (64, 96, 128)]
    profile = tmp_path / "here.yaml"
    ended = command("devices", "fit", *files, "--output", profile, "--threads", 1, "--rounds", 3, "--size", 64, 64)
    assert ended.code == 2, "the size of a file is its own"
    open_file = tiny_file(tmp_path / "open.onnx", size=("height", "width"))
    ended = command("devices", "fit", open_file, "--output", profile, "--threads", 1, "--rounds", 3, "--size", 64, 64)
    assert ended.code == 0, ended.err
    found = load_profile(str(profile))
    assert (found.name, found.measured) == ("here", True)
    assert "fitted to 1 networks, measured on" in found.rates["float32"]["stem"].source
    ended = command("bench", files[0], "--rounds", 1, "--warmup", 0, "--device", profile, "--json", True)
    assert json.loads(ended.out)["models"][0]["estimate"]["device"] == "here"


def test_files_are_of_their_own_sizes(command, tmp_path):
    files = [tiny_file(tmp_path / f"{name}.onnx", size=size) for name, size in (("a", (64, 64)), ("b", (96, 160)))]
    words = ("--output", tmp_path / "here.yaml", "--threads", 1, "--rounds", 2)
    for few in (files[:1], files):
        ended = command("devices", "fit", *few, *words)
        assert ended.code == 0, ended.err
    times = tmp_path / "times.csv"
    times.write_text("model,ms\n" + "".join(f"{file},7.5\n" for file in files))
    ended = command("devices", "fit", *files, *words, "--measured", times, "--base", "raspberry_pi_4")
    assert ended.code == 0, ended.err


def test_fit_to_totals_of_another_board(command, tmp_path):
    file, times, profile = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.csv", tmp_path / "b.yaml"
    times.write_text(f"model,ms\n{file},7.5\n")
    options = ("--measured", times, "--output", profile)
    ended = command("devices", "fit", file, *options)
    assert (ended.code, "has totals only; give --base DEVICE" in ended.err) == (2, True)
    ended = command("devices", "fit", file, *options, "--base", "raspberry_pi_4")
    assert ended.code == 0, ended.err
    estimates = [
        json.loads(command("bench", file, "--rounds", 1, "--device", device, "--json", True).out)["models"][0][
            "estimate"
        ]
        for device in ("raspberry_pi_4", profile)
    ]
    assert abs(estimates[1]["ms"] - 7.5) < 0.2 * abs(estimates[0]["ms"] - 7.5)


def test_times_that_cannot_be_used(command, tmp_path):
    file, times = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.csv"
    options = ("--measured", times, "--base", "raspberry_pi_4", "--output", tmp_path / "x.yaml")
    wrong = [f"{file},{ms}" for ms in ("0", "-1", "nan", "inf", "quick")]
    for text, message in (
        ("name,ms\na,1\n", "CSV with model and ms"),
        ("model,ms\nother.onnx,1\n", "no time of"),
        *((f"model,ms\n{line}\n", "above 0" if "quick" not in line else "CSV with model and ms") for line in wrong),
    ):
        times.write_text(text)
        ended = command("devices", "fit", file, *options)
        assert (ended.code, message in ended.err) == (3, True), ended.err


def row(model: object, runtime: str, ms: object, *, size: object = (64, 64), operators: object = ()) -> dict:
    return {"model": str(model), "runtime": runtime, "size": size, "minimum_ms": ms, "operators": operators}


def test_json_of_bench_is_taken_with_its_machine(command, tmp_path):
    """Of several runtimes onnxruntime's times count; title and runtime are the board's."""
    name, times, profile = "resnet18_c1", tmp_path / "times.json", tmp_path / "board.yaml"
    words = ("--size", 64, 64, "--num_classes", 5, "--threads", 1)
    ended = command("bench", name, *words, "--runtimes", "onnxruntime", "torch", "--operators", 1, "--rounds", 2,
                    "--warmup", 0, "--json", True)  # fmt: skip
    values = json.loads(ended.out)
    values["machine"] |= {"cpu": "Board CPU", "features": ["NEON"], "threads": 4, "onnxruntime": "1.2.3"}
    values["models"][1]["minimum_ms"] = 1e6  # torch's row, the last of this name
    times.write_text(json.dumps(values))
    ended = command("devices", "fit", name, *words, "--measured", times, "--output", profile, "--alignment", 4)
    assert ended.code == 0, ended.err
    found = load_profile(str(profile))
    assert (found.title, found.runtime, found.alignment) == ("Board CPU (NEON), 4 threads", "onnxruntime 1.2.3", 4)
    assert f"{values['models'][0]['minimum_ms']:.2f} ms measured" in ended.out
    assert {"float32"} == set(found.rates), "bench had no int8 file"
    ended = command("devices", "fit", name, *words[3:], "--size", 64, 96, "--measured", times, "--output", profile)
    assert (ended.code, "was measured at 64x64, but is opened at 64x96" in ended.err) == (3, True), ended.err


def test_title_and_alignment_are_the_bases_unless_given(command, tmp_path):
    file, times, profile = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.csv", tmp_path / "b.yaml"
    times.write_text(f"model,ms\n{file},7.5\n")
    base = load_profile("raspberry_pi_4")
    words = ("devices", "fit", file, "--measured", times, "--output", profile, "--base", "raspberry_pi_4")
    assert command(*words).code == 0
    found = load_profile(str(profile))
    assert (found.title, found.runtime, found.alignment) == (base.title, base.runtime, base.alignment)
    assert command(*words, "--title", "my board", "--alignment", 16).code == 0
    found = load_profile(str(profile))
    assert (found.title, found.alignment) == ("my board", 16)


def test_json_that_cannot_be_used(command, tmp_path):
    file, times = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.json"
    good = row(file, "onnxruntime", 1.0)
    cases = [
        (good | {"runtime": "torch"}, "no row of onnxruntime"),
        (good | {"minimum_ms": "quick"}, "expected JSON of"),
        (good | {"minimum_ms": None}, "expected JSON of"),
        (good | {"minimum_ms": 0}, "above 0"),
        (good | {"operators": [{"name": "x"}]}, "expected JSON of"),
        (good | {"operators": 3}, "expected JSON of"),
        (good | {"operators": [{"name": 3, "kind": "Conv", "milliseconds": 1, "minimum": 1}]}, "expected JSON of"),
        (good | {"size": "64x64"}, "expected JSON of"),
        (good | {"size": [32, 32]}, "was measured at 32x32, but is opened at 64x64"),
        (3, "expected JSON of"),
    ]
    for record, message in cases:
        times.write_text(json.dumps({"models": [record]}))
        ended = command("devices", "fit", file, "--measured", times, "--base", "raspberry_pi_4", "--output",
                        tmp_path / "x.yaml")  # fmt: skip
        assert (ended.code, message in ended.err, len(ended.err.splitlines())) == (3, True, 1), ended.err
