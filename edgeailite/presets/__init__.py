"""Named recipes: a verb and its flags, in one line each. `run_edgeailite_segmentation.sh PRESET [flags]` runs one.

Flags given by the user replace those of the preset. Every published recipe has one: edgeailite's results table and run
scripts, the ADE20K toolkit's tables.
"""

from __future__ import annotations

from edgeailite import config
from edgeailite.config.stored import current_name
from edgeailite.errors import UsageError, did_you_mean
from edgeailite.presets import ade20k, edgeailite, tasks
from edgeailite.presets.record import Preset
from edgeailite.verbs import VERBS

__all__ = ["GROUPS", "PRESETS", "Preset", "expand"]

STARTS: dict[str, Preset] = {
    "demo": Preset("the whole line in minutes on generated scenes: train, quantize, export, prove, report", "demo", ""),
    "streets": Preset(
        "generated street scenes at 128x256, from scratch, about half an hour on 2 cores",
        "train",
        "--dataset_name streets --pretrained none --img_resize 128 256 --rand_scale 1.0 1.3 --rotation 0 "
        "--color_jitter 0.1 --epochs 28 --batch_size 8 --optimizer adamw --lr 5e-3 --weight_decay 1e-2 "
        "--scheduler poly --warmup_epochs 0.2 --evaluate_every 7",
    ),
    "camvid": Preset(
        "CamVid 480x360, 11 classes, from scratch, about half an hour on one core; needs --data_path",
        "train",
        "--dataset_name camvid --pretrained none --img_resize 360 480 --rand_crop 176 240 --rand_scale 0.45 1.1 "
        "--epochs 60 --batch_size 4 --optimizer adamw --lr 5e-3 --weight_decay 1e-2 --scheduler poly "
        "--class_weights enet --evaluate_every 20",
    ),
    "camvid_pretrained": Preset(
        "CamVid 480x360 from ImageNet weights, about an hour on one core; needs --data_path",
        "train",
        "--dataset_name camvid --model_name fpn128full_aspp_efficientnet_lite0_edgeailite --pretrained imagenet "
        "--img_resize 360 480 --rand_crop 256 320 --rand_scale 0.6 1.5 --rotation 0 --epochs 48 --batch_size 4 "
        "--optimizer adamw --lr 3e-3 --lr_encoder 6e-4 --weight_decay 1e-2 --scheduler poly --class_weights none "
        "--ema 0.995 --evaluate_every 10",
    ),
    "cityscapes": Preset(
        "Cityscapes 768x384, the published recipe of DeepLabV3+Lite MobileNetV2; needs --data_path",
        "train",
        "--dataset_name cityscapes_segmentation --pretrained none --img_resize 384 768 --rand_scale 1.0 2.0 "
        "--epochs 250 --batch_size 12 --pipeline published --interpolation area "
        "--optimizer adam --lr 4e-4 --weight_decay 1e-4 --scheduler step --milestones 100 200 --multistep_gamma 0.25 "
        "--warmup_epochs 5",
    ),
}


GROUPS: dict[str, dict[str, Preset]] = {
    # heading of `--list`: its presets
    "to begin with": STARTS,
    "Cityscapes, 19 classes": edgeailite.CITYSCAPES,
    "VOC, 21 classes": edgeailite.VOC,
    "COCO, 21 and 80 classes": edgeailite.COCO,
    "ADE20K, 32 classes": edgeailite.ADE20K32,
    "ADE20K, 151 classes, edgeailite networks": edgeailite.ADE20K,
    "ADE20K, 150 classes, encoder and decoder pairs": ade20k.PAIRS,
    "depth, motion, several tasks": tasks.TASKS,
    "after a training": tasks.AFTER,
    "what networks cost": tasks.COMPLEXITY,
}
PRESETS: dict[str, Preset] = {name: preset for group in GROUPS.values() for name, preset in group.items()}


def expand(args: list[str]) -> tuple[str, list[str]]:
    """Turn `NAME [RUN] [flags]` into (verb, words); given flags replace the preset's. UsageError for a wrong name."""
    if not args or args[0].startswith("-"):
        raise UsageError("preset: a name must follow; `edgeailite presets` lists them")
    name, given = args[0], args[1:]
    if name not in PRESETS:
        problem = f"unknown preset {name!r}{did_you_mean(name, PRESETS)} (`edgeailite presets` lists {len(PRESETS)})"
        raise UsageError(problem, value=name, known=tuple(PRESETS), code="unknown-name")
    preset = PRESETS[name]
    first = [word for word in given[:1] if preset.takes and not word.startswith("-")]
    if preset.takes and not first and not {"--help", "-h"} & set(given):
        raise UsageError(f"preset {name}: {preset.takes} must follow, e.g. {name} runs/cityscapes")
    rest = given[len(first) :]
    kind = getattr(config, VERBS[preset.verb].config)
    replaced = {f"--{current_name(kind, word[2:].split('=')[0])}" for word in rest if word.startswith("--")}
    flags: list[str] = []
    keep = True
    for word in preset.flags.split():
        if word.startswith("--"):
            keep = word not in replaced
        if keep:
            flags.append(word)
    return preset.verb, [*first, *flags, *rest]
