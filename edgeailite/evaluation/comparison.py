"""Two models on the same pictures: is the difference real, and where do they disagree?

Both are measured as `validate` does, each with its own preprocessing, at the labels' size. Intervals are of a paired
bootstrap over pictures (`bootstrap`).
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.config import CompareConfig
from edgeailite.console import log, progress
from edgeailite.data import DataSource
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.errors import UsageError, option
from edgeailite.evaluation.bootstrap import differences, interval
from edgeailite.evaluation.evaluate import Batch
from edgeailite.evaluation.measure import batches
from edgeailite.evaluation.nearness import near
from edgeailite.evaluation.pairing import Disagreement, Pair, class_numbers, depth_numbers, pair_up, picture_numbers
from edgeailite.evaluation.protocol import part_of
from edgeailite.evaluation.summary import classes_of, tasks_of
from edgeailite.evaluation.tally import of_whole_pictures
from edgeailite.metrics import TOP
from edgeailite.modelcard import CLASSIFICATION, FEATURES
from edgeailite.runs.dataset import dataset_of, pictures_in
from edgeailite.runs.open import OpenModel, open_model
from edgeailite.runs.weights import chosen_weights

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Result of `compare` for models A and B, in this order in `models`.

    `outputs` holds for each output both models' scores, B - A with its interval of 95 per cent, and the share of
    labelled pixels on which they differ. `most` names for each output the pictures on which they differ most, as
    (index in `source`, agreement), most first. `pictures` is the number compared.
    """

    models: tuple[OpenModel, OpenModel]
    source: DataSource
    pictures: int
    outputs: Mapping[str, Mapping[str, Any]]
    most: Mapping[str, Sequence[tuple[int, Disagreement]]]


def compare(config: CompareConfig) -> Comparison:
    """Measure two models on the same pictures of a split; return their scores and whether the difference is real.

    Outputs without a metric are compared by their numbers, on pictures without labels, if the two have no others.
    Raises UsageError for models whose outputs, classes or inputs are not the same, DataError for missing or damaged
    files.

    >>> from pathlib import Path
    >>> found = compare(CompareConfig(Path("runs/night"), Path("runs/night/model.onnx"), workers=0))
    >>> found.outputs["segmentation"]["miou"]["difference"]
    0.0
    """
    models = _open_both(config)
    tasks = models[0].card.tasks
    shared = [name for name in tasks if name in models[1].card.outputs]
    _check_sheet(config, [tasks[name] for name in shared])
    if shared and all(tasks[name] == FEATURES for name in shared):
        _check_same_meaning(config, models)
        return _by_numbers(config, models, shared)
    source = dataset_of(models[0].card, config.dataset_name, config.data_path, config.split)
    _check_same_meaning(config, models)
    indices = part_of(len(source.items), config.epoch_size)
    counts = _count(config, models, source, indices)
    return Comparison(
        models,
        source,
        len(indices),
        {name: _output(config, source, name, part) for name, part in counts.items()},
        {name: [(indices[place], agreement) for place, agreement in part.worst()] for name, part in counts.items()},
    )


def _check_sheet(config: CompareConfig, tasks: Sequence[str]) -> None:
    """Raise UsageError for a sheet of outputs that are no pictures."""
    if config.sheet is not None and set(tasks) <= {CLASSIFICATION, FEATURES}:
        raise UsageError(
            "these models answer with classes or numbers for whole pictures, which no sheet shows",
            about="sheet",
            value=config.sheet,
            fix="leave it out",
        )


def _by_numbers(config: CompareConfig, models: tuple[OpenModel, OpenModel], outputs: Sequence[str]) -> Comparison:
    """Compare outputs without a metric on the pictures of a folder."""
    card = models[0].card
    folder = config.data_path or (None if card.data_path is None else Path(card.data_path))
    if folder is None:
        raise UsageError(
            f"{config.a} does not know pictures to compare on",
            about="data_path",
            value="none",
            fix="name a folder of pictures",
        )
    source = pictures_in(card, folder)
    indices = part_of(len(source.items), config.epoch_size)
    with progress("compare", len(indices)) as (bar, task):

        def samples() -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
            for (first, _), (second, _) in _samples(config, models, source, indices):
                yield first, second
                bar.advance(task)

        found = near((models[0].predict, models[1].predict), samples(), outputs)
    numbers = {name: {"numbers": {key: _digits(v) for key, v in one.numbers().items()}} for name, one in found.items()}
    return Comparison(models, source, len(indices), numbers, {})


def _digits(value: float) -> float | None:
    """Return a number with six digits that count; None for one that JSON has not."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


@dataclass
class _Counts:
    """Counts of one output: a row per picture for A and B, agreement over all, and the pictures that differ most."""

    a: list[Numbers] = field(default_factory=list)
    b: list[Numbers] = field(default_factory=list)
    total: Disagreement = field(default_factory=lambda: Disagreement(0, 0, 0, 0))
    most: list[tuple[float, int, Disagreement]] = field(default_factory=list)  # a heap of (share, -index, agreement)

    def add(self, index: int, pair: Pair, *, keep: int) -> None:
        """Take in a picture; at most `keep` of those that differ most are remembered."""
        self.a.append(pair.a)
        self.b.append(pair.b)
        both = zip(dataclasses.astuple(self.total), dataclasses.astuple(pair.agreement), strict=True)
        self.total = Disagreement(*(one + other for one, other in both))
        heapq.heappush(self.most, (pair.agreement.share, -index, pair.agreement))
        if len(self.most) > keep:
            heapq.heappop(self.most)

    def worst(self) -> list[tuple[int, Disagreement]]:
        """Return (index, agreement) of the pictures that differ most, most first."""
        return [(-place, agreement) for _, place, agreement in sorted(self.most, reverse=True, key=_rank)]


def _rank(entry: tuple[float, int, Disagreement]) -> tuple[float, int]:
    """Return the sort key of the heap."""
    return entry[:2]


def _open_both(config: CompareConfig) -> tuple[OpenModel, OpenModel]:
    """Open A and B. Raises UsageError where integer kernels are asked for and neither is a quantized run."""
    paths = [chosen_weights(path, config.weights) for path in (config.a, config.b)]
    opened = [open_model(path, device=config.device, threads=config.threads) for path in paths]
    if config.integer_exact or config.arithmetic is not None:
        if all(model.kind != "quantized" for model in opened):
            asked = option("integer_exact" if config.arithmetic is None else "arithmetic")
            raise UsageError(f"{asked}: neither model is a quantized run; leave it out", code="wrong-kind")
        for index, path in enumerate(paths):
            if opened[index].kind == "quantized":
                opened[index] = open_model(
                    path,
                    device=config.device,
                    integer_exact_mode=True,
                    arithmetic=config.arithmetic,
                    threads=config.threads,
                )
    return opened[0], opened[1]


def _check_same_meaning(config: CompareConfig, models: tuple[OpenModel, OpenModel]) -> None:
    """Raise UsageError where the two have no output in common, other classes or another number of inputs."""
    a, b = (model.card for model in models)
    shared = [name for name in a.outputs if a.outputs[name] == b.outputs.get(name)]
    if not shared:
        raise UsageError(
            f"compare: {config.a} has outputs {_outputs(a.outputs)}, {config.b} has {_outputs(b.outputs)}: none in "
            "common; compare models of one data set",
            code="no-fit",
        )
    if a.classes != b.classes:
        raise UsageError(
            f"compare: the classes of {config.a} and {config.b} have other names; give models of one data set",
            code="no-fit",
        )
    if len(a.inputs) != len(b.inputs):
        raise UsageError(
            f"compare: {config.a} takes {len(a.inputs)} pictures at a time, {config.b} {len(b.inputs)}; "
            "give models of one data set",
            code="no-fit",
        )
    left = [name for name in {**a.outputs, **b.outputs} if name not in shared]
    if left:
        log(f"outputs that only one of the two has are left out: {', '.join(left)}")


def _outputs(outputs: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({channels})" for name, channels in outputs.items())


def _count(
    config: CompareConfig, models: tuple[OpenModel, OpenModel], source: DataSource, indices: list[int]
) -> dict[str, _Counts]:
    """Run both over the pictures once; return the counts by output."""
    a, b = (model.card.outputs for model in models)
    tasks = tasks_of(source, [name for name in a if name in b and a[name] == b[name]])
    found = {name: _Counts() for name in tasks}
    with progress("compare", len(indices)) as (bar, task):

        def on_picture(pairs: dict[str, Pair]) -> None:
            for name, pair in pairs.items():
                found[name].add(len(found[name].a), pair, keep=config.images)
            bar.advance(task)

        samples = _samples(config, models, source, indices)
        pair_up((models[0].predict, models[1].predict), samples, tasks, on_picture=on_picture)
    return found


def _samples(
    config: CompareConfig, models: tuple[OpenModel, OpenModel], source: DataSource, indices: list[int]
) -> Iterator[tuple[Batch, Batch]]:
    """Yield each sample as A and as B take it; it is read once where both take it alike."""
    takes = [model.card.preprocessing for model in models]
    sizes = [(pre.height, pre.width, pre.interpolation) for pre in takes]
    alike = sizes[0] == sizes[1] and models[0].is_file == models[1].is_file
    loaders = [
        batches(
            model,
            source,
            EvalTransform((height, width), rule),
            batch_size=1,
            workers=config.workers,
            indices=indices,
        )
        for model, (height, width, rule) in list(zip(models, sizes, strict=True))[: 1 if alike else 2]
    ]
    if alike:
        yield from ((sample, sample) for sample in loaders[0])
    else:
        yield from zip(*loaders, strict=True)


def _output(config: CompareConfig, source: DataSource, name: str, part: _Counts) -> dict[str, Any]:
    """Return both models' numbers, B − A with its interval, and who is right where they differ."""
    classes = classes_of(source, name)
    whole = of_whole_pictures(name, len(classes) or None)
    measure = picture_numbers if whole else class_numbers if classes else depth_numbers
    a, b = np.array(part.a), np.array(part.b)
    own = [measure(rows.sum(0, keepdims=True))[0] for rows in (a, b)]
    drawn = differences(measure, a, b, draws=config.draws, seed=config.seed)
    names = ["miou", "pixel_accuracy", *classes] if classes else ["ard", "rmse_metres"]
    if whole:
        names = [f"top{count}" for count in (1, TOP) if count < len(classes)]
    rows = {
        label: _row(own[0][i], own[1][i], drawn[:, i], factor=1 if label == "rmse_metres" else 100)
        for i, label in enumerate(names)
    }
    head = {label: rows.pop(label) for label in names[:2]}
    agreement = _agreement(part.total, bool(classes))
    if whole:
        agreement = {"pictures": agreement.pop("labelled_pixels"), **agreement}
    return {**head, **({"iou": rows} if classes and not whole else {}), "agreement": agreement}


def _row(a: float, b: float, drawn: Numbers, *, factor: int) -> dict[str, Any]:
    """Return one number of A and B with difference and interval: per cent or metres, None where unknown."""
    ends = interval(drawn)
    return {
        "a": _rounded(factor * a),
        "b": _rounded(factor * b),
        "difference": _rounded(factor * (b - a)),
        "interval": None if ends is None else [_rounded(factor * end) for end in ends],
    }


def _agreement(total: Disagreement, classes: bool) -> dict[str, Any]:
    """Return in per cent how many labelled pixels differ and, of those, which model is right (depth: closer)."""
    parts = {"a_right": total.a_right, "b_right": total.b_right} | ({"neither": total.neither} if classes else {})
    return {
        "labelled_pixels": total.pixels,
        "differ": _rounded(100 * total.differ / total.pixels) if total.pixels else None,
        **{name: _rounded(100 * count / total.differ) if total.differ else None for name, count in parts.items()},
    }


def _rounded(value: float) -> float | None:
    """Round to three decimals; NaN becomes None, since JSON has no NaN."""
    return None if value != value else round(float(value), 3)
