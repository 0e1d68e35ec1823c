"""Published ADE20K commands, done by the verbs of this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeailite.__main__ import main, reporting
from edgeailite.checkpoint import BEST, LAST
from edgeailite.cli import parse
from edgeailite.commands.infer import find_pictures, label_picture
from edgeailite.commands.opening import Opened, open_model
from edgeailite.config import ValidateConfig
from edgeailite.data.ade20k import FOLDER
from edgeailite.data.images import read_image, write_png
from edgeailite.data.transforms import Image
from edgeailite.engine import select_device
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import Views
from edgeailite.plots import colorize
from edgeailite.pretrained import PUBLISHED, weights_for
from edgeailite.published.ade20k import KEYS, OTHER
from edgeailite.published.ade20k_reading import Ade20kCommand, read
from edgeailite.published.launching import is_first_process, restart_on_several_gpus, show_gpus
from edgeailite.published.running import say
from edgeailite.published.usage import usage
from edgeailite.published.weights import as_model, as_words

LEAST_SHARE = 0.001  # of the pixels: smaller classes are not printed
MODEL = ("dataset_name", "data_path", "model_name", "img_resize", "image_mean", "image_scale", "input_channel_reverse",
         "interpolation", "align_corners", "pretrained")  # fmt: skip
MEASURE = ("data_path", "short_edges", "padding", "workers", "device", "threads", "json")


def run(script: str, words: Sequence[str]) -> int:
    """Do what a published command asks for; returns the exit code."""
    if "--help" in words or "-h" in words:
        print(usage(script, KEYS | OTHER))
        return 0
    return reporting(lambda: _run(script, list(words)))


def _run(script: str, words: list[str]) -> int:
    command = located(read(script, words))
    if is_first_process():
        say(command.notes)
    show_gpus(command.gpus)
    return {"training": train, "validation": validate, "inference": test}[command.phase](command, words)


def located(command: Ade20kCommand) -> Ade20kCommand:
    """With the data where this package looks for them, where no place is named and the published one is empty."""
    if "data_path" not in command.options or command.given & {"DATASET.root_dataset", "root_img", "root_seg"}:
        return command
    if any((Path(command.options["data_path"][0]) / name).exists() for name in (FOLDER, "training.odgt")):
        return command
    options = {name: values for name, values in command.options.items() if name != "data_path"}
    return dataclasses.replace(command, options=options)


def train(command: Ade20kCommand, words: list[str]) -> int:
    """`edgeailite train` into the published run folder, or going on in it."""
    restart_on_several_gpus(words)
    first = 0 if command.year == "2019" else 1
    start = command.setting("TRAIN.start_epoch")
    if start.isdigit() and int(start) > first:
        return main(["train", "--resume", str(command.folder)])
    defaults = {"model_name": [command.model_name], "save_path": [str(command.folder)]}
    pretrained = _start(command)
    options = defaults | ({"pretrained": pretrained} if pretrained else {}) | dict(command.options)
    return main(["train", *as_words(options)])


def _start(command: Ade20kCommand) -> list[str]:
    """Weights to start from: those named, or the published backbone of the encoder, or none."""
    encoder, decoder = command.setting("MODEL.weights_encoder"), command.setting("MODEL.weights_decoder")
    if encoder == "None":
        return []
    if decoder and not encoder:
        raise UsageError("MODEL.weights_decoder: give MODEL.weights_encoder with it")
    if encoder:
        return [encoder, decoder] if decoder else [encoder]
    backbones = [weights for weights in weights_for(command.model_name) if weights.is_backbone]
    return [backbones[0].files[0].url] if backbones else []


def validate(command: Ade20kCommand, words: list[str]) -> int:
    """`edgeailite validate` by the published protocol: several sizes, absent classes count as 0."""
    split = command.options.get("val_split", ["val"])
    if command.flag("VAL.visualize"):
        say(["VAL.visualize: no pictures are written here; test.py writes them"])
    used = {name: values for name, values in command.options.items() if name in MEASURE}
    used |= {"miou_absent": ["zero"], "split": split}
    if "epoch_size_val" in command.options:
        used["epoch_size"] = command.options["epoch_size_val"]
    options = model_options(command, "VAL.checkpoint")
    with as_model(options, {}) as model:
        return main(["validate", str(model), "--dataset_name", options["dataset_name"][0], *as_words(used)])


def test(command: Ade20kCommand, words: list[str]) -> int:
    """Write picture and prediction side by side, and print the classes of each picture."""
    name = next((name for name in ("imgs", "test_imgs", "test_img") if name in command.settings), None)
    if name is None:
        raise UsageError("--imgs is missing: a picture, or a folder of pictures")
    result = Path(command.setting("TEST.result") or ".")
    source = Path(command.setting(name))
    earlier = result if source.resolve() in result.resolve().parents else source
    pictures = find_pictures(source, apart_from=earlier)
    outputs = [result / f"{picture.stem}.png" for picture in pictures]
    lost = {picture.resolve() for picture in pictures} & {output.resolve() for output in outputs}
    if lost:
        raise UsageError(f"TEST.result {result}: would overwrite the input {lost.pop()}; choose another folder")
    with as_model(model_options(command, "TEST.checkpoint"), {}) as model:
        config: ValidateConfig = parse("ValidateConfig", _view_words(command, model), prog="published command")
        opened = open_model(model, device=select_device(config.device), threads=config.threads)
        views = Views(
            short_edges=config.short_edges,
            padding=config.padding,
            max_size=int(command.options["max_size"][0]) if "max_size" in command.options else Views().max_size,
            interpolation=opened.card.preprocessing.interpolation,
        )
        for picture, output in zip(pictures, outputs, strict=True):
            _test(opened, picture, output, views)
    return 0


def _view_words(command: Ade20kCommand, model: Path) -> list[str]:
    names = ("short_edges", "padding", "device", "threads")
    return [
        "--model",
        str(model),
        *as_words({name: command.options[name] for name in names if name in command.options}),
    ]


def _test(opened: Opened, picture: Path, output: Path, views: Views) -> None:
    image = read_image(picture)
    labels = label_picture(opened, image, views=views)
    print(f"{picture}:")
    for name, share in shares(labels, opened.card.classes):
        print(f"  {name}: {100 * share:.2f}%")
    try:
        write_png(output, np.concatenate([image, colorize(labels, opened.card.palette)], axis=1))
    except OSError as error:
        raise DataError(f"{output}: cannot be written ({error.strerror}); choose another TEST.result") from None


def shares(labels: Image, classes: Sequence[str]) -> list[tuple[str, float]]:
    """Classes with more than 0.1 % of the pixels, and their shares, largest first."""
    counts = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    found = [(classes[index], float(counts[index])) for index in np.argsort(-counts, kind="stable")]
    return [(name, share) for name, share in found if share > LEAST_SHARE]


def model_options(command: Ade20kCommand, checkpoint: str) -> dict[str, list[str]]:
    """The options that make the model card, and the weights: named, in the run folder, or published by its name."""
    options = {name: list(values) for name, values in command.options.items() if name in MODEL}
    return {"model_name": [command.model_name], "pretrained": find_weights(command, checkpoint)} | options


def find_weights(command: Ade20kCommand, checkpoint: str) -> list[str]:
    """Files to open. Raises DataError where there are none, naming what was looked for."""
    encoder, decoder = command.setting("MODEL.weights_encoder"), command.setting("MODEL.weights_decoder")
    if encoder and decoder:
        return [encoder, decoder]
    folder, suffix = command.folder, command.setting(checkpoint)
    pair = [folder / f"{part}_{suffix.removeprefix('_')}" for part in ("encoder", "decoder")]
    if all(path.is_file() for path in pair):
        return [str(path) for path in pair]
    if any((folder / name).is_file() for name in (LAST, BEST)):
        return [str(folder)]
    published = next((w for w in PUBLISHED if w.name == f"ADE20K, CSAIL {folder.name}"), None)
    if published is not None:
        return [file.url for file in published.files]
    raise DataError(f"{folder}: neither {pair[0].name} and {pair[1].name} nor a run of ours in it; train first")
