"""Every shipped profile loads, every figure says where it comes from, and wrong files are told by name."""

from __future__ import annotations

import pytest
import yaml

from edgeailite.cost.devices import list_devices, load_profile, profile_values
from edgeailite.cost.devices.profile import FOLDER
from edgeailite.errors import DataError, UsageError

FIGURES = ("bandwidth", "on_chip_memory", "on_chip_bandwidth", "overhead", "host_bandwidth", "host_overhead")


@pytest.mark.parametrize("name", list_devices())
def test_every_figure_of_a_shipped_profile_has_a_source(name):
    profile = load_profile(name)
    figures = [figure for row in profile.rates.values() for figure in row.values()]
    figures += [figure for figure in (getattr(profile, key) for key in FIGURES) if figure is not None]
    assert len(figures) >= 12
    assert not [figure for figure in figures if len(figure.source) < 5]
    assert len(profile.band_source) > 10
    assert profile.measured or profile.band[1] / profile.band[0] >= 4, "a datasheet does not tell better than x2"


@pytest.mark.parametrize("name", list_devices())
def test_a_profile_survives_writing_and_reading(name, tmp_path):
    """Written are four digits of a figure and three decimals of a band; those of the package have no more."""
    profile = load_profile(name)
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(profile_values(profile)))
    assert load_profile(str(path)) == profile


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(UsageError, match=r"device 'tda4': unknown; did you mean tda4vm\?"):
        load_profile("tda4")


def figure(value: float) -> dict:
    return {"value": value, "source": "by hand"}


DAMAGES = [
    (lambda v: v.pop("bandwidth"), "bandwidth"),
    (lambda v: v["bandwidth"].pop("source"), r"bandwidth: expected \{value"),
    (lambda v: v["bandwidth"].update(source=" "), r"bandwidth: expected \{value"),
    (lambda v: v["bandwidth"].update(value=0), "bandwidth is 0.0; expected a number above 0"),
    (lambda v: v["rates"]["int8"]["dense"].update(value=-1), "rate of int8 dense is -1"),
    (lambda v: v["rates"]["int8"].update(sparse={"value": 1, "source": "x"}), "unknown 'sparse'"),
    (lambda v: v["rates"].update(int4={}), "unknown 'int4'"),
    (lambda v: v["band"].update(factors=[1.2, 2]), "expected factors around 1"),
    (lambda v: v.update(fallback=["resize"]), "fallback needs host_bandwidth"),
    (lambda v: v.update(fallback=["resize"], host_bandwidth=figure(0), host_overhead=figure(1)), "host_bandwidth is 0"),
    (
        lambda v: v.update(fallback=["resize"], host_bandwidth=figure(1), host_overhead=figure(-1)),
        "host_overhead is -1",
    ),
    (lambda v: v.update(on_chip_memory=figure(float("nan"))), "on_chip_memory is nan"),
    (lambda v: v["bandwidth"].update(value=float("inf")), "bandwidth is inf"),
    (lambda v: v["rates"]["int8"]["dense"].update(value=float("nan")), "rate of int8 dense is nan"),
    (lambda v: v.update(overhead=figure(-1)), "overhead is -1"),
    (lambda v: v.update(alignment=0), "alignment is 0; expected 1 or more"),
    (lambda v: v.update(fallback="resize"), "fallback: expected a list of operators, found 'resize'"),
    (lambda v: v.update(fallback=["Resize"]), "fallback: 'Resize'; expected operators such as resize"),
    (lambda v: v.update(fused=["add"]), "fused: 'add'; expected a type and an operator such as 'float32 add'"),
    (lambda v: v.update(fused=["int4 add"]), "fused: 'int4 add'; expected a type and an operator"),
    (lambda v: v.update(fused="int8 add"), "fused: expected a list"),
    (lambda v: v["band"].update(factors=[0.5, float("nan")]), "expected factors around 1"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[message for _, message in DAMAGES])
def test_wrong_figures_are_named(damage, message, tmp_path):
    values = yaml.safe_load((FOLDER / "tda4vm.yaml").read_text())
    damage(values)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(DataError, match=message):
        load_profile(str(path))


@pytest.mark.parametrize(("text", "message"), [("a: [", "cannot be read"), ("- 1", "expected a mapping")])
def test_files_that_are_no_profile(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_profile(str(path))
