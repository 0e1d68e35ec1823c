"""Calibrating a float run: quantized ranges from a few pictures, without training."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, fx

from edgeailite.config import AnalyzeConfig, CalibrateConfig, QuantizeConfig, TrainConfig
from edgeailite.config.quantizing import Refinement
from edgeailite.config.stored import plain, train_config
from edgeailite.console import log, progress
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import eval_loader
from edgeailite.data.tensors import to_input
from edgeailite.device import select_device, set_threads
from edgeailite.environment import environment
from edgeailite.errors import UsageError, option
from edgeailite.evaluation import Protocol, torch_predictor
from edgeailite.evaluation.measure import measure
from edgeailite.evaluation.nearness import Nearness
from edgeailite.evaluation.summary import headline
from edgeailite.export.float_parts import integer_share
from edgeailite.foreign.normal_form import keeps_batch
from edgeailite.modelcard import NETWORK, ModelCard, has_classes
from edgeailite.pretrained import describe, load_pretrained, published_ranges
from edgeailite.quantization import (
    Plan,
    adaround,
    calibrate,
    constrain_weights,
    convert,
    correct_bias,
    equalize,
    prepare,
    scheme_of,
    set_input_range,
    set_published_ranges,
    set_state,
)
from edgeailite.quantization.plan_files import read_plan, recorded
from edgeailite.quantization.prepare import float_parts_of
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.dataset import PICTURES, dataset_of, measured_outputs, pictures_in
from edgeailite.runs.folder import BEST, LAST, beside, refuse_used, run_folder, start_of, start_run
from edgeailite.runs.network import load_network
from edgeailite.runs.network_file import keep_network
from edgeailite.runs.open import OpenModel
from edgeailite.runs.weights import chosen_weights
from edgeailite.runtime.contract_file import but_for

COMPARED = 16  # pictures on which the quantized network is compared with the float one, without labels
AS_FLOAT, NEAR_FLOAT = "_as_float", "_near_float"  # of outputs with classes, and of others
RECORDED = (
    "scheme", "percentile", "observer", "equalize", "correct_bias", "adaround", "refine_images", "float_parts",
)  # fmt: skip


Calibrating = CalibrateConfig | AnalyzeConfig | QuantizeConfig
"""The options of a verb that finds ranges; of these only `calibrate` has those of `Refinement`."""


@dataclass(frozen=True)
class CalibratedRun:
    """A calibrated run: its folder, and its scores on the validation split (`miou`, `ard`) as shares.

    Of pictures without labels the scores are the agreement with the float network: `OUTPUT_as_float`, or
    `OUTPUT_near_float` of an output without classes.
    """

    folder: Path
    scores: Mapping[str, float]


def calibrate_run(config: CalibrateConfig) -> CalibratedRun:
    """Quantize a float run without training: observe pictures, write the new run's folder, and measure it.

    In this order: equalization of the float network, ranges, rounding of the weights, biases. Nothing is kept with
    `config.dry_run`. Raises UsageError and DataError.

    >>> calibrated_run = calibrate_run(CalibrateConfig(Path("runs/night"), calibration_images=2, workers=0))
    >>> calibrated_run.folder.as_posix(), list(calibrated_run.scores)
    ('runs/night_ptq', ['miou'])
    """
    set_threads(config.threads)
    if config.dry_run:
        images, steps = min(config.calibration_images, 2), min(config.adaround, 2)
        short = dataclasses.replace(config, calibration_images=images, adaround=steps, batch_size=1, workers=0)
        with tempfile.TemporaryDirectory() as folder:
            return _calibrate(short, Path(folder))
    folder_of_run = config.save_path or beside(start_of(config.run), "_ptq")
    refuse_used(folder_of_run, resumes=False)
    return _calibrate(config, folder_of_run)


def _calibrate(config: CalibrateConfig, folder: Path) -> CalibratedRun:
    checkpoint, opened = open_float(chosen_weights(config.run, config.weights), config.data_path)
    train, val = _pictures_of(config, checkpoint)
    if config.pictures is not None and checkpoint.card.data_path is None:  # what verify takes its pictures from
        card = dataclasses.replace(checkpoint.card, dataset_name=PICTURES, data_path=str(config.pictures.resolve()))
        checkpoint = dataclasses.replace(checkpoint, card=card)
    plan = read_plan(config.plan, scheme=config.scheme)
    if config.pretrained is not None:
        method = "published ranges"
        model = published(opened, config.pretrained).to(select_device(config.device))
    else:
        method = "calibration"
        model = calibrated(
            opened, train, config=config, plan=plan, batch_size=config.batch_size, device=select_device(config.device)
        )
    start_run(folder, plain(config), environment())
    keep_network(config.run, folder)
    quantization = {name: getattr(config, name) for name in RECORDED}
    quantization |= {"method": method, "exact_resizes": True, **recorded(plan)}
    written = Checkpoint(checkpoint.card, model.state_dict(), checkpoint.config, quantization)
    for name in (LAST, BEST):
        save_checkpoint(folder / name, written)
    if val is None:
        return CalibratedRun(folder, _agreement(opened, model, train))
    quantized = OpenModel(
        checkpoint.card, torch_predictor(model, checkpoint.card.preprocessing), "quantized", folder, model
    )
    protocol = Protocol(epoch_size=1.0 if config.dry_run else 0.0)
    tally = measure(quantized, val, workers=config.workers, protocol=protocol)
    return CalibratedRun(folder, headline(tally))


def _pictures_of(config: CalibrateConfig, checkpoint: Checkpoint) -> tuple[DataSource, DataSource | None]:
    """Return the pictures to observe and the labelled split to measure on; None for pictures without labels."""
    if config.pictures is not None:
        return pictures_in(checkpoint.card, config.pictures), None
    card = checkpoint.card
    by_class = bool(card.whole) and card.data_path is not None
    if (card.dataset_name == PICTURES and not by_class) or not measured_outputs(card):
        problem = (
            "names no data set" if measured_outputs(card) else "has no output with a metric, so no data set either"
        )
        raise UsageError(problem, path=config.run, fix=f"give {option('pictures')} FOLDER", code="no-fit")
    return splits_of(checkpoint.card, train_config(checkpoint.config), config.data_path)


@torch.inference_mode()
def _agreement(opened: OpenModel, model: fx.GraphModule, source: DataSource) -> dict[str, float]:
    """Compare a quantized network with the float one on a few pictures.

    Returns `OUTPUT_as_float`: the share of pixels or pictures with the same class; for an output without classes
    `OUTPUT_near_float`: 1 - error (root mean square) / standard deviation.
    """
    assert opened.module is not None
    indices = list(range(0, len(source.items), -(-len(source.items) // COMPARED)))
    device, card = next(model.parameters()).device, opened.card
    float_network, equal = opened.module.to(device).eval(), dict[str, list[float]]()
    numbers = {name: Nearness() for name, channels in card.outputs.items() if not has_classes(name, channels)}
    model.eval()
    for batch in _inputs(source, card, indices, batch_size=1, workers=0):
        images = [image.to(device) for image in batch]
        expected, got = float_network(*images), model(*images)
        for name, value in expected.items():
            if name in numbers:
                numbers[name].add(value, got[name])
            else:
                share = (value.argmax(1) == got[name].argmax(1)).float().mean()
                equal.setdefault(name, []).append(float(share))
    found = {name: float(np.mean(shares)) for name, shares in equal.items()}
    found |= {name: 1 - one.numbers()["rms_of_deviation"] for name, one in numbers.items()}
    return {f"{name}{NEAR_FLOAT if name in numbers else AS_FLOAT}": found[name] for name in card.outputs}


def open_float(source: Path, data_path: Path | None) -> tuple[Checkpoint, OpenModel]:
    """Open a float run; with `data_path`, its card names that folder. Raises UsageError for a quantized one."""
    checkpoint, module = load_network(source)
    if checkpoint.quantization is not None:
        raise UsageError(f"{source}: quantized already; give the float run it came from", code="wrong-kind")
    if data_path is not None:
        card = dataclasses.replace(checkpoint.card, data_path=str(data_path.resolve()))
        checkpoint = dataclasses.replace(checkpoint, card=card)
    predict = torch_predictor(module, checkpoint.card.preprocessing)
    return checkpoint, OpenModel(checkpoint.card, predict, "float", run_folder(source), module)


def splits_of(card: ModelCard, before: TrainConfig, data_path: Path | None) -> tuple[DataSource, DataSource]:
    """Open the splits that the float run was trained and validated on; with `overfit`, both are its few pictures."""
    train = dataset_of(card, None, data_path, before.train_split)
    if before.overfit:
        return train.first(before.overfit), train.first(before.overfit)
    return train, dataset_of(card, None, data_path, before.val_split)


def calibrated(
    opened: OpenModel,
    train: DataSource,
    *,
    config: Calibrating,
    plan: Plan,
    batch_size: int,
    device: torch.device,
    exact_resizes: bool = True,
) -> fx.GraphModule:
    """Prepare a network, observe its ranges on random training pictures as validation sees them, and refine it."""
    assert opened.module is not None
    refine = config if isinstance(config, Refinement) else Refinement()
    batch_size = batch_size if takes_batches(opened) else 1
    count = min(config.calibration_images, len(train.items))
    chosen = np.random.default_rng(config.seed).choice(len(train.items), count, replace=False)
    few = chosen[: refine.refine_images].tolist()
    indices = sorted(chosen.tolist())

    def batches(what: str, chosen: list[int]) -> Iterator[tuple[Tensor, ...]]:
        """Yield inputs of the chosen pictures on the device, with a progress bar."""
        with progress(what, len(chosen)) as (bar, task):
            for batch in _inputs(train, opened.card, chosen, batch_size=batch_size, workers=config.workers):
                yield tuple(images.to(device) for images in batch)
                bar.advance(task, len(batch[0]))

    module = opened.module
    if refine.equalize:
        module = equalize(module.to(device), batches("equalize", sorted(few)))
    model = prepare(
        module,
        config.scheme,
        plan=plan,
        percentile=config.percentile,
        observer=config.observer,
        exact_resizes=exact_resizes,
        float_parts=config.float_parts,
    ).to(device)
    if scheme_of(model).published_ranges:
        constrain_weights(model)
    pre = opened.card.preprocessing
    set_input_range(model, *pre.input_range)
    calibrate(model, batches("calibrate", indices), names=[_name(train, index) for index in indices])
    if refine.adaround:
        adaround(model, list(batches("adaround", sorted(few))), steps=refine.adaround, seed=config.seed)
    if refine.correct_bias:
        correct_bias(model, list(batches("correct bias", sorted(few))))
    if float_parts_of(model):
        log(f"note: the file will be {but_for(float_parts_of(model), integer_share(convert(model), pre.size))}")
    return model


def takes_batches(opened: OpenModel) -> bool:
    """Tell if a network takes several pictures at a time; one from an ONNX file may be made for one."""
    card = opened.card
    if NETWORK not in card.options:
        return True
    assert isinstance(opened.module, fx.GraphModule)
    shape = (2, 3, *card.preprocessing.size)
    return keeps_batch(opened.module, [shape] * len(card.inputs))


def published(opened: OpenModel, file: Path) -> fx.GraphModule:
    """Return a float run's network with weights and ranges from a published file of quantization-aware training."""
    assert opened.module is not None
    report = load_pretrained(opened.module, file)
    model = prepare(opened.module, "tidl_pow2")
    log(describe(report))
    unused = set_published_ranges(model, published_ranges(file))
    if unused:
        log(f"ranges without a scale of their own here (concatenations, pooling): {', '.join(unused)}")
    set_state(model, observing=False, enabled=True)
    return model


def _name(source: DataSource, index: int) -> str:
    return ", ".join(map(str, source.items[index].images))


def _inputs(
    source: DataSource, card: ModelCard, indices: list[int], *, batch_size: int, workers: int | Literal["auto"]
) -> Iterator[tuple[Tensor, ...]]:
    pre = card.preprocessing
    transform = EvalTransform(pre.size, pre.interpolation)
    pictures = tuple(dataclasses.replace(source.items[index], labels={}) for index in indices)  # no mask is read
    chosen = dataclasses.replace(source, items=pictures)
    for images, _ in eval_loader(chosen, transform, batch_size=batch_size, workers=workers):
        yield tuple(to_input(image, pre) for image in images)
