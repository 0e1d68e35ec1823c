"""Fitting a device as one call: the profile that is returned is the one that is written, in Python's words."""

from __future__ import annotations

import pytest

from edgeailite import errors
from edgeailite.config import DevicesFitConfig
from edgeailite.cost.device_fit import fit_device
from edgeailite.cost.devices import load_profile
from edgeailite.errors import UsageError
from tests.cost.latency.tiny import tiny_file


def test_totals_of_a_board(tmp_path, capsys):
    file, times, output = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.csv", tmp_path / "b.yaml"
    times.write_text(f"model,ms\n{file},7.5\n")
    found = fit_device(DevicesFitConfig((str(file),), times, "raspberry_pi_4", output, title="my board"))
    assert [(network.name, network.milliseconds) for network in found.networks] == [(str(file), 7.5)]
    assert (found.profile.name, found.profile.title) == ("b", "my board")
    assert load_profile(str(output)).title == "my board"
    assert capsys.readouterr().out == ""


def test_an_option_is_named_as_in_python(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "_DASHES", "")
    file, times = tiny_file(tmp_path / "a.onnx", size=(64, 64)), tmp_path / "times.csv"
    times.write_text(f"model,ms\n{file},7.5\n")
    with pytest.raises(UsageError, match="give base DEVICE"):
        fit_device(DevicesFitConfig((str(file),), times, output=tmp_path / "b.yaml"))
