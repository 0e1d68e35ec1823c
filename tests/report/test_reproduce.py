"""The commands in a report make the run again: read by our own command line they give the same configuration."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from edgeailite.cli import parse
from edgeailite.config import CalibrateConfig, QuantizeConfig, TrainConfig
from edgeailite.config.stored import plain
from edgeailite.report.reproduce import command_of, commands_of, float_config, verb_of

CONFIGS = [
    ("train", TrainConfig()),
    ("train", TrainConfig(epochs=3, lr=0.01, img_resize=(64, 128), flip=False, data_path=Path("my data/x'y"))),
    ("train", TrainConfig(scheduler="step", milestones=(3, 5), class_weights="enet", early_stopping=2, seed=7)),
    ("calibrate", CalibrateConfig(Path("runs/a b"), observer="mse", equalize=True)),
    ("quantize", QuantizeConfig(Path("runs/a"), epochs=3, freeze_bn_epoch=0.5, scheme="s8s8")),
]


@pytest.mark.parametrize(("verb", "config"), CONFIGS, ids=range(len(CONFIGS)))
def test_round_through_the_command_line(verb, config):
    values = yaml.safe_load(yaml.safe_dump(plain(config)))
    words = shlex.split(command_of(verb, {**values, "of_another_version": 1}))
    assert words[:2] == ["edgeailite", verb]
    assert parse(verb, words[2:]) == config


def test_defaults_and_what_is_of_one_time_are_left_out():
    config = replace(TrainConfig(), dry_run=True, resume=Path("runs/x"))
    assert command_of("train", plain(config)) == "edgeailite train"


def test_verbs():
    found = [verb_of(how, {}) for how in (None, {"method": "qat"}, {"method": "calibration"}, {"scheme": "ort_u8s8"})]
    assert found == ["train", "quantize", "calibrate", "quantize"]


def test_from_the_commit_to_the_report(tmp_path):
    before = tmp_path / "float"
    before.mkdir()
    (before / "config.yaml").write_text(yaml.safe_dump(plain(TrainConfig(epochs=3))))
    config = plain(QuantizeConfig(before, epochs=2))
    found = commands_of(tmp_path / "qat", config, {"method": "qat"}, commit="0123abc")
    assert found[:3] == [
        "git checkout 0123abc",
        "edgeailite train --epochs 3",
        f"edgeailite quantize {before} --epochs 2",
    ]
    del config["weights"]  # of a version that began from the last epoch
    older = commands_of(tmp_path / "qat", config, {"method": "qat"}, commit=None, weights="last")
    assert older[1] == f"edgeailite quantize {before} --weights last --epochs 2"
    assert older[2].endswith("qat --weights last")
    assert [line.split()[1] for line in found[3:]] == ["export", "verify", "validate", "report"]
    assert found[-2].endswith("--integer_exact True")


@pytest.mark.parametrize("commit", ["x; rm -rf ~", "$(id)", "0123abc\nid", "--help", 3, ["a"], "", None])
def test_a_commit_that_is_none_is_not_printed_to_be_pasted(tmp_path, commit):
    found = commands_of(tmp_path, {}, None, commit=commit)
    assert [line.split()[1] for line in found] == ["export", "verify", "validate", "report"]


OPTIONS = {
    "escapes": {"data_path": "a\x1b[2J"},
    "lines": {"dataset_name": "camvid\nid"},
    "flags among layers": {"freeze_layers": ["encoder", "--save_path", "/srv/me"]},
    "a flag as a path": {"data_path": "--config=x"},
    "another type": {"epochs": {"a": 1}},
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_that_no_command_takes_are_a_comment(tmp_path, kind):
    first = commands_of(tmp_path, {**plain(TrainConfig()), **OPTIONS[kind]}, None, commit=None)[0]
    assert first.startswith("# the options of train ")
    assert first.isprintable()


def test_words_of_a_shell_are_quoted(tmp_path):
    options = {**plain(TrainConfig()), "data_path": "$(id) ; 'x'"}
    first = commands_of(tmp_path, options, None, commit=None)[0]
    assert shlex.split(first) == ["edgeailite", "train", "--data_path", "$(id) ; 'x'"]


@pytest.mark.parametrize("text", ["a: &a [*a]", "[" * 10_000, "\x00", "- 1", "a: 1\n---\nb: 2"])
def test_a_float_run_whose_options_cannot_be_read(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert float_config(tmp_path) == {}


def test_without_a_configuration_what_can_still_be_done(tmp_path):
    found = commands_of(tmp_path, {}, None, commit="0123abc-dirty")
    assert [line.split()[1] for line in found] == ["export", "verify", "validate", "report"]
