"""Weights of published ADE20K commands: finds those to start training from, and those to evaluate or test."""

from __future__ import annotations

from edgeailite.compat.ade20k_reading import Ade20kCommand
from edgeailite.compat.running import say
from edgeailite.errors import DataError, UsageError
from edgeailite.pretrained import PUBLISHED, weights_for
from edgeailite.runs.folder import BEST, LAST

MODEL = ("dataset_name", "data_path", "model_name", "img_resize", "image_mean", "image_scale", "input_channel_reverse",
         "interpolation", "align_corners", "pretrained")  # fmt: skip


def first_weights(command: Ade20kCommand) -> list[str]:
    """Return the weights to start from: those named, or the published backbone of the encoder, or none."""
    encoder, decoder = command.setting("MODEL.weights_encoder"), command.setting("MODEL.weights_decoder")
    if encoder == "None":
        return []
    if decoder and not encoder:
        raise UsageError("MODEL.weights_decoder: give MODEL.weights_encoder with it")
    if encoder:
        return [encoder, decoder] if decoder else [encoder]
    backbones = [weights for weights in weights_for(command.model_name) if weights.is_backbone]
    return [backbones[0].files[0].url] if backbones else []


def model_options(command: Ade20kCommand, checkpoint: str) -> dict[str, list[str]]:
    """Return the options for the model card and the weights (named, in the run folder, or published by name)."""
    options = {name: list(values) for name, values in command.options.items() if name in MODEL}
    return {"model_name": [command.model_name], "pretrained": find_weights(command, checkpoint)} | options


def find_weights(command: Ade20kCommand, checkpoint: str) -> list[str]:
    """Find the files of weights. Raises DataError that names the files it looked for if there are none."""
    encoder, decoder = command.setting("MODEL.weights_encoder"), command.setting("MODEL.weights_decoder")
    if encoder and decoder:
        return [encoder, decoder]
    folder, suffix = command.folder, command.setting(checkpoint)
    pair = [folder / f"{part}_{suffix.removeprefix('_')}" for part in ("encoder", "decoder")]
    if all(path.is_file() for path in pair):
        return [str(path) for path in pair]
    own = next((name for name in (LAST, BEST) if (folder / name).is_file()), None)
    if own is not None:
        if checkpoint in command.given:
            say([f"{checkpoint} {suffix}: not in {folder}; its {own}, of a run of this package, is opened instead"])
        return [str(folder)]
    published = next((w for w in PUBLISHED if w.name == f"ADE20K, CSAIL {folder.name}"), None)
    if published is not None:
        return [file.url for file in published.files]
    raise DataError(
        f"{folder}: neither {pair[0].name} and {pair[1].name} nor a run of ours in it; train first", code="missing-file"
    )
