"""Accuracy of an opened model: one pass over a labelled split, plainly or by the protocol of `validate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeailite.config import ValidateConfig
from edgeailite.console import progress
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import Transform
from edgeailite.data.samples import array_batches
from edgeailite.errors import UsageError, option
from edgeailite.evaluation.evaluate import Batch, evaluate
from edgeailite.evaluation.protocol import Protocol, part_of
from edgeailite.evaluation.summary import as_dict, tasks_of, write_confusions
from edgeailite.evaluation.tally import Tally
from edgeailite.evaluation.views import Views
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.open import OpenModel, open_model
from edgeailite.runs.weights import chosen_weights

AS_TRAINED = Protocol()


@dataclass(frozen=True)
class Validation:
    """Result of `validate`.

    `scores` are named values in per cent (depth: RMSE in metres); of several outputs, by output. `tally` holds the
    counts they are made of, `size` is the (height, width) at which the network saw pictures, None where there were
    several, `pictures` their number.
    """

    model: OpenModel
    source: DataSource
    tally: Tally
    scores: Mapping[str, Any]
    size: tuple[int, int] | None
    pictures: int


def validate(config: ValidateConfig) -> Validation:
    """Measure the accuracy of a run, a checkpoint or an ONNX file on a labelled split, and return its scores.

    Writes the confusion matrices where `config.confusion` names a file. Raises DataError for what is missing, damaged
    or of other classes, UsageError for options that the model cannot serve.

    >>> found = validate(ValidateConfig(Path("runs/night/model.onnx"), data_path=Path("data/night"), workers=0))
    >>> list(found.scores)[:3], found.pictures
    (['miou', 'pixel_accuracy', 'overall'], 2)
    """
    prepared = prepare_validation(config)
    tally = measure(
        prepared.model,
        prepared.source,
        workers=config.workers,
        batch_size=config.batch_size,
        protocol=prepared.protocol,
    )
    return summarize(config, prepared, tally)


@dataclass(frozen=True)
class Prepared:
    """What is needed to measure: an opened model, a split and the protocol."""

    model: OpenModel
    source: DataSource
    protocol: Protocol

    @property
    def indices(self) -> list[int]:
        """Return the split's pictures that are measured."""
        return part_of(len(self.source.items), self.protocol.epoch_size)


def prepare_validation(config: ValidateConfig) -> Prepared:
    """Open the model and the split that the options name."""
    model = open_model(
        chosen_weights(config.model, config.weights),
        device=config.device,
        integer_exact_mode=config.integer_exact,
        arithmetic=config.arithmetic,
        threads=config.threads,
    )
    protocol = protocol_of(config, model)
    return Prepared(model, dataset_of(model.card, config.dataset_name, config.data_path, config.split), protocol)


def summarize(config: ValidateConfig, prepared: Prepared, tally: Tally) -> Validation:
    """Return the scores of a tally of all pictures; write what the options ask for."""
    model, source = prepared.model, prepared.source
    scores = as_dict(tally, source, absent=config.miou_absent)
    if config.confusion is not None:
        scores["confusion"] = [str(path) for path in write_confusions(config.confusion, tally, source)]
    size = prepared.protocol.input_size(model.card.preprocessing)
    return Validation(model, source, tally, scores, size, len(prepared.indices))


def measure(
    model: OpenModel,
    source: DataSource,
    *,
    workers: int | Literal["auto"] = "auto",
    batch_size: int = 1,
    protocol: Protocol = AS_TRAINED,
    on_picture: Callable[[Tally], None] = lambda picture: None,
    label: str = "validate",
    indices: Sequence[int] | None = None,
) -> Tally:
    """Compare every output of a model with the labels of a split; return the counts by output.

    `on_picture` is called with each picture's own counts, in order; `label` names the progress bar. `indices` are the
    pictures to look at, by default those of the protocol.
    """
    indices = part_of(len(source.items), protocol.epoch_size) if indices is None else list(indices)
    transform = protocol.transform(model.card.preprocessing)
    loader = batches(model, source, transform, batch_size=batch_size, workers=workers, indices=indices)
    with progress(label, len(indices)) as (bar, task):

        def count(picture: Tally) -> None:
            on_picture(picture)
            bar.advance(task)

        return evaluate(
            protocol.predictor(model.predict),
            loader,
            tasks_of(source, model.card.outputs),
            views=protocol.views,
            boundary=protocol.boundary,
            on_picture=count,
        )


def batches(
    model: OpenModel,
    source: DataSource,
    transform: Transform,
    *,
    batch_size: int,
    workers: int | Literal["auto"],
    indices: list[int],
) -> Iterable[Batch]:
    """Read pictures and labels in order: for a file as arrays, by threads; for a torch network by its loader."""
    if model.is_file:
        return array_batches(source, transform, batch_size=batch_size, workers=workers, indices=indices)
    from edgeailite.data.loader import eval_loader

    return eval_loader(source, transform, batch_size=batch_size, workers=workers, indices=indices)


def protocol_of(config: ValidateConfig, model: OpenModel) -> Protocol:
    """Return the protocol of the options. Raises UsageError for sizes that a file of one size does not take, and for
    options of maps where the network gives one class for the whole picture.
    """
    for name in ("window", "output_size", "boundary"):
        value = getattr(config, name)
        if value and model.card.whole:
            problem = "is for maps, the network gives one class for the whole picture"
            raise UsageError(problem, about=name, value=value, fix="leave it out", code="wrong-kind")
    views = Views(
        config.scales,
        config.flip,
        config.short_edges,
        padding=config.padding,
        max_size=config.max_size,
        interpolation=model.card.preprocessing.interpolation,
    )
    protocol = Protocol(
        views,
        config.window,
        config.window_stride,
        img_resize=config.img_resize,
        output_size=config.output_size,
        epoch_size=config.epoch_size,
        boundary=config.boundary,
    )
    _check_size(protocol, model.fixed_size, config.model)
    return protocol


def _check_size(protocol: Protocol, fixed: tuple[int, int] | None, model: Path) -> None:
    if fixed is None:
        return
    asked = {
        "window": protocol.window if protocol.window != fixed else None,
        "short_edges": protocol.views.short_edges if protocol.window is None else None,
        "scales": protocol.views.scales if protocol.window is None and protocol.views.scales != (1.0,) else None,
        "img_resize": protocol.img_resize if protocol.window is None and protocol.img_resize != fixed else None,
    }
    for name, value in asked.items():
        if value:
            words = " ".join(map(str, value))
            raise UsageError(
                f"{option(name)} {words}: {model} takes pictures of {fixed[0]} {fixed[1]} only; export it with "
                f"`edgeailite export RUN --dynamic True`, or look through {option('window')} {fixed[0]} {fixed[1]}",
                code="no-fit",
            )
