"""The published scripts of edgeailite (`references/pixel2pixel`): their flags, and the values they start from.

Source: the scripts of TI's edgeai-torchvision r8.2 and main. There every flag is optional and replaces a value of the
script's own; the values that decide results are the `recipe`s here. Beside these flags every option of `edgeailite
train` is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeailite.compat.flags import (
    NOT_GIVEN,
    Flag,
    GivenFlag,
    OneOf,
    Only,
    WhereQuantized,
    Zeros,
    are_zero,
    as_flags,
    boolean,
    is_true,
    nothing,
    translate,
)

PHASES = {"training": "training", "calibration": "calibration", "validation": "validation"}
DATASETS = {
    "ade20k_segmentation": "ade20k_segmentation_151",  # published: 0 is a class
    "cityscapes_segmentation_train": "cityscapes_segmentation",
    "cityscapes_segmentation_with_additional_info": "cityscapes_segmentation",
}
FOLDERS = ("leftImg8bit_flow_confidence", "leftImg8bit")


def _three(asked: GivenFlag) -> Sequence[str]:
    """Take one value for all channels, or one each."""
    return asked.values * 3 if len(asked.values) == 1 else asked.values


def _dataset(asked: GivenFlag) -> Sequence[str]:
    return [DATASETS.get(value, value) for value in asked.values]


def _rand_scale(asked: GivenFlag) -> Sequence[str]:
    """0 0 is written as the scale 1 1; `without_augmentation` does the rest."""
    return ("1", "1") if are_zero(asked.values) else asked.values


def _resume(asked: GivenFlag) -> Sequence[str]:
    """A checkpoint file stands for its run folder."""
    return [str(Path(value).parent) if Path(value).suffix else value for value in asked.values]


def _device(asked: GivenFlag) -> Sequence[str]:
    return [value.partition(":")[0] for value in asked.values]


def _flow(asked: GivenFlag) -> Sequence[str]:
    flags = [part for value in asked.values for part in value.split(",")]
    if any(is_true(GivenFlag(asked.flag, (part,))) for part in flags):
        raise asked.refused("optical flow is augmented as a picture here; expected 0,0 0")
    return ()


def _folders(asked: GivenFlag) -> Sequence[str]:
    """The published script looks in folders of resized pictures by default; their names count as the plain ones."""
    if tuple(value.removesuffix("_768x384") for value in asked.values) != FOLDERS:
        raise asked.refused(f"the data set reads {' '.join(FOLDERS)}; link your folder to the first of these names")
    return ()


def _ranges(asked: GivenFlag) -> Sequence[str]:
    return ["percentile" if is_true(asked) else "ema"]


def _amp(asked: GivenFlag) -> Sequence[str]:
    return ["auto" if is_true(asked) else "off"]


_BALANCING = {name: name for name in ("learned", "uncertainty", "grad_norm", "dwa_grad_norm")}
_WEIGHT_BITS = OneOf({"8": "ort_u8s8", "7": "ort_u8s7"}, "integer files have weights of 8 bits, or 7 in them")
_BITS = OneOf({"8": ""}, "activations have 8 bits here, or 16 where a plan says so (edgeailite analyze)")
_BIAS = OneOf({"0": ""}, "biases are 32-bit integers here and need no limit")
_INTERPOLATION = OneOf({"1": "linear_exact", "3": "area"}, "OpenCV's numbers of linear and area are known here")
_BORDER = Zeros("pictures are not cropped at their borders here; crop the files")
_PER_TENSOR = "one scale for all channels is a scheme here: --scheme ort_u8s8_tensor of calibrate and quantize"
_MOVES = "calibration moves biases at once, without a learning rate: edgeailite calibrate --correct_bias True"
_GPU_NOTE = "one process for each GPU, as torchrun starts them; several only where several are there"

FLAGS: dict[str, Flag] = {
    # what and where
    "model_name": Flag("model_name", "NAME"),
    "model": Flag(takes="FILE", rule=OneOf({}, "a network of one's own is not read; take --model_name")),
    "dataset_name": Flag(
        "dataset_name", "NAME", _dataset, about="ade20k_segmentation, whose 0 is a class, is ..._151 here"
    ),
    "data_path": Flag("data_path", "DIR"),
    "image_folders": Flag(takes="DIR DIR", rule=_folders),
    "is_flow": Flag(takes="0,0 0", rule=_flow),
    "annotation_prefix": Flag(takes="NAME", rule=OneOf({}, "give annotations in COCO's form as --dataset_name folder")),
    "save_path": Flag("save_path", "DIR", about="the run folder itself, without folders of date and name in it"),
    "output_dir": Flag("save_path", "DIR", about="the run folder itself, as --save_path"),
    "log_file": Flag(takes="FILE", rule=nothing, note="no file: lines go to stderr, numbers to metrics.csv"),
    "pretrained": Flag("pretrained", "FILE|URL"),
    "resume": Flag(
        "resume",
        "FILE|DIR",
        _resume,
        about="goes on from last.pt of the run; other flags are taken from it, but for data path, workers, device, "
        "threads and timeout",
    ),
    "phase": Flag(
        "phase",
        "training|calibration|validation",
        OneOf(PHASES, "these are the phases"),
        about="what is done: edgeailite train, calibrate or validate",
    ),
    "save_onnx": Flag("save_onnx", "True|False", boolean, about="True: `edgeailite export` after the training"),
    # pictures
    "image_mean": Flag("image_mean", "X [X X]", _three),
    "image_scale": Flag("image_scale", "X [X X]", _three),
    "input_channel_reverse": Flag("input_channel_reverse", "True|False", boolean),
    "img_resize": Flag("img_resize", "H W"),
    "rand_scale": Flag("rand_scale", "LOW HIGH", _rand_scale, about="0 0: pictures as validation sees them"),
    "rand_crop": Flag("rand_crop", "H W"),
    "output_size": Flag("output_size", "H W"),
    "interpolation": Flag("interpolation", "1|3", _INTERPOLATION, about="1 linear_exact, 3 area"),
    "img_border_crop": Flag(takes="0 0 0 0", rule=_BORDER),
    # loop
    "batch_size": Flag("batch_size", "N"),
    "epochs": Flag("epochs", "N"),
    "epoch_size": Flag("epoch_size", "X"),
    "epoch_size_val": Flag("epoch_size_val", "X"),
    "optimizer": Flag("optimizer", "adam|sgd"),
    "lr": Flag("lr", "X"),
    "weight_decay": Flag("weight_decay", "X"),
    "scheduler": Flag("scheduler", "step|cosine|poly"),
    "warmup_epochs": Flag("warmup_epochs", "N"),
    "milestones": Flag("milestones", "N ..."),
    "multistep_gamma": Flag("multistep_gamma", "X"),
    "freeze_bn": Flag("freeze_bn", "True|False", boolean),
    "multi_task_type": Flag(
        "task_balancing",
        "NAME",
        OneOf(_BALANCING | {"pseudo_grad_norm": "learned"}, "these are the published ways"),
        about="pseudo_grad_norm is learned",
    ),
    "evaluate_start": Flag("evaluate_start", "True|False", boolean),
    "shuffle": Flag(takes="True", rule=Only(True, "training pictures are always shuffled, by --seed")),
    "shuffle_val": Flag(takes="True|False", rule=nothing, note="no effect: accuracy does not depend on the order"),
    # machine
    "gpus": Flag("gpus", "N ...", about="sets CUDA_VISIBLE_DEVICES, unless it is set"),
    "device": Flag("device", "cpu|cuda", _device),
    "parallel_model": Flag("several", "True|False", boolean, _GPU_NOTE),
    "distributed": Flag("several", "True|False", boolean, _GPU_NOTE),
    "workers": Flag("workers", "N"),
    "enable_fp16": Flag("amp", "True|False", _amp, about="True: bf16, where the device computes it fast"),
    # quantization
    "quantize": Flag(
        "quantize", "True|False", boolean, about="training: quantization-aware, of the network in --pretrained"
    ),
    "quantization": Flag("quantize", "True|False", boolean),
    "histogram_range": Flag("observer", "True|False", WhereQuantized(_ranges), about="True percentile, False ema"),
    "per_channel_q": Flag(takes="True", rule=WhereQuantized(Only(True, _PER_TENSOR))),
    "bias_calibration": Flag(takes="False", rule=WhereQuantized(Only(False, _MOVES))),
    "bitwidth_weights": Flag("scheme", "8|7", WhereQuantized(_WEIGHT_BITS), about="8 ort_u8s8, 7 ort_u8s7"),
    "bitwidth_activations": Flag(takes="8", rule=WhereQuantized(_BITS)),
    "constrain_bias": Flag(takes="0", rule=WhereQuantized(_BIAS)),
    "lr_clips": Flag(
        takes="X",
        rule=nothing,
        note="no effect, here as in the published code; ranges that learn: edgeailite quantize --ranges learned",
    ),
    "lr_calib": Flag(takes="0", rule=Zeros(_MOVES, ("calibration",))),
}

_COMMON = {
    "model_name": "deeplabv3plus_mobilenetv2_tv_edgeailite",
    "img_resize": "384 768",
    "pipeline": "published",
    "interpolation": "area",
    "optimizer": "adam",
    "weight_decay": "1e-4",
    "scheduler": "step",
    "schedule_by": "epoch",
    "milestones": "100 200",
    "warmup_epochs": "5",
    "epochs": "250",
    "allow_head_mismatch": "True",
}
_SEGMENTATION = {"dataset_name": "cityscapes_segmentation", "lr": "4e-4", "multistep_gamma": "0.25", "batch_size": "12"}
_TWO_INPUTS = {"lr": "1e-4", "multistep_gamma": "0.5", "batch_size": "16"}
_DEPTH = {
    "dataset_name": "kitti_depth",
    "output_size": "374 1242",
    "lr": "4e-4",
    "multistep_gamma": "0.25",
    "batch_size": "32",
    "epoch_size": "0.125",
}
_INFER = ("phase", "save_path", "gpus", "batch_size", "model_name", "dataset_name", "data_path", "epoch_size",
          "img_resize", "rand_scale", "rand_crop", "output_size", "quantize", "pretrained", "bitwidth_weights",
          "bitwidth_activations", "img_border_crop")  # fmt: skip


@dataclass(frozen=True)
class Script:
    """A published script: the flags that are its own, its recipe in options of this package, its first phase."""

    flags: Mapping[str, Flag]
    recipe: Mapping[str, str]
    phase: str = "training"


SCRIPTS: dict[str, Script] = {
    "train_segmentation_main": Script(FLAGS, _COMMON | _SEGMENTATION | {"evaluate_start": "True"}),
    "infer_segmentation_main": Script(
        {name: FLAGS[name] for name in _INFER},
        _COMMON | _SEGMENTATION | {"dataset_name": "cityscapes_segmentation_measure"},
        phase="inference",
    ),
    "train_depth_main": Script(FLAGS, _COMMON | _DEPTH | {"evaluate_start": "True"}),
    "train_motion_segmentation_main": Script(
        FLAGS, _COMMON | _TWO_INPUTS | {"dataset_name": "cityscapes_motion_multi_input", "evaluate_start": "True"}
    ),
    "train_pixel2pixel_multitask_main": Script(
        FLAGS, _COMMON | _TWO_INPUTS | {"dataset_name": "cityscapes_depth_semantic_motion_multi_input"}
    ),
}


@dataclass(frozen=True)
class Command:
    """A published command in options of this package; `given` are those that the user named, by name."""

    phase: str
    options: Mapping[str, list[str]]
    given: Mapping[str, list[str]]
    notes: tuple[str, ...]
    gpus: tuple[str, ...] | None = None
    several: bool = True
    save_onnx: bool = False
    quantize: bool = False


def read(script: str, words: Sequence[str]) -> Command:
    """Read a published command into a `Command`. Raises UsageError for parts that cannot be done."""
    table = SCRIPTS[script]
    flags = {name: values for name, values in as_flags(words).items() if values != NOT_GIVEN}
    plain = translate(
        table.flags, {name: flags[name] for name in ("phase", "quantize", "quantization") if name in flags}
    )
    phase = "".join(plain.values.get("phase", [table.phase]))
    phase = table.phase if table.phase == "inference" else phase  # `--phase validation` is printed for it
    quantize = plain.values.get("quantize") == ["True"]
    found = translate(table.flags, flags, phase=phase, quantize=quantize)
    given = dict(found.values)
    gpus, several, onnx = (given.pop(name, None) for name in ("gpus", "several", "save_onnx"))
    for name in ("phase", "quantize"):
        given.pop(name, None)
    if are_zero(flags.get("rand_scale", ["1"])):
        given |= without_augmentation()
    options = {name: value.split() for name, value in table.recipe.items()} | given
    return Command(
        phase,
        options,
        given,
        found.notes,
        gpus=None if gpus is None else tuple(gpus),
        several=several != ["False"],
        save_onnx=onnx == ["True"],
        quantize=quantize,
    )


def without_augmentation() -> dict[str, list[str]]:
    """Return options for training pictures as in validation: the published meaning of `--rand_scale 0 0`."""
    return {"rand_scale": ["1", "1"], "rotation": ["0"], "flip": ["False"]}
