"""Turns a file of weights from elsewhere into a run folder, which every verb opens.

Weights say nothing about classes and preprocessing. Those come from a data set, from another model, or from the words
of whoever imports; for preprocessing there are the usual values of each kind of file (USUAL).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgeailite.config import ImportConfig
from edgeailite.config.stored import plain
from edgeailite.console import log
from edgeailite.data import open_dataset
from edgeailite.data.recognise import dataset_name_of
from edgeailite.data.sets.ade20k import names_and_colours
from edgeailite.data.source import SEGMENTATION, ClassTarget, output_channels
from edgeailite.environment import environment
from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import write_result
from edgeailite.modelcard import DEFAULT_OPTIONS, ModelCard, changed_options, default_palette, task_type
from edgeailite.modelcard import REGRESSION as DEPTH
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.pretrained.loading import load_recognised
from edgeailite.pretrained.networks import holds_decoder, nearest_network, networks_of
from edgeailite.pretrained.open_weights import open_source
from edgeailite.pretrained.recognise import RecognisedWeights
from edgeailite.pretrained.report import LoadReport
from edgeailite.pretrained.shapes import class_counts
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.dataset import PICTURES
from edgeailite.runs.described import RULES, class_names, colours_of, with_given_rules
from edgeailite.runs.folder import BEST, LAST, PRETRAINED, refuse_used, start_run
from edgeailite.runs.network import load_network
from edgeailite.runs.open import is_exported
from edgeailite.runtime import load_onnx, load_tflite

OWN, QAT = "edgeailite checkpoint", "after quantization-aware training"  # in kinds of files
NAMED = 6  # networks in a message
_IMAGENET = {
    "mean": (123.675, 116.28, 103.53),
    "scale": (0.017124753831663668, 0.01750700280112045, 0.017429193899782137),
}
_OF_2018 = {"mean": (102.9801, 115.9465, 122.7717), "scale": (1.0, 1.0, 1.0), "channel_order": "BGR"}
_ADE20K = Preprocessing(512, 512, **_IMAGENET)  # type: ignore[arg-type]

# Beginning of a kind, pattern of the file's name, what it expects; the first row that fits counts. Sources: TI's
# training scripts, the configurations of CSAIL's toolkit (2018: files `baseline-*`), those of DDRNet.
USUAL = (
    ("edgeailite", "", Preprocessing(384, 768)),
    ("backbone by this package", "", Preprocessing(384, 768)),
    ("DDRNet", "", Preprocessing(1024, 2048, **_IMAGENET)),  # type: ignore[arg-type]
    ("ADE20K", r"(?:^|[/\\])baseline-", replace(_ADE20K, **_OF_2018)),  # type: ignore[arg-type]
    ("ADE20K", "", _ADE20K),
    ("", "", Preprocessing(384, 768, **_IMAGENET)),  # type: ignore[arg-type]
)


@dataclass(frozen=True)
class Labels:
    """Facts of a network's labels: channels by output, names and colours of classes, number of input pictures."""

    outputs: Mapping[str, int]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    inputs: int = 1


@dataclass(frozen=True)
class ImportedRun:
    """A run made of a file from elsewhere: its folder, what is known of the network, and what was loaded."""

    folder: Path
    card: ModelCard
    report: LoadReport

    @property
    def has_ranges(self) -> bool:
        """Whether the file also holds ranges of quantization-aware training, which a float run does not keep."""
        return self.report.kind.endswith(QAT)


def import_run(config: ImportConfig) -> ImportedRun:
    """Write a run folder from weights of another tool: TI's, CSAIL's, torchvision's, pycls', timm's, however nested.

    Raises UsageError for options that do not suit the file, DataError for a file that cannot be used; a file whose
    tensors do not fit is refused with the network that they fit, or the nearest.

    >>> network = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", 19)
    >>> torch.save({"state_dict": network.state_dict()}, "model_best.pth")
    >>> imported = import_run(ImportConfig(checkpoint=("model_best.pth",), model_name=network.name))
    >>> imported.folder.as_posix(), imported.card.outputs
    ('runs/model_best', {'segmentation': 19})
    """
    folder = config.save_path or Path("runs") / Path(config.checkpoint[0].rstrip("/")).stem
    refuse_used(folder, resumes=False)
    found, name = open_source(config.checkpoint)
    if found.kind.startswith(OWN):
        raise UsageError("is a checkpoint of this package", path=name, fix="every verb opens it as it is")
    if not holds_decoder(found) and not config.untrained_decoder:
        raise _no_network(found.kind, name, config.model_name or "NAME")
    like = None if config.like is None else _card_of(config.like)
    labels, dataset = _labels(config, found, name, like)
    rules = _preprocessing(config, found, name, like)
    checkpoint, report = weights_as_checkpoint(
        found,
        name,
        model_name=config.model_name or _only_network(found, name),
        labels=labels,
        options={"upsampling": config.upsampling, "align_corners": config.align_corners},
        untrained_decoder=config.untrained_decoder,
    )
    data_path = None if config.data_path is None else str(config.data_path.resolve())
    card = replace(checkpoint.card, preprocessing=rules, dataset_name=dataset, data_path=data_path)
    settled = replace(config, model_name=card.model_name, dataset_name=dataset, **_as_options(rules))
    start_run(folder, plain(settled), environment())
    for file in (LAST, BEST):
        save_checkpoint(folder / file, replace(checkpoint, card=card, config=plain(settled)))
    write_result(folder / PRETRAINED, json.dumps(asdict(report), indent=2) + "\n", "save_path")
    return ImportedRun(folder, card, report)


def weights_as_checkpoint(
    found: RecognisedWeights,
    name: str,
    *,
    model_name: str,
    labels: Labels,
    options: Mapping[str, object],
    untrained_decoder: bool = False,
) -> tuple[Checkpoint, LoadReport]:
    """Load recognised weights into a network; its card has the labels, no data set and the default preprocessing.

    Raises DataError for weights that do not fit, and for a backbone alone, unless the decoder may have random values.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(model_name, outputs=labels.outputs, inputs=labels.inputs, **options)  # type: ignore[arg-type]
    report = load_recognised(model, found, name)
    if not untrained_decoder and any(key.startswith("decoders.") for key in report.missing):
        raise _no_network(report.kind, name, model.name)
    kept = changed_options(model.options)
    card = ModelCard(
        model.name, labels.outputs, labels.classes, labels.palette, Preprocessing(384, 768), PICTURES, None, kept
    )
    return Checkpoint(card, model.state_dict(), {}), report


def _no_network(kind: str, name: str, model_name: str) -> DataError:
    fix = f"train from it: edgeailite train --pretrained {name} --model_name {model_name} --data_path DIR"
    return DataError(f"{kind}, not a whole network", path=name, fix=fix, code="wrong-kind")


def labels_of(dataset_name: str, data_path: Path | None, split: str = "val") -> Labels:
    """Return the labels of a data set; those of ADE20K's 150 classes even without its files."""
    if dataset_name == "ade20k_segmentation":
        names, colours = names_and_colours()
        return Labels({SEGMENTATION: len(names)}, names, colours)
    source = open_dataset(dataset_name, data_path, split)
    target = next((target for target in source.targets.values() if isinstance(target, ClassTarget)), None)
    classes, palette = ((), ()) if target is None else (target.classes, target.palette)
    return Labels(output_channels(source), classes, palette, len(source.items[0].images))


def _labels(config: ImportConfig, found: RecognisedWeights, name: str, like: ModelCard | None) -> tuple[Labels, str]:
    """Return outputs, classes and inputs from the data set, the model that is like this one, or the file; checked."""
    dataset = dataset_name_of(config.dataset_name, config.data_path, otherwise=PICTURES)
    named = [name for name in ("classes", "palette", "outputs") if getattr(config, name)]
    if named and (dataset != PICTURES or like is not None):
        who = option("like") if dataset == PICTURES else dataset
        value = " ".join(map(str, getattr(config, named[0])))[:100]
        raise UsageError(f"{who} names them already", about=named[0], value=value, fix="leave one of them out")
    if dataset != PICTURES:
        labels = labels_of(dataset, config.data_path)
    elif like is not None:
        labels, dataset = Labels(like.outputs, like.classes, like.palette, len(like.inputs)), like.dataset_name
    else:
        labels = _labels_of_file(config, found, name)
    counts = class_counts(found.weights, tuple(labels.outputs))
    differ = [output for output, count in (counts or {}).items() if labels.outputs[output] != count]
    if counts and differ:
        raise UsageError(
            f"has {counts[differ[0]]} channels in {differ[0]}, {dataset if like is None else config.like} has "
            f"{labels.outputs[differ[0]]}",
            path=name,
            fix=f"give the data set it was trained on, or {option('classes')}",
            code="no-fit",
        )
    return labels, dataset


def _labels_of_file(config: ImportConfig, found: RecognisedWeights, name: str) -> Labels:
    """Return outputs and inputs by the tensors, with the classes that were given, or numbers for names."""
    decoders = len({key.split(".")[1] for key in found.weights if key.startswith("decoders.")})
    streams = {match.group(1) for key in found.weights if (match := re.search(r"\bstream(\d+)\.", key))}
    outputs = config.outputs or (SEGMENTATION,)
    if max(decoders, 1) != len(outputs):
        problem = f"{len(outputs)} names, but {name} has {decoders} outputs"
        fix = "name them in the order of the file, for instance depth segmentation"
        raise UsageError(problem, about="outputs", value=" ".join(config.outputs) or "none", fix=fix)
    counts = class_counts(found.weights, outputs)
    if counts is None:
        if not config.classes:
            fix = f"give the classes with {option('classes')} or {option('dataset_name')}"
            raise UsageError("does not say how many classes there are", path=name, fix=fix)
        counts = {output: 1 if task_type(output, 2) == DEPTH else len(config.classes) for output in outputs}
    main = next((output for output, count in counts.items() if task_type(output, count) != DEPTH), None)
    number = 0 if main is None else counts[main]
    classes = class_names(config.classes)
    if classes and len(classes) != number:
        problem = f"{len(classes)} names, but {name} has {number} classes"
        raise UsageError(problem, about="classes", value=" ".join(classes)[:100], fix="give one name for each")
    if not classes and number:
        log(f"classes: named class_0 to class_{number - 1}; {option('classes')} FILE.txt gives them names")
    names = classes or tuple(f"class_{index}" for index in range(number))
    colours = colours_of(config.palette) or default_palette(len(names))
    if len(colours) != len(names):
        problem = f"{len(colours)} colours for {len(names)} classes"
        raise UsageError(problem, about="palette", value=len(config.palette), fix="give three numbers for each class")
    return Labels(counts, names, colours, max(len(streams), 1))


def _preprocessing(config: ImportConfig, found: RecognisedWeights, name: str, like: ModelCard | None) -> Preprocessing:
    """Return the steps from a picture to the input: as given, else those of `like`, else the usual ones of the kind."""
    if like is not None:
        usual = like.preprocessing
    else:
        usual = next(rules for kind, file, rules in USUAL if found.kind.startswith(kind) and re.search(file, name))
        if config.mean is None or config.scale is None:
            log(
                f"input: what is usual for such files: {_words(usual)}; "
                f"{option('mean')}, {option('scale')} and {option('channel_order')} change it"
            )
    return with_given_rules(usual.with_size(config.img_resize or usual.size), config)


def _as_options(rules: Preprocessing) -> dict[str, Any]:
    """Return preprocessing as the options that give it."""
    return {"img_resize": rules.size, **{name: getattr(rules, name) for name in RULES}}


def _words(rules: Preprocessing) -> str:
    numbers = [" ".join(f"{value:.6g}" for value in part) for part in (rules.mean, rules.scale)]
    return f"{rules.channel_order}, mean {numbers[0]}, scale {numbers[1]}"


def _only_network(found: RecognisedWeights, name: str) -> str:
    """Return the name of the one network that weights fit. Raises UsageError for none, or several."""
    names = networks_of(found)
    if len(names) == 1:
        return names[0]
    if names:
        some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        raise UsageError(
            f"{found.kind}, fits {len(names)} networks", path=name, fix=f"choose one: {option('model_name')} of {some}"
        )
    nearest = nearest_network(found)
    tensors = sum(not key.endswith("num_batches_tracked") for key in found.weights)
    near = f"; the nearest is {nearest[0]}, with {nearest[1]} of its {tensors} tensors" if nearest else ""
    raise DataError(
        f"{found.kind}, fits no network that is known here{near}",
        path=name,
        fix=f"give {option('model_name')}, or export it as ONNX and use `edgeailite card`",
        code="no-fit",
    )


def _card_of(source: Path) -> ModelCard:
    if is_exported(source):
        return (load_onnx(source) if source.suffix == ".onnx" else load_tflite(source)).card
    card = load_network(source)[0].card
    return replace(card, options={name: value for name, value in card.options.items() if name in DEFAULT_OPTIONS})
