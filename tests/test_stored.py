"""Options from files have their types, or are refused by name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edgeailite import config as configs
from edgeailite.config import CalibrateConfig, QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain, stored_config, stored_options
from edgeailite.errors import DataError

KINDS = [getattr(configs, name) for name in configs.__all__ if name.endswith("Config")]
FOR_REQUIRED = {"run": Path("r"), "model": Path("m"), "a": Path("a"), "b": Path("b"), "input": (Path("i"),)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_stored_comes_back(kind):
    """Every default of every verb, through the plain values that YAML and checkpoints hold."""
    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    required += getattr(kind, "needed", ())
    if not FOR_REQUIRED.keys() >= set(required):
        pytest.skip("takes words that no run keeps")
    config = kind(**{name: FOR_REQUIRED[name] for name in required})
    assert stored_config(kind, {**plain(config), "of_another_version": object()}, where="x") == config


def test_values_of_all_forms():
    given = {"img_resize": [64, 96], "data_path": "d", "lr": 1, "workers": 3, "pretrained": ["a", "b"], "threads": None}
    config = stored_config(TrainConfig, given, where="x")
    assert (config.img_resize, config.data_path, config.lr, config.workers) == ((64, 96), Path("d"), 1.0, 3)
    assert (config.pretrained, config.threads, type(config.lr)) == (("a", "b"), None, float)
    assert stored_options(QuantizeConfig, {"epochs": 3}, where="x") == {"epochs": 3}


WRONG: dict[str, list[Any]] = {
    "epochs": ["3", 1.5, True, None, 10**30, [3]],
    "lr": ["x", None, True, float("nan"), float("inf"), 10**400],
    "flip": [1, "True", None],
    "optimizer": ["sdg", 3, None, ["sgd"]],
    "workers": ["all", 1.5],
    "img_resize": [[64], [64, 64, 64], 64, ["64", 64], {"a": 1}],
    "data_path": [3, "a\x1b[2J", "a\nb", "a\0", "x" * 20_000, ["a"]],
    "freeze_layers": ["encoder", [1], {"a": 1}],
    "dataset_name": [None, 3, "\u202e"],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG.items() for value in values])
def test_values_of_other_types_are_refused(name, value):
    with pytest.raises(DataError, match=rf"^run/last\.pt: {name}: expected .*, found ") as caught:
        stored_config(TrainConfig, {name: value}, where="run/last.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, [1], "x", {1: 2}])
def test_what_holds_no_options(values):
    with pytest.raises(DataError, match=r"^x: expected "):
        stored_options(TrainConfig, values, where="x")


def test_values_out_of_range_and_missing_ones():
    with pytest.raises(DataError, match=r"^x: --epochs 0: expected at least 1"):
        stored_config(TrainConfig, {"epochs": 0}, where="x")
    with pytest.raises(DataError, match=r"^x: run: expected a value, found nothing"):
        stored_config(CalibrateConfig, {}, where="x")
