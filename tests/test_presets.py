"""Every preset is a command line that parses; flags of the user take the place of the preset's."""

import dataclasses

import pytest

from edgeailite.__main__ import VERBS
from edgeailite.cli import parse
from edgeailite.data import DATASETS
from edgeailite.errors import UsageError
from edgeailite.presets import PRESETS, expand

each_preset = pytest.mark.parametrize("name", PRESETS)
TRAINING = [name for name, preset in PRESETS.items() if preset.verb == "train"]


def parsed(name: str, *flags: str):
    verb, args = expand([name, *flags])
    return parse(VERBS[verb][1], args, prog=f"edgeailite {verb}")


@each_preset
def test_preset_parses_into_what_it_says(name):
    config = parsed(name)
    words = PRESETS[name].flags.split()
    for flag in (word.removeprefix("--") for word in words if word.startswith("--")):
        assert hasattr(config, flag)
    assert len({word for word in words if word.startswith("--")}) == sum(word.startswith("--") for word in words)


@pytest.mark.parametrize("name", TRAINING)
def test_training_preset_is_of_its_data_set(name):
    config = parsed(name)
    assert config.dataset_name in DATASETS
    assert config.dataset_name.startswith(name)
    assert config != dataclasses.replace(parsed(name, "--epochs", "1"), epochs=2)


@each_preset
def test_flags_of_the_user_replace_those_of_the_preset(name):
    config, plain = parsed(name, "--epochs", "3"), parsed(name)
    assert config == dataclasses.replace(plain, epochs=3)
    assert expand([name, "--epochs", "3"])[1].count("--epochs") == 1
    assert parsed(name, "--epochs=3") == config


@pytest.mark.parametrize("name", TRAINING)
def test_flags_of_several_values_are_replaced_whole(name):
    config = parsed(name, "--img_resize", "64", "96", "--rand_scale", "1", "1")
    assert config.img_resize == (64, 96)
    assert config.rand_scale == (1.0, 1.0)
    assert config.optimizer == parsed(name).optimizer


def test_unknown_and_missing_names():
    with pytest.raises(UsageError, match=r"unknown preset 'camvit'; did you mean camvid\? \(known: demo, "):
        expand(["camvit"])
    for args in ([], ["--epochs", "3"]):
        with pytest.raises(UsageError, match="preset: a name must follow; known: demo, "):
            expand(args)


def test_presets_verb_lists_them(command):
    ended = command("presets")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == list(PRESETS)
