"""ADE20K commands of every year: the form they are of, their settings, and what these are here."""

import dataclasses
import json
from pathlib import Path

import pytest

from edgeailite.compat.ade20k import FORMS, JOINT, KEYS, OLDER, OTHER
from edgeailite.compat.ade20k_reading import read
from edgeailite.compat.weights import training_config
from edgeailite.config import TrainConfig
from edgeailite.errors import DataError, UsageError

# keys and defaults of master's config/defaults.py
DEFAULTS = {
    "DIR": "ckpt/ade20k-resnet50dilated-ppm_deepsup",
    "DATASET": "root_dataset list_train list_val num_class imgSizes imgMaxSize padding_constant segm_downsampling_rate "
    "random_flip",
    "MODEL": "arch_encoder arch_decoder weights_encoder weights_decoder fc_dim",
    "TRAIN": "batch_size_per_gpu num_epoch start_epoch epoch_iters optim lr_encoder lr_decoder lr_pow beta1 "
    "weight_decay deep_sup_scale fix_bn workers disp_iter seed",
    "VAL": "batch_size visualize checkpoint",
    "TEST": "batch_size checkpoint result",
}
# the arguments that the README of December 2017 prints for train.py, eval.py and test.py
PRINTED_2017 = [
    "id",
    "arch_encoder",
    "arch_decoder",
    "weights_encoder",
    "weights_decoder",
    "fc_dim",
    "list_train",
    "list_val",
    "root_img",
    "root_seg",
    "num_gpus",
    "batch_size_per_gpu",
    "num_epoch",
    "optim",
    "lr_encoder",
    "lr_decoder",
    "beta1",
    "weight_decay",
    "fix_bn",
    "num_val",
    "workers",
    "imgSize",
    "segSize",
    "num_class",
    "seed",
    "ckpt",
    "vis",
    "disp_iter",
    "eval_epoch",
    "ckpt_epoch",
    "suffix",
    "batch_size",
    "visualize",
    "result",
    "test_img",
]


def config_of(*words: str) -> TrainConfig:
    return training_config(read("train", words).options)


def test_every_published_key_and_flag_has_a_row():
    keys = {f"{section}.{name}" for section, names in DEFAULTS.items() if section != "DIR" for name in names.split()}
    assert set(KEYS) == keys | {"DIR"}
    assert set(PRINTED_2017) <= set(FORMS["2017"].flags) <= {*OLDER, *OTHER}
    assert {*FORMS["2018"].flags, *FORMS["2019"].flags} <= {*OLDER, *OTHER}
    assert set(OLDER.values()) <= set(KEYS)
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    assert {flag.to for flag in (KEYS | OTHER).values() if flag.to not in ("", JOINT)} <= known


@pytest.mark.parametrize(
    "line, year",
    [
        ("", "2017"),
        ("--fix_bn 1 --num_gpus 2", "2017"),
        ("--arch_encoder resnet50_dilated8 --arch_decoder psp_bilinear", "2017"),
        ("--arch_encoder resnet50_dilated8 --arch_decoder ppm_bilinear_deepsup", "2018"),
        ("--arch_encoder resnet101_dilated16", "2018"),
        ("--imgSize 300 375 --padding_constant 32", "2018"),
        ("--gpus 0-3", "2018"),
        ("--gpus 0-3 TRAIN.num_epoch 5", "2019"),
        ("DIR runs/x", "2019"),
        ("--ema 0.9 --dry_run True", "2017"),
    ],
)
def test_the_oldest_form_that_fits(line, year):
    assert read("train", line.split()).year == year


def test_flags_of_two_years_are_refused():
    with pytest.raises(UsageError, match="--epoch_iters, --vis: these flags belong to different years"):
        read("train", ["--vis", "x", "--epoch_iters", "5"])


def test_training_of_2017():
    config = config_of()
    assert read("train", []).model_name == "v1_resnet34_dilated8_c1_bilinear"
    assert (config.epochs, config.batch_size, config.lr, config.lr_encoder) == (100, 16, 1e-2, 1e-3)
    assert (config.img_resize, config.rand_crop, config.rand_scale) == ((384, 384), (384, 384), (0.5, 1.5))
    assert (config.schedule_by, config.decay, config.align_corners, config.epoch_size) == ("epoch", "all", True, 0)


def test_training_of_2018_takes_bgr():
    command = read("train", ["--gpus", "0-1", "--batch_size_per_gpu", "3", "--epoch_iters", "10", "--id", "x"])
    config = training_config(command.options)
    assert command.model_name == "resnet50_dilated8_ppm_bilinear_deepsup"
    assert (config.batch_size, config.epoch_size, config.pipeline, config.decay) == (6, 60, "ade20k", "weights")
    assert (config.input_channel_reverse, config.image_scale) == (True, (1, 1, 1))
    assert command.folder == Path("ckpt/x")


def test_training_of_2019_from_a_file_and_keys(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "DATASET: {imgSizes: [300, 375], num_class: 150}\nMODEL: {arch_encoder: HRNetV2, arch_decoder: c1}\n"
    )
    words = f"--gpus 0,2 --cfg {path} --amp off TRAIN.lr_encoder 0.5 TRAIN.fix_bn True DATASET.imgMaxSize 500".split()
    with pytest.raises(UsageError, match=r"command line: unknown key TRAIN\.num_epochs; did you mean TRAIN\.num_epoch"):
        read("train", [*words, "TRAIN.num_epochs", "3"])
    command = read("train", words)
    config = training_config(command.options)
    assert command.model_name == "hrnetv2_c1"
    assert (config.short_edges, config.max_size, config.freeze_bn) == ((300, 375), 500, True)
    assert (config.lr_encoder, config.lr, config.lr_power, config.amp) == (0.5, 0.02, 0.9, "off")
    assert (config.batch_size, config.epoch_size, config.epochs) == (4, 20000, 20)
    assert command.folder == Path(DEFAULTS["DIR"])
    assert read("train", ["DATASET.imgSizes", "(300, 450)"]).options["short_edges"] == ["300", "450"]


def test_input_statistics_are_those_of_imagenet():
    config = config_of("DIR", "x")
    assert [round(mean / 255, 3) for mean in config.image_mean] == [0.485, 0.456, 0.406]
    assert [round(1 / (255 * scale), 3) for scale in config.image_scale] == [0.229, 0.224, 0.225]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("DATASET.num_class 19", "150: the lists have 150 classes"),
        ("DATASET.imgsizes 300", "unknown key DATASET.imgsizes; did you mean DATASET.imgSizes"),
        ("TRAIN.num_epoch", "a value must follow each KEY"),
        ("TRAIN.batch_size_per_gpu many", "TRAIN.batch_size_per_gpu many: expected a whole number"),
        ("--segSize 128", "--segSize 128: has to be imgSize, 384"),
        ("--gpus all", "--gpus all: expected numbers"),
        ("--root_img a/images --root_seg b/annotations", "of one folder; or give --root_dataset"),
        ("--fix_bn maybe", "TRAIN.fix_bn maybe: expected True or False"),
    ],
)
def test_what_cannot_be_done_is_refused(line, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        read("train", line.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, reason", [(None, "cannot be read"), ("- a", "expected sections"), ("a: [", "cannot be")]
)
def test_a_file_that_is_no_configuration(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(DataError, match=reason):
        read("train", ["--cfg", str(tmp_path / "c.yaml")])


def test_folders_of_pictures_and_masks():
    words = ["--root_img", "d/ADE/images", "--root_seg", "d/ADE/annotations"]
    assert read("train", words).options["data_path"] == ["d/ADE"]
    assert read("train", ["--root_dataset", "e", "--list_train", "e/a.odgt"]).options["train_split"] == ["e/a.odgt"]


@pytest.mark.parametrize(
    "script, line, edges",
    [
        ("eval", "--id x", "256 384 512 640 768"),
        ("eval", "--id x --imgSize 400", "200 300 400 500 600"),
        ("eval", "--id x --imgMaxSize 1000", "450"),
        ("test", "--test_img a --imgMaxSize 1000", "300 400 500 600"),
        ("test", "--imgs a", "300 375 450 525 600"),
        ("eval", "DIR x DATASET.imgSizes [450]", "450"),
    ],
)
def test_short_edges_of_evaluation(script, line, edges):
    assert " ".join(read(script, line.split()).options["short_edges"]) == edges


def test_ineffective_keys_are_said():
    notes = read(
        "train", ["MODEL.fc_dim", "320", "TRAIN.optim", "Adam", "TRAIN.disp_iter", "5", "VAL.batch_size", "4"]
    ).notes
    assert [note.partition(": ")[0] for note in notes] == [
        "MODEL.fc_dim", "TRAIN.optim", "TRAIN.disp_iter", "VAL.batch_size",
    ]  # fmt: skip
    assert all("no effect" in note for note in notes)


def test_suffix_and_folders_of_older_runs():
    command = read("eval", ["--id", "a", "--ckpt", "out", "--suffix", "_latest.pth"])
    assert (command.folder, command.setting("VAL.checkpoint")) == (Path("out/a"), "_latest.pth")
    command = read("test", ["--model_path", "m", "--test_imgs", "p", "--suffix", "_epoch_3.pth"])
    assert (command.folder, command.setting("TEST.checkpoint")) == (Path("m"), "_epoch_3.pth")
    assert json.dumps(command.notes) == "[]"
