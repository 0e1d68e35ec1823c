"""`edgeailite card`: describe an ONNX file from elsewhere, so that the other verbs take it."""

from __future__ import annotations

from edgeailite.config import CardConfig, check
from edgeailite.console import log, print_result
from edgeailite.errors import UsageError, option
from edgeailite.modelcard import FEATURES, ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.dataset import PICTURES
from edgeailite.runs.describe import Description, describe, input_size
from edgeailite.runs.described import class_names, colours_of, with_given_rules
from edgeailite.runs.onnx_model import write_model
from edgeailite.runs.open import open_model


def run(config: CardConfig) -> int:
    """Write the copy with the card and print where it is and what it says."""
    if config.file.suffix == ".tflite":
        fix = "give the ONNX file of this network; `complexity` and `bench` take it as it is"
        raise UsageError("is no ONNX file, which alone can be described", path=config.file, fix=fix, code="wrong-kind")
    like = None if config.like is None else open_model(config.like, device="cpu").card
    model, card = describe(config.file, _description(config, like))
    path = config.save_path or config.file.with_name(f"{config.file.stem}_card.onnx")
    if path.resolve() == config.file.resolve():
        raise UsageError("is the file itself, which stays as it is", about="save_path", value=path, fix="name another")
    write_model(path, model)
    size = f"{card.preprocessing.height}x{card.preprocessing.width}"
    outputs = ", ".join(f"{name} ({channels})" for name, channels in card.outputs.items())
    next_step = f"edgeailite calibrate {path} {option('pictures')} FOLDER"
    values = {"file": str(path), "input": size, "outputs": outputs, "classes": len(card.classes), "next": next_step}
    print_result("card", values)
    if not card.classes and (unknown := [name for name, task in card.tasks.items() if task == FEATURES]):
        log(f"note: {', '.join(unknown)}: numbers without a metric; {option('classes')} would name their classes")
    return 0


def _description(config: CardConfig, like: ModelCard | None) -> Description:
    size = input_size(config.file) or config.img_resize or (None if like is None else like.preprocessing.size)
    if size is None:
        raise UsageError(
            "leaves height and width of its pictures open", path=config.file, fix=f"give {option('img_resize')} H W"
        )
    for name in ("mean", "scale"):
        given_so = like is not None or getattr(config, name) is not None
        check(given_so, name, getattr(config, name), f"three numbers, or {option('like')} beside it")
    before = Preprocessing(*size) if like is None else like.preprocessing.with_size(size)
    classes = class_names(config.classes) or (() if like is None else like.classes)
    palette = colours_of(config.palette)
    if not palette and like is not None and len(like.palette) == len(classes):
        palette = like.palette
    dataset = config.dataset_name or (PICTURES if like is None else like.dataset_name)
    return Description(with_given_rules(before, config), classes, palette, config.outputs, dataset)
