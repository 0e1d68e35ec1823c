"""Every preset is a command line that parses; flags of the user take the place of the preset's; each one runs."""

import dataclasses
import re

import pytest

from edgeailite.__main__ import main
from edgeailite.cli import parse
from edgeailite.data import DATASETS
from edgeailite.errors import UsageError
from edgeailite.models import MODELS
from edgeailite.presets import GROUPS, PRESETS, expand
from edgeailite.pretrained import PUBLISHED, open_weights, weights_for
from tests.compat.world import save_backbone, write_world

TRAINING = [name for name, preset in PRESETS.items() if preset.verb == "train"]
OWN = ("streets", "camvid", "camvid_pretrained")  # recipes of this package
PUBLISHED_RECIPES = [name for name in TRAINING if name not in OWN]
# what the issue of commands asks for, by data set: decoder and backbone, size
CITYSCAPES = [
    "deeplab_mobilenetv2_768x384",
    "unet_mobilenetv2_768x384",
    "fpn_mobilenetv2_768x384",
    "fpn_mobilenetv2_1536x768",
    "fpn_mobilenetv2_fd_1536x768",
    "fpn_mobilenetv2_fd_2048x1024",
    "fpn_regnetx400mf_768x384",
    "fpn_regnetx400mf_1536x768",
    "fpn_regnetx800mf_768x384",
    "fpn_regnetx1p6gf_1024x512",
    "fpn_regnetx3p2gf_1024x512",
    "fpn_regnetx3p2gf_1536x768",
]

each_preset = pytest.mark.parametrize("name", PRESETS)


def parsed(name: str, *flags: str):
    words = ["RUN"] if PRESETS[name].takes else []
    verb, args = expand([name, *words, *flags])
    return parse(verb, args)


@each_preset
def test_preset_parses_into_what_it_says(name):
    config = parsed(name)
    words = PRESETS[name].flags.split()
    for flag in (word.removeprefix("--") for word in words if word.startswith("--")):
        assert hasattr(config, flag)
    assert len({word for word in words if word.startswith("--")}) == sum(word.startswith("--") for word in words)
    assert "\n" not in PRESETS[name].line


@pytest.mark.parametrize("name", TRAINING)
def test_training_preset_is_of_its_data_set_and_network(name):
    config = parsed(name)
    assert config.dataset_name in DATASETS
    family = {"coco21": "coco_seg21", "coco80": "coco_segmentation", "ade20k32": "ade20k_seg_class32"}
    start = name.partition("_")[0]
    assert config.dataset_name.startswith(family.get(start, start))
    assert config.model_name in MODELS


@pytest.mark.parametrize("name", PUBLISHED_RECIPES)
def test_weights_are_those_published_for_the_network(name):
    config = parsed(name)
    backbones = {w.files[0].url for w in weights_for(config.model_name) if w.is_backbone and w.files}
    assert config.pretrained == ("none",) or config.pretrained[0] in backbones
    without = name == "cityscapes" or re.search("mobilenetv2_1p4|resnet50_p5", name)
    assert config.pretrained != ("none",) or without


@pytest.mark.parametrize("name", TRAINING)
def test_no_recipe_looks_for_weights_that_it_does_not_name(name):
    assert ("imagenet" in parsed(name).pretrained) == (name == "camvid_pretrained")
    assert "auto" not in parsed(name).pretrained


@pytest.mark.parametrize("row", CITYSCAPES)
def test_every_row_of_the_published_table_has_a_preset(row):
    config = parsed(f"cityscapes_{row}")
    decoder, _, rest = row.partition("_")
    backbone, _, size = rest.rpartition("_")
    width, height = map(int, size.split("x"))
    assert config.img_resize == (height, width)
    assert config.model_name.startswith({"deeplab": "deeplabv3plus", "fpn": "fpn_aspp", "unet": "unet_aspp"}[decoder])
    assert backbone.removesuffix("_fd") in config.model_name
    assert ("_fd_" in config.model_name) == backbone.endswith("_fd")
    adam = (config.optimizer, config.lr, config.scheduler, config.batch_size) == ("adam", 4e-4, "step", 12)
    sgd = (config.optimizer, config.lr, config.scheduler, config.batch_size) == ("sgd", 0.1, "cosine", 16)
    assert sgd if "regnetx" in row else adam
    assert (config.epochs, config.warmup_epochs, config.weight_decay) == (250, 5, 1e-4)


@pytest.mark.parametrize(
    "name", [name for name in TRAINING if name.startswith(("ade20k32", "coco21")) or "0k_fpn" in name]
)
def test_recipe_of_60_epochs(name):
    config = parsed(name)
    assert (config.epochs, config.optimizer, config.scheduler, config.weight_decay) == (60, "sgd", "cosine", 4e-5)
    assert config.lr == (0.1 if "regnetx" in name else 0.05)
    assert config.interpolation == ("linear_exact" if name.startswith("coco21") else "area")


@pytest.mark.parametrize("name", TRAINING)
def test_flags_of_the_user_replace_those_of_the_preset(name):
    config, plain = parsed(name, "--epochs", "3"), parsed(name)
    assert config == dataclasses.replace(plain, epochs=3)
    assert expand([name, "--epochs", "3"])[1].count("--epochs") == 1
    assert parsed(name, "--epochs=3") == config


@pytest.mark.parametrize("name", ["streets", "cityscapes_fpn_mobilenetv2_1536x768"])
def test_flags_of_several_values_are_replaced_whole(name):
    config = parsed(name, "--img_resize", "64", "96", "--rand_scale", "1", "1", "--rand_crop", "64", "64")
    assert config.img_resize == (64, 96)
    assert config.rand_scale == (1.0, 1.0)
    assert config.optimizer == parsed(name).optimizer


def test_presets_that_take_a_run():
    assert expand(["qat", "runs/a", "--lr", "1"]) == ("quantize", ["runs/a", "--epochs", "10", "--lr", "1"])
    assert expand(["qat", "--help"])[1][-1] == "--help"
    for words in (["qat"], ["export", "--opset", "21"]):
        with pytest.raises(UsageError, match=r"RUN must follow, e\.g\. "):
            expand(words)


def test_unknown_and_missing_names():
    with pytest.raises(UsageError, match=r"unknown preset 'camvit'; did you mean camvid\?"):
        expand(["camvit"])
    for args in ([], ["--epochs", "3"]):
        with pytest.raises(UsageError, match="preset: a name must follow; `edgeailite presets` lists them"):
            expand(args)


def test_presets_verb_lists_them_by_group(command):
    ended = command("presets")
    assert ended.code == 0
    lines = [line for line in ended.out.splitlines() if line]
    assert [line for line in lines if not line.startswith("  ")] == list(GROUPS)
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(PRESETS)
    assert max(map(len, lines)) <= 140


# --- they run: a dry run at the real size, or to the end where there is nothing to train

RUNS_HERE = [name for name in TRAINING if name not in OWN]
FAST = ("cityscapes_unet_mobilenetv2_768x384", "ade20k32_fpn_regnetx400mf_384x384")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def of_presets(names):
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", of_presets(RUNS_HERE))
def test_training_presets_make_a_dry_run(made, monkeypatch, capsys, name):
    monkeypatch.chdir(made)
    monkeypatch.setattr(open_weights, "download", lambda url, **_: save_backbone(url, made / "weights"))
    machine = ["--workers", "0", "--device", "cpu", "--threads", "1", "--amp", "off", "--dry_run", "True"]
    before = sorted(path.name for path in made.iterdir() if path.name != "weights")
    code = main(["preset", name, *machine])
    ended = capsys.readouterr()
    assert code == 0, ended.err
    assert "dry run" in ended.out
    assert sorted(path.name for path in made.iterdir() if path.name != "weights") == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.verb == "models"])
def test_complexity_presets_print_every_network(command, name):
    ended = command("preset", name)
    assert ended.code == 0
    family = "ade20k" if "ade20k" in name else "edgeailite"
    assert all(network in ended.out for network, row in MODELS.items() if row.family == family)


def test_addresses_in_presets_are_known():
    urls = {file.url for weights in PUBLISHED for file in weights.files}
    words = {word for preset in PRESETS.values() for word in preset.flags.split() if "://" in word}
    assert words <= urls
