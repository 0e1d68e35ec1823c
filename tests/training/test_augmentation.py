"""Pipelines, resize rule and cache from the command line: what was asked for reaches training, file and infer."""

import csv

import pytest

from edgeailite.config import TrainConfig
from edgeailite.data.augment.extras import Extras
from edgeailite.errors import UsageError
from edgeailite.training.transforms import train_transform

TRAIN = ("train", "--img_resize", 64, 64, "--epochs", 1, "--batch_size", 2, "--workers", 0, "--device", "cpu")


def losses(run) -> list[tuple[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [(row["loss"], row["miou"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "flags",
    [
        ("--pipeline", "affine", "--blur", 1, "--cutout", 0.2, "--balanced_crops", 3),
        ("--pipeline", "published", "--interpolation", "area"),
        ("--pipeline", "ade20k", "--short_edges", 48, 64, "--padding", 32),
    ],
    ids=["affine", "published", "ade20k"],
)
def test_training_with_a_cache_is_the_same_training(miniature, tmp_path, command, flags):
    data = ("--data_path", miniature)
    assert command(*TRAIN, *data, *flags, "--save_path", tmp_path / "plain").code == 0
    shared = [
        word for flag in ("--pipeline", "--interpolation") if flag in flags for word in flags[flags.index(flag) :][:2]
    ]
    missing = command(*TRAIN, *data, *flags, "--save_path", tmp_path / "none", "--cache", tmp_path / "cache")
    assert missing.code == 3
    assert "edgeailite data cache" in missing.err
    ended = command("data", "cache", *data, "--img_resize", 64, 64, *shared, "--cache", tmp_path / "cache")
    assert ended.code == 0, ended.err
    assert command(*TRAIN, *data, *flags, "--save_path", tmp_path / "fast", "--cache", tmp_path / "cache").code == 0
    assert losses(tmp_path / "plain") == losses(tmp_path / "fast")


def test_the_resize_rule_is_one_from_training_to_the_file(miniature, tmp_path, command):
    run = tmp_path / "run"
    flags = ("--data_path", miniature, "--interpolation", "area", "--save_path", run, "--cache", tmp_path / "cache")
    size = ("--img_resize", 48, 48)
    command("data", "cache", "--data_path", miniature, *size, "--interpolation", "area", "--cache", tmp_path / "cache")
    assert command(*TRAIN, *flags, *size).code == 0
    assert command(*TRAIN, "--resume", run).code == 0
    assert command("export", run).code == 0
    assert command("verify", run).code == 0
    float_answer, file_answer = (
        command("validate", model, "--data_path", miniature, "--json", "True") for model in (run, run / "model.onnx")
    )
    assert float_answer.out.split('"miou"')[1] == file_answer.out.split('"miou"')[1]


def test_published_pipelines_have_no_colour_jitter_unless_asked():
    assert train_transform(TrainConfig()).extras == Extras(0.3)
    assert train_transform(TrainConfig(pipeline="published")).extras == Extras()
    assert train_transform(TrainConfig(pipeline="ade20k", color_jitter=0.1)).extras == Extras(0.1)


@pytest.mark.parametrize("pipeline", ["affine", "published", "ade20k"])
def test_every_pipeline_can_leave_pictures_unmirrored(pipeline):
    assert train_transform(TrainConfig(pipeline=pipeline)).flip
    assert not train_transform(TrainConfig(pipeline=pipeline, flip=False)).flip


@pytest.mark.parametrize(
    "options",
    [
        {"pipeline": "ade20k", "balanced_crops": 2},
        {"pipeline": "ade20k", "rand_crop": (64, 64)},
        {"pipeline": "published", "rand_crop": (512, 512)},
    ],
)
def test_options_that_do_not_fit_the_pipeline(options):
    with pytest.raises(UsageError, match=r"--(balanced_crops|rand_crop)"):
        TrainConfig(**options)
