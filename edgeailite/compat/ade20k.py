"""The published scripts for ADE20K (`references/ade20k`): keys of their YAML files, flags of 2017 and 2018, defaults.

Source: CSAIL's semantic-segmentation-pytorch, its first version (2017), version 2 (2018) and master (since 2019). A
setting has one name here, that of master's key (`TRAIN.lr_decoder`); older flags lead to it. Settings that take part in
one option together (the two architectures, GPUs x batch) are joined in `ade20k_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeailite.compat.flags import Flag, OneOf, boolean, nothing

JOINT = "with others"  # marks settings that `ade20k_reading` joins
SHORT_EDGES = "300 375 450 525 600"


_CLASSES = OneOf({"150": ""}, "the lists have 150 classes; a data set of your own is --dataset_name folder")
_LOSS_SIZE = "no effect: labels are not made smaller, the loss is taken at the size of the picture"
_FC_DIM = "no effect: the network knows its widths"
_SGD = "no effect, as in the published code: it trains with SGD"
_ONE = "no effect, as in the published code: pictures are taken one by one"

KEYS: dict[str, Flag] = {
    "DIR": Flag(JOINT, "DIR", about="the run folder; published weights in it are read as well"),
    "DATASET.root_dataset": Flag("data_path", "DIR"),
    "DATASET.list_train": Flag("train_split", "FILE"),
    "DATASET.list_val": Flag("val_split", "FILE"),
    "DATASET.num_class": Flag(takes="150", rule=_CLASSES),
    "DATASET.imgSizes": Flag("short_edges", "N ..."),
    "DATASET.imgMaxSize": Flag("max_size", "N"),
    "DATASET.padding_constant": Flag("padding", "N"),
    "DATASET.segm_downsampling_rate": Flag(takes="N", rule=nothing, note=_LOSS_SIZE),
    "DATASET.random_flip": Flag("flip", "True|False", boolean),
    "MODEL.arch_encoder": Flag(JOINT, "NAME"),
    "MODEL.arch_decoder": Flag(JOINT, "NAME"),
    "MODEL.weights_encoder": Flag(JOINT, "FILE|URL", about="empty: the published backbone; None: no weights"),
    "MODEL.weights_decoder": Flag(JOINT, "FILE|URL"),
    "MODEL.fc_dim": Flag(takes="N", rule=nothing, note=_FC_DIM),
    "TRAIN.batch_size_per_gpu": Flag(JOINT, "N"),
    "TRAIN.num_epoch": Flag("epochs", "N"),
    "TRAIN.start_epoch": Flag(
        JOINT, "N", about="goes on from the last state in DIR, whatever the number above the first"
    ),
    "TRAIN.epoch_iters": Flag(JOINT, "N"),
    "TRAIN.optim": Flag(takes="SGD", rule=nothing, note=_SGD),
    "TRAIN.lr_encoder": Flag("lr_encoder", "X"),
    "TRAIN.lr_decoder": Flag("lr", "X"),
    "TRAIN.lr_pow": Flag("lr_power", "X"),
    "TRAIN.beta1": Flag("momentum", "X"),
    "TRAIN.weight_decay": Flag("weight_decay", "X"),
    "TRAIN.deep_sup_scale": Flag("deep_supervision", "X"),
    "TRAIN.fix_bn": Flag("freeze_bn", "True|False", boolean),
    "TRAIN.workers": Flag("workers", "N"),
    "TRAIN.disp_iter": Flag(takes="N", rule=nothing, note="no effect: progress is shown all the time"),
    "TRAIN.seed": Flag("seed", "N"),
    "VAL.batch_size": Flag(takes="N", rule=nothing, note=_ONE),
    "VAL.visualize": Flag(JOINT, "True|False"),
    "VAL.checkpoint": Flag(JOINT, "epoch_N.pth"),
    "TEST.batch_size": Flag(takes="N", rule=nothing, note=_ONE),
    "TEST.checkpoint": Flag(JOINT, "epoch_N.pth"),
    "TEST.result": Flag(JOINT, "DIR"),
}

# Flags of 2017 and 2018 that are one of the keys; a script's own meaning of `result`, `suffix`, .. is in `Script`.
OLDER: dict[str, str] = {
    "arch_encoder": "MODEL.arch_encoder",
    "arch_decoder": "MODEL.arch_decoder",
    "weights_encoder": "MODEL.weights_encoder",
    "weights_decoder": "MODEL.weights_decoder",
    "fc_dim": "MODEL.fc_dim",
    "root_dataset": "DATASET.root_dataset",
    "list_train": "DATASET.list_train",
    "list_val": "DATASET.list_val",
    "num_class": "DATASET.num_class",
    "imgSize": "DATASET.imgSizes",
    "imgMaxSize": "DATASET.imgMaxSize",
    "padding_constant": "DATASET.padding_constant",
    "segm_downsampling_rate": "DATASET.segm_downsampling_rate",
    "random_flip": "DATASET.random_flip",
    "batch_size_per_gpu": "TRAIN.batch_size_per_gpu",
    "num_epoch": "TRAIN.num_epoch",
    "start_epoch": "TRAIN.start_epoch",
    "epoch_iters": "TRAIN.epoch_iters",
    "optim": "TRAIN.optim",
    "lr_encoder": "TRAIN.lr_encoder",
    "lr_decoder": "TRAIN.lr_decoder",
    "lr_pow": "TRAIN.lr_pow",
    "beta1": "TRAIN.beta1",
    "weight_decay": "TRAIN.weight_decay",
    "deep_sup_scale": "TRAIN.deep_sup_scale",
    "fix_bn": "TRAIN.fix_bn",
    "workers": "TRAIN.workers",
    "disp_iter": "TRAIN.disp_iter",
    "seed": "TRAIN.seed",
    "batch_size": "VAL.batch_size",
    "visualize": "VAL.visualize",
    "suffix": "VAL.checkpoint",
    "result": "TEST.result",
}

# Flags without a key.
OTHER: dict[str, Flag] = {
    "cfg": Flag(JOINT, "FILE", about="YAML of the keys; KEY VALUE after the flags replaces one"),
    "gpus": Flag(JOINT, "0|0,2|0-3|gpu0-3"),
    "gpu": Flag(JOINT, "N"),
    "gpu_id": Flag(JOINT, "N"),
    "devices": Flag(JOINT, "gpu0-3"),
    "num_gpus": Flag(JOINT, "N"),
    "imgs": Flag(JOINT, "FILE|DIR"),
    "test_img": Flag(JOINT, "FILE"),
    "test_imgs": Flag(JOINT, "FILE"),
    "id": Flag(JOINT, "NAME", about="the run folder is CKPT/ID, without the settings that were put behind it"),
    "ckpt": Flag(JOINT, "DIR"),
    "model_path": Flag(JOINT, "DIR"),
    "root_img": Flag(JOINT, "DIR"),
    "root_seg": Flag(JOINT, "DIR"),
    "segSize": Flag(JOINT, "N", about="has to be imgSize: predictions have the size of the picture"),
    "num_val": Flag("epoch_size_val", "N", lambda asked: ["0" if asked.values[0] == "-1" else asked.values[0]]),
    "vis": Flag(takes="DIR", rule=nothing, note="no effect: pictures of the validation are in the run folder"),
    "eval_epoch": Flag("evaluate_every", "N"),
    "ckpt_epoch": Flag(takes="N", rule=nothing, note="no effect: the state is written after every epoch"),
}

_IMAGENET = {
    "image_mean": "123.675 116.28 103.53",
    "image_scale": "0.017124753831663668 0.01750700280112045 0.017429193899782137",
    "input_channel_reverse": "False",
}
_CAFFE = {"image_mean": "102.9801 115.9465 122.7717", "image_scale": "1 1 1", "input_channel_reverse": "True"}
_COMMON = {
    "dataset_name": "ade20k_segmentation",
    "optimizer": "sgd",
    "scheduler": "poly",
    "warmup_epochs": "0",
    "interpolation": "area",
}
# img_resize is what training validates at, and the size of an exported network; the published training has neither.
_BATCHES = _COMMON | {"pipeline": "ade20k", "decay": "weights", "img_resize": "512 512", "color_jitter": "0"}


@dataclass(frozen=True)
class Form:
    """A year's form of the published command lines: its flags, default settings, and options that it implies.

    `edges` are the short edges of eval and test, if they are not those of the training.
    """

    flags: tuple[str, ...]
    settings: Mapping[str, str]
    options: Mapping[str, str]
    edges: Mapping[str, str]


_BOTH = ("id", "arch_encoder", "arch_decoder", "weights_encoder", "weights_decoder", "fc_dim", "list_train", "list_val",
         "num_gpus", "batch_size_per_gpu", "num_epoch", "optim", "lr_encoder", "lr_decoder", "beta1", "weight_decay",
         "fix_bn", "num_val", "num_class", "workers", "imgSize", "seed", "ckpt", "disp_iter", "suffix", "batch_size",
         "visualize", "result", "test_img")  # fmt: skip
_ONLY_2017 = ("root_img", "root_seg", "segSize", "vis", "eval_epoch", "ckpt_epoch")
_ONLY_2018 = ("root_dataset", "imgMaxSize", "padding_constant", "segm_downsampling_rate", "random_flip", "start_epoch",
              "epoch_iters", "lr_pow", "deep_sup_scale", "gpus", "devices", "gpu_id", "test_imgs",
              "model_path")  # fmt: skip

_2019 = {
    "DIR": "ckpt/ade20k-resnet50dilated-ppm_deepsup",
    "DATASET.root_dataset": "./data/",
    "DATASET.imgSizes": SHORT_EDGES,
    "DATASET.imgMaxSize": "1000",
    "DATASET.padding_constant": "8",
    "DATASET.random_flip": "True",
    "MODEL.arch_encoder": "resnet50dilated",
    "MODEL.arch_decoder": "ppm_deepsup",
    "TRAIN.batch_size_per_gpu": "2",
    "TRAIN.num_epoch": "20",
    "TRAIN.start_epoch": "0",
    "TRAIN.epoch_iters": "5000",
    "TRAIN.lr_encoder": "0.02",
    "TRAIN.lr_decoder": "0.02",
    "TRAIN.lr_pow": "0.9",
    "TRAIN.beta1": "0.9",
    "TRAIN.weight_decay": "1e-4",
    "TRAIN.deep_sup_scale": "0.4",
    "TRAIN.fix_bn": "False",
    "TRAIN.seed": "304",
    "VAL.checkpoint": "epoch_20.pth",
    "TEST.checkpoint": "epoch_20.pth",
    "TEST.result": "./",
}
FORMS: dict[str, Form] = {
    "2017": Form(
        (*_BOTH, *_ONLY_2017),
        {
            "MODEL.arch_encoder": "resnet34_dilated8",
            "MODEL.arch_decoder": "c1_bilinear",
            "TRAIN.batch_size_per_gpu": "16",
            "TRAIN.num_epoch": "100",
            "TRAIN.lr_encoder": "1e-3",
            "TRAIN.lr_decoder": "1e-2",
            "TRAIN.beta1": "0.9",
            "TRAIN.weight_decay": "1e-4",
            "TRAIN.fix_bn": "0",
            "TRAIN.seed": "1234",
            "DATASET.imgSizes": "384",
            "DATASET.root_dataset": "./data/",
            "VAL.checkpoint": "_best.pth",
            "TEST.checkpoint": "_best.pth",
            "TEST.result": "./result",
        },
        _COMMON | _IMAGENET | {"schedule_by": "epoch", "decay": "all", "align_corners": "True", "rotation": "0",
                               "rand_scale": "0.5 1.5", "color_jitter": "0", "lr_power": "0.9"},
        # published: factors 0.5 to 1.5 of each picture, whose short edge is 512 in half of the cases
        dict.fromkeys(("eval", "test"), "256 384 512 640 768"),
    ),
    "2018": Form(
        (*_BOTH, *_ONLY_2018),
        _2019
        | {"MODEL.arch_encoder": "resnet50_dilated8", "MODEL.arch_decoder": "ppm_bilinear_deepsup",
           "TRAIN.start_epoch": "1", "VAL.checkpoint": "_epoch_20.pth", "TEST.checkpoint": "_epoch_20.pth"},
        _BATCHES | _CAFFE,
        {"eval": "450", "test": "300 400 500 600"},
    ),
    "2019": Form(("cfg", "gpus", "gpu", "imgs"), _2019, _BATCHES | _IMAGENET, {}),
}  # fmt: skip


@dataclass(frozen=True)
class Ade20kScript:
    """A published script of ADE20K: the phase that it runs, and its GPUs if the command names none."""

    phase: str
    gpus: Mapping[str, str]


SCRIPTS: dict[str, Ade20kScript] = {
    "train": Ade20kScript("training", {"2017": "0", "2018": "0-7", "2019": "0-3"}),
    "eval": Ade20kScript("validation", {"2017": "0", "2018": "0", "2019": "0"}),
    "test": Ade20kScript("inference", {"2017": "0", "2018": "0", "2019": "0"}),
}
