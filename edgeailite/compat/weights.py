"""Turns the weights that `--pretrained` names into a model that `validate`, `calibrate`, `quantize` and `infer` open.

Runs and checkpoints of this package and ONNX files are such models already. Published weights say nothing about classes
and preprocessing: for them a checkpoint is written whose model card is made from the command's flags and its data set.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeailite.cli import parse
from edgeailite.config import TrainConfig
from edgeailite.config.stored import plain
from edgeailite.console import log
from edgeailite.errors import UsageError
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.pretrained import describe, fetch, read_weights
from edgeailite.pretrained.by_name import WORDS
from edgeailite.pretrained.open_weights import open_source
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeailite.runs.folder import find_checkpoint
from edgeailite.runs.importing import labels_of, weights_as_checkpoint
from edgeailite.runs.open import is_exported
from edgeailite.training.first_weights import preprocessing_of

CARD_OPTIONS = ("img_resize", "image_mean", "image_scale", "input_channel_reverse", "interpolation")
NETWORK_OPTIONS = ("model_name", "dataset_name", "upsampling", "align_corners", "pretrained", "allow_head_mismatch")


def as_words(options: Mapping[str, Sequence[str]]) -> list[str]:
    """Return options as the words of a command line."""
    return [word for name, values in options.items() for word in (f"--{name}", *values)]


def training_config(options: Mapping[str, Sequence[str]]) -> TrainConfig:
    """Make a training configuration of the options that `edgeailite train` has."""
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    words = as_words({name: values for name, values in options.items() if name in fields})
    config: TrainConfig = parse("train", words, prog="published command")
    return config


@contextmanager
def as_model(options: Mapping[str, Sequence[str]], given: Mapping[str, Sequence[str]]) -> Iterator[Path]:
    """Yield a path that `open_model` takes during the block. `given` options change the card of a checkpoint.

    Raises UsageError where no weights are named, DataError where they do not fit or are of a backbone alone.
    """
    sources = list(options.get("pretrained", ()))
    if not sources:
        raise UsageError("--pretrained is missing: name a run folder, a checkpoint, an ONNX file or published weights")
    one = Path(sources[0]) if len(sources) == 1 else None
    if one is not None and is_exported(one):
        yield one
        return
    checkpoint = _own_checkpoint(sources)
    if checkpoint is not None:
        card = _changed(checkpoint.card, {name: given[name] for name in CARD_OPTIONS if name in given})
        if card == checkpoint.card:
            yield fetch(sources[0]) if one is None or not one.exists() else one
            return
        checkpoint = dataclasses.replace(checkpoint, card=card)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(sources[0]).stem}.pt"
        save_checkpoint(path, checkpoint or published_checkpoint(training_config(options)))
        yield path


def holds_network(sources: Sequence[str]) -> bool:
    """Open the files and return True if they hold a whole network, not only a backbone to start from."""
    if not sources or sources[0] in WORDS:
        return False
    if len(sources) == 2 or _own_checkpoint(sources) is not None:
        return True
    return "decoders." not in open_source(sources[0])[0].explained


def _own_checkpoint(sources: Sequence[str]) -> Checkpoint | None:
    """The checkpoint of a run folder or of a file of ours; None for foreign weights."""
    if len(sources) != 1:
        return None
    path = fetch(sources[0])
    if path.is_dir():
        return load_checkpoint(find_checkpoint(path))
    values = read_weights(path)
    return load_checkpoint(path) if isinstance(values, dict) and "card" in values and "format" in values else None


def published_checkpoint(config: TrainConfig) -> Checkpoint:
    """Load published weights into the configured network; its card is made from both and the data set."""
    found, name = open_source(config.pretrained or ())
    checkpoint, report = weights_as_checkpoint(
        found,
        name,
        model_name=config.model_name,
        labels=labels_of(config.dataset_name, config.data_path),
        options={"upsampling": config.upsampling, "align_corners": config.align_corners},
    )
    log(describe(report))
    card = dataclasses.replace(
        checkpoint.card,
        preprocessing=preprocessing_of(config),
        dataset_name=config.dataset_name,
        data_path=None if config.data_path is None else str(config.data_path.resolve()),
    )
    return dataclasses.replace(checkpoint, card=card, config=plain(config))


def _changed(card: ModelCard, given: Mapping[str, Sequence[str]]) -> ModelCard:
    """The card with the preprocessing options that the command names."""
    if not given:
        return card
    config = training_config(given)
    pre = card.preprocessing
    height, width = config.img_resize if "img_resize" in given else pre.size
    reverse = config.input_channel_reverse if "input_channel_reverse" in given else pre.channel_order == "BGR"
    changed = Preprocessing(
        height,
        width,
        config.image_mean or pre.mean,
        config.image_scale or pre.scale,
        "BGR" if reverse else "RGB",
        config.interpolation if "interpolation" in given else pre.interpolation,
    )
    return dataclasses.replace(card, preprocessing=changed)
