"""Every published flag of the edgeailite scripts: what it is here, what is refused and why, what is said."""

import dataclasses
import re

import pytest

from edgeailite import config as configs
from edgeailite.cli import parse
from edgeailite.compat.pixel2pixel import FLAGS, SCRIPTS, read
from edgeailite.compat.weights import as_words, training_config
from edgeailite.errors import UsageError

# the arguments of the published parsers, of all five scripts and of releases 8 and 9
TRAIN = [
    "image_mean",
    "image_scale",
    "input_channel_reverse",
    "save_path",
    "gpus",
    "batch_size",
    "lr",
    "weight_decay",
    "lr_clips",
    "lr_calib",
    "model_name",
    "model",
    "dataset_name",
    "data_path",
    "optimizer",
    "scheduler",
    "epochs",
    "warmup_epochs",
    "milestones",
    "multistep_gamma",
    "img_resize",
    "rand_scale",
    "rand_crop",
    "output_size",
    "pretrained",
    "resume",
    "phase",
    "evaluate_start",
    "workers",
    "save_onnx",
    "quantize",
    "quantization",
    "histogram_range",
    "per_channel_q",
    "bias_calibration",
    "bitwidth_weights",
    "bitwidth_activations",
    "constrain_bias",
    "freeze_bn",
    "shuffle",
    "shuffle_val",
    "epoch_size",
    "epoch_size_val",
    "interpolation",
    "parallel_model",
    "img_border_crop",
    "enable_fp16",
    "annotation_prefix",
    "output_dir",
    "device",
    "distributed",
    "image_folders",
    "is_flow",
    "log_file",
    "multi_task_type",
]
INFER = [
    "save_path",
    "gpus",
    "batch_size",
    "model_name",
    "dataset_name",
    "data_path",
    "epoch_size",
    "img_resize",
    "rand_scale",
    "rand_crop",
    "output_size",
    "quantize",
    "pretrained",
    "bitwidth_weights",
    "bitwidth_activations",
    "img_border_crop",
]
SCRIPT = "train_segmentation_main"


def options(line: str, script: str = SCRIPT) -> dict[str, str]:
    return {name: " ".join(values) for name, values in read(script, line.split()).options.items()}


def given(line: str, script: str = SCRIPT) -> dict[str, str]:
    return {name: " ".join(values) for name, values in read(script, line.split()).given.items()}


def test_every_published_flag_has_a_row():
    assert set(FLAGS) == set(TRAIN)
    assert set(SCRIPTS["infer_segmentation_main"].flags) == {*INFER, "phase"}


def test_every_option_that_a_row_leads_to_exists():
    kinds = [getattr(configs, name) for name in configs.__all__ if name.endswith("Config")]
    known = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    here = {"phase", "gpus", "several", "save_onnx"}  # what a script does itself
    assert {flag.to for flag in FLAGS.values() if flag.to} <= known | here


@pytest.mark.parametrize("script", SCRIPTS)
def test_recipes_are_options_of_the_training(script):
    config = training_config(read(script, []).options)
    assert (config.pipeline, config.interpolation, config.optimizer) == ("published", "area", "adam")
    assert (config.epochs, config.warmup_epochs, config.milestones) == (250, 5, (100, 200))
    assert (config.schedule_by, config.scheduler, config.weight_decay) == ("epoch", "step", 1e-4)


@pytest.mark.parametrize(
    "script, lr, batch, gamma, epoch_size, start",
    [
        ("train_segmentation_main", 4e-4, 12, 0.25, 0, True),
        ("train_depth_main", 4e-4, 32, 0.25, 0.125, True),
        ("train_motion_segmentation_main", 1e-4, 16, 0.5, 0, True),
        ("train_pixel2pixel_multitask_main", 1e-4, 16, 0.5, 0, False),
    ],
)
def test_published_defaults(script, lr, batch, gamma, epoch_size, start):
    config = training_config(read(script, []).options)
    found = (config.lr, config.batch_size, config.multistep_gamma, config.epoch_size, config.evaluate_start)
    assert found == (lr, batch, gamma, epoch_size, start)


@pytest.mark.parametrize(
    "line, option, value",
    [
        ("--image_mean 128", "image_mean", "128 128 128"),
        ("--image_scale 0.1 0.2 0.3", "image_scale", "0.1 0.2 0.3"),
        ("--input_channel_reverse yes", "input_channel_reverse", "True"),
        ("--freeze_bn 0", "freeze_bn", "False"),
        ("--interpolation 1", "interpolation", "linear_exact"),
        ("--interpolation 3", "interpolation", "area"),
        ("--enable_fp16 True", "amp", "auto"),
        ("--enable_fp16 false", "amp", "off"),
        ("--device cuda:0", "device", "cuda"),
        ("--resume runs/a/last.pt", "resume", "runs/a"),
        ("--resume runs/a", "resume", "runs/a"),
        ("--output_dir runs/a", "save_path", "runs/a"),
        ("--dataset_name ade20k_segmentation", "dataset_name", "ade20k_segmentation_151"),
        ("--dataset_name voc_segmentation", "dataset_name", "voc_segmentation"),
        ("--multi_task_type pseudo_grad_norm", "task_balancing", "learned"),
        ("--multi_task_type uncertainty", "task_balancing", "uncertainty"),
        ("--phase calibration --bitwidth_weights 7", "scheme", "ort_u8s7"),
        ("--phase calibration --histogram_range False", "observer", "ema"),
        ("--rand_scale 0.5 1.5", "rand_scale", "0.5 1.5"),
        ("--milestones 3 5", "milestones", "3 5"),
        ("--lr=0.1", "lr", "0.1"),
    ],
)
def test_values_are_said_in_our_words(line, option, value):
    assert given(line)[option] == value


def test_no_augmentation_is_what_rand_scale_of_zero_asks_for():
    assert given("--rand_scale 0 0.0") == {"rand_scale": "1 1", "rotation": "0", "flip": "False"}
    assert "flip" not in given("--rand_scale 1 2")


ANYWAY = (
    "--lr None",
    "--bitwidth_weights 8",
    "--constrain_bias 1",
    "--per_channel_q False",
    "--bias_calibration True",
    "--bitwidth_activations 8 --quantize True",
    "--constrain_bias 0 --quantize True",
    "--per_channel_q True --quantize 1",
    "--bias_calibration no --phase calibration",
    "--shuffle True",
    "--img_border_crop 0 0 0 0",
    "--is_flow 0,0 0",
    "--image_folders leftImg8bit_flow_confidence_768x384 leftImg8bit",
    "--lr_calib 0.05",
    "--lr_calib 0 --phase calibration",
)


@pytest.mark.parametrize("line", ANYWAY)
def test_what_is_done_anyway_or_has_no_effect_is_taken(line):
    found = given(line)
    found.pop("scheme", None)
    assert found == {}


@pytest.mark.parametrize(
    "line, reason",
    [
        ("--interpolation 2", r"--interpolation 2: expected 1 or 3: OpenCV's numbers"),
        ("--img_border_crop 0 0 8 8", "pictures are not cropped at their borders"),
        ("--model net.onnx", "take --model_name"),
        ("--annotation_prefix instances", "--dataset_name folder"),
        ("--shuffle False", "always shuffled"),
        ("--shuffle maybe", "expected True or False"),
        ("--freeze_bn", "expected True or False"),
        ("--phase test", "expected training or calibration or validation"),
        ("--multi_task_type adaptive", "expected learned or"),
        ("--quantize True --bitwidth_weights 4", "expected 8 or 7"),
        ("--quantize True --bitwidth_activations 4", "expected 8: activations have 8 bits here, or 16 where a plan"),
        ("--quantize True --constrain_bias 1", "32-bit integers"),
        ("--quantize True --per_channel_q False", "one scale for all channels is a scheme here"),
        ("--phase calibration --bias_calibration True", "moves biases at once"),
        ("--phase calibration --lr_calib 0.05", "moves biases at once"),
        ("--is_flow 1,0 0", "optical flow is augmented as a picture"),
        ("--image_folders leftImg8bit_previous leftImg8bit", "link your folder to the first"),
        ("camvid", "unexpected argument 'camvid'"),
    ],
)
def test_what_would_change_the_result_is_refused(line, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        read(SCRIPT, line.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flag", ["lr_clips 1e-3", "shuffle_val False", "log_file a.log", "parallel_model False"])
def test_notes_name_the_flag(flag):
    notes = read(SCRIPT, ["--" + flag.split()[0], flag.split()[1]]).notes
    assert [note.partition(":")[0] for note in notes] == ["--" + flag.split()[0]]


def test_the_last_of_a_flag_counts_and_recipes_give_way():
    assert options("--lr 1 --optimizer sgd --lr 2")["lr"] == "2"
    assert options("--optimizer sgd")["optimizer"] == "sgd"


def test_what_a_script_does_itself():
    command = read(
        SCRIPT,
        [
            "--gpus",
            "0",
            "1",
            "--quantize",
            "True",
            "--save_onnx",
            "True",
            "--parallel_model",
            "False",
            "--phase",
            "training",
        ],
    )
    assert (command.gpus, command.quantize, command.save_onnx, command.several) == (("0", "1"), True, True, False)
    assert not {"gpus", "quantize", "save_onnx", "several", "phase"} & {*command.options, *command.given}
    assert read(SCRIPT, []).gpus is None


def test_options_of_ours_pass_as_they_are():
    config = parse("train", as_words(read(SCRIPT, ["--ema", "0.999", "--dry_run", "True"]).options), prog="x")
    assert (config.ema, config.dry_run) == (0.999, True)


def test_inference_takes_the_printed_phase():
    assert read("infer_segmentation_main", ["--phase", "validation"]).phase == "inference"
    assert re.fullmatch(".*_measure", options("", "infer_segmentation_main")["dataset_name"])
