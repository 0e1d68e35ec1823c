"""`edgeailite devices`: the list, and a fit from measurements here or from times of another board."""

from __future__ import annotations

import json

from edgeailite.devices import list_devices, load_profile
from tests.latency.tiny import tiny_file


def test_list_and_figures(command):
    ended = command("devices", "list")
    assert ended.code == 0, ended.err
    assert not [name for name in list_devices() if name not in ended.out]
    ended = command("devices", "list", "tda4vm")
    assert "SPRY344A" in ended.out
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


def test_fit_to_totals_of_another_board(command, tmp_path):
    file, times, profile = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.csv", tmp_path / "b.yaml"
    times.write_text(f"model,ms\n{file},7.5\n")
    options = ("--measured", times, "--output", profile, "--size", 64, 64)
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
    options = ("--measured", times, "--base", "raspberry_pi_4", "--output", tmp_path / "x.yaml", "--size", 64, 64)
    for text, message in (("name,ms\na,1\n", "CSV with model and ms"), ("model,ms\nother.onnx,1\n", "no time of")):
        times.write_text(text)
        ended = command("devices", "fit", file, *options)
        assert (ended.code, message in ended.err) == (3, True), ended.err
