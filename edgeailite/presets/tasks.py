"""Presets of depth, motion and several tasks at once, and of the steps after a training."""

from __future__ import annotations

from edgeailite.presets.record import VIEWS, WEIGHTS, Preset, Start

_STEPS = (
    f"--img_resize 384 768 {VIEWS} --schedule_by epoch --warmup_epochs 5 --epochs 250 --optimizer adam "
    "--weight_decay 1e-4 --scheduler step --milestones 100 200"
)
_DEPTH = f"{_STEPS} --lr 4e-4 --multistep_gamma 0.25 --batch_size 32 --epoch_size 0.125"
_TWO_INPUTS = f"{_STEPS} --lr 1e-4 --multistep_gamma 0.5 --batch_size 16"
_DEEPLAB, _FPN_RESNET = "deeplabv3plus_mobilenetv2_tv_edgeailite", "fpn_aspp_resnet50_edgeailite"


def _train(line: str, dataset: str, recipe: str, *, model: str = _DEEPLAB, backbone: str = "mobilenetv2") -> Preset:
    flags = f"--dataset_name {dataset} --model_name {model} {Start(WEIGHTS[backbone], recipe).flags}"
    return Preset(line, "train", flags)


_ALL = "cityscapes_depth_semantic_motion_multi_input"
TASKS = {
    "kitti_depth_deeplab_mobilenetv2": _train("depth, DeepLabV3+Lite on MobileNetV2", "kitti_depth", _DEPTH),
    "kitti_depth_fpn_resnet50": _train(
        "depth, FPN-Lite on ResNet50", "kitti_depth", _DEPTH, model=_FPN_RESNET, backbone="resnet50"
    ),
    "cityscapes_depth": _train("depth of stereo pairs, by the recipe of KITTI", "cityscapes_depth", _DEPTH),
    "cityscapes_motion": _train(
        "what moves, from optical flow and picture", "cityscapes_motion_multi_input", _TWO_INPUTS
    ),
    "cityscapes_multitask": _train("depth, classes and motion by one network, weighed alike", _ALL, _TWO_INPUTS),
    "cityscapes_multitask_gradnorm": _train(
        "the same, weights learned from gradients", _ALL, f"{_TWO_INPUTS} --task_balancing learned"
    ),
    "cityscapes_multitask_uncertainty": _train(
        "the same, weights from learned uncertainty", _ALL, f"{_TWO_INPUTS} --task_balancing uncertainty"
    ),
}
AFTER = {
    "qat": Preset("quantization-aware training, 10 epochs at 1e-5", "quantize", "--epochs 10 --lr 1e-5", "RUN"),
    "calibrate": Preset("quantization without training", "calibrate", "--calibration_images 64", "RUN"),
    "validate": Preset("accuracy on the validation split", "validate", "", "RUN"),
    "export": Preset("write model.onnx, or model_int8.onnx of a quantized run", "export", "", "RUN"),
    "verify": Preset("prove that the file gives the run's answers", "verify", "", "RUN"),
    "report": Preset("one HTML page of a run", "report", "", "RUN"),
}
COMPLEXITY = {
    "complexity": Preset("what a network, run or file costs, layer by layer", "complexity", "", "MODEL"),
    "complexity_768x384": Preset(
        "edgeailite networks, GigaMACs at 768x384", "models", "--family edgeailite --img_resize 384 768 --sort gmacs"
    ),
    "complexity_1536x768": Preset(
        "edgeailite networks, GigaMACs at 1536x768", "models", "--family edgeailite --img_resize 768 1536 --sort gmacs"
    ),
    "complexity_ade20k": Preset(
        "encoder and decoder pairs, GigaMACs at 512x512", "models", "--family ade20k --img_resize 512 512 --sort gmacs"
    ),
}
