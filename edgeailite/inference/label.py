"""Labelling pictures, folders, lists and videos: the network's answers as files.

For each picture NAME_label.png (class indices), NAME_color.png and NAME_overlay.png at the picture's own size, in the
same folders below `save_path` as below the input; `write` chooses. NAME is the stem, or the whole file name where two
files of a folder share a stem; of networks with several outputs NAME_OUTPUT. Of videos NAME_overlay.mp4. Beside them
`legend.png` (the colours of the classes), `shares.csv` and `shares.json` (classes of every picture), `skipped.csv`
(what could not be read) and `infer.json`; of networks with a class for the whole picture `classes.csv` alone.
No file is ever replaced that infer did not write.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from edgeailite import __version__
from edgeailite.config import InferConfig
from edgeailite.console import log, progress
from edgeailite.data.files.images import IMAGE_SUFFIXES
from edgeailite.data.parallel_map import parallel_map
from edgeailite.errors import DataError, UsageError, option
from edgeailite.evaluation import PLAIN, Views, class_maps, only
from edgeailite.files import write_result
from edgeailite.inference.drawing import PICTURES, legend_of
from edgeailite.inference.film import label_video
from edgeailite.inference.manifest import Summary
from edgeailite.inference.naming import absolute
from edgeailite.inference.pictures import (
    EARLIER_RESULT,
    FINISHED,
    Image,
    Picture,
    PictureReader,
    ResultSettings,
    SkippedPicture,
    as_input,
    write,
)
from edgeailite.inference.predictor import Predictor
from edgeailite.inference.rates import Rates
from edgeailite.inference.results import Results, check_outputs, settle
from edgeailite.inference.shards import Shard, shard_of
from edgeailite.inference.sources import Input, Inputs, inputs, is_stream, lines_of
from edgeailite.inference.whole_pictures import rows_of
from edgeailite.inference.writing import foreign, png
from edgeailite.runs.open import OpenModel
from edgeailite.untrusted import printable

MOST_UNREAD = 1000  # lines of a list on stdin, if none before them names a picture: then it is no list of pictures
MOST_REPEATED = 10_000  # lines in a row
SUFFIXES_SHOWN = 8
LEGEND_FILE = "legend.png"
UNDER_WAY = 32  # pictures that may be read, predicted or written at one time; there are fewer


@dataclass(frozen=True)
class LabellingSummary:
    """Summary of labelled inputs: counts by name, seconds, and the record of each video.

    `answers` are the first pictures with their classes and scores, of networks with a class for the whole picture.
    `skipped` could not be read and are listed in `skipped.csv`; `others` counts files that are no pictures, by suffix.
    `manifest` is there if one was written.
    """

    folder: Path
    counts: Mapping[str, int]
    seconds: float
    videos: Mapping[str, Any]
    others: Counter[str]
    manifest: Summary | None = None
    answers: tuple[tuple[str, ...], ...] = ()

    @property
    def skipped(self) -> int:
        """Return the number of pictures that could not be read."""
        return self.counts["skipped"]


def label_inputs(config: InferConfig) -> LabellingSummary:
    """Label every picture and video that the options name, and write the results below `config.save_path`.

    Raises DataError if none could be read, UsageError for options that do not fit the network.

    >>> done = label_inputs(InferConfig(Path("runs/night"), (Path("data/night/leftImg8bit/val"),), Path("labels")))
    >>> done.counts["labelled"] > 0, done.skipped, Path("labels/shares.csv").exists()
    (True, 0, True)
    """
    shard = None if config.shard is None else shard_of(config.shard, os.environ)
    source = inputs(config.input, apart_from=config.save_path, root=config.root, shard=shard)
    total = _count(source)
    predictor = predictor_of(config)
    opened = predictor.opened
    _check_streams(config, opened)
    settings = result_settings(config, predictor, shard)
    settle(settings.tables, made_with(config, predictor), resume=config.resume, asked=asked_for(config, source))
    _write_legend(settings)
    began = time.perf_counter()
    rates = Rates(total, total, config.metrics)
    with Results(settings, resume=config.resume) as results, progress("infer", total) as (bar, task):
        found = source(lines_of(sys.stdin.buffer)) if source.listed else source()
        for moving, group in groupby(found, key=lambda each: each.moves):
            if not moving:
                for _ in label_pictures(config, predictor, settings, group, results):
                    rates.add(failed=results.skipped > rates.failed)
                    bar.update(task, advance=1, description=f"infer, {rates.words()}")
                    if source.listed:
                        _check_list(results)
                continue
            maps = replace(opened, predict=only(opened.predict, [output.key for output in settings.outputs]))
            for each in group:
                if not settings.outputs:
                    raise UsageError(
                        "the network gives one class for a whole picture, which no video shows",
                        about="input",
                        value=each.source,
                        fix="give pictures",
                    )
                part = bar.add_task(escape(printable(each.source.name)), total=None)
                shown = partial(bar.update, part)
                label_video(config, maps, settings, each, results, on_frame=shown)
                bar.remove_task(part)
                bar.advance(task)
                rates.add(failed=results.skipped > rates.failed)
    rates.write(finished=True)
    return _ended(config, results, time.perf_counter() - began, source.others)


def _write_legend(settings: ResultSettings) -> None:
    """Write the names of the classes and their colours beside pictures in colour."""
    drawn = legend_of(settings.outputs) if set(settings.kinds) - {"labels"} else None
    path = settings.folder / LEGEND_FILE
    if drawn is None:
        return
    if foreign([path]) is not None:
        log(f"{path}: was not written by infer and stays; it would hold the colours of the classes")
        return
    write_result(path, png(drawn), "save_path")


def _check_list(results: Results) -> None:
    """Raise DataError for a list that may have no end: none of its first lines can be read."""
    if results.skipped >= MOST_UNREAD and not (results.labelled or results.finished or results.left_out):
        raise DataError(
            f"-: none of the first {results.skipped} lines can be read as a picture ({results.first_problem}); "
            "write one path a line"
        )


def _count(source: Inputs) -> int | None:
    """Count the inputs; None for a list on stdin. Raises DataError if there are none."""
    if source.listed:
        return None
    count = sum(1 for _ in source())
    if not count and source.shard is None:
        words = " ".join(map(str, source.words))
        found = f"; found {_by_suffix(source.others)}" if source.others else ""
        raise DataError(
            f"{words}: no pictures in this folder ({', '.join(IMAGE_SUFFIXES)}){found}", code="missing-file"
        )
    return count


def predictor_of(config: InferConfig) -> Predictor:
    """Open the network that the options name, for the results that they ask for."""
    return Predictor(model_of(config), **predictor_options(config))


def model_of(config: InferConfig) -> Path:
    """Return the model that the options name. Raises UsageError if there is none."""
    if config.model is None:
        raise UsageError("infer: missing model; usage: edgeailite infer MODEL INPUT [options]")
    return config.model


def predictor_options(config: InferConfig) -> dict[str, Any]:
    """Return the options of a `Predictor`, as plain values that can be sent to other machines."""
    names = ("alpha", "weights", "device", "threads", "runtime", "original_ids", "data_path")
    kinds = tuple(kind for kind in PICTURES if kind in config.write)
    return {name: getattr(config, name) for name in names} | {"write": kinds}


def result_settings(config: InferConfig, predictor: Predictor, shard: Shard | None = None) -> ResultSettings:
    """Return the result files that the options ask for, of this network's outputs. A part of a job has a manifest."""
    check_outputs(predictor.outputs, predictor.kinds, predictor.whole)
    if predictor.whole and (shard is not None or config.engine == "ray"):
        raise UsageError("classes of whole pictures are written by one process", fix="label them on one machine")
    shares = "shares" in config.write and any(not output.is_depth for output in predictor.outputs)
    manifest = "manifest" in config.write or shard is not None
    part = "" if shard is None else shard.folder
    folder, kinds = config.save_path, predictor.kinds
    return ResultSettings(
        folder,
        predictor.outputs,
        kinds,
        config.alpha,
        shares=shares,
        manifest=manifest,
        part=part,
        whole=predictor.whole,
    )


def label_pictures(
    config: InferConfig, predictor: Predictor, settings: ResultSettings, pictures: Iterator[Input], results: Results
) -> Iterator[Input]:
    """Label a stream of pictures, some of them under way at a time; gives each when it is done."""
    card = predictor.opened.card
    read = PictureReader(
        settings,
        card.preprocessing,
        config.beside,
        camera=config.camera_input % len(card.inputs),
        resume=config.resume,
        known=results.known if config.resume else frozenset(),
        in_manifest=results.in_manifest if config.resume else frozenset(),
    )

    def predicted() -> Iterator[tuple[Picture, Any] | SkippedPicture]:
        for picture in parallel_map(read, _each_once(pictures)):
            yield (
                picture if isinstance(picture, SkippedPicture) else (picture, predictor.opened.predict(picture.inputs))
            )

    def written(
        step: tuple[Picture, Any] | SkippedPicture,
    ) -> SkippedPicture | tuple[Picture, list[float], Any, list[str]]:
        """Write the results of one predicted picture; return its rows for the tables."""
        if isinstance(step, SkippedPicture):
            return step
        picture, outputs = step
        found = predictor.found(outputs, (picture.image.shape[0], picture.image.shape[1]))
        shares = write(settings, picture.found.target, picture.image, found)
        entry = predictor.entry(picture.found.name, picture.sha256, found) if settings.manifest else None
        return picture, shares, entry, rows_of(settings.whole, outputs)

    for step in parallel_map(written, predicted()):
        if isinstance(step, SkippedPicture):
            _leave(step, results, predictor)
            yield step.found
        else:
            picture, shares, entry, classes = step
            results.done(str(picture.found.source), picture.image.shape, shares, entry, classes)
            results.labelled += 1
            yield picture.found


def _each_once(pictures: Iterator[Input]) -> Iterator[Input]:
    """Yield inputs without those that a list repeats soon after: two threads would write one file.

    Raises DataError for a list that only repeats itself, since it may have no end.
    """
    recent: deque[Path] = deque(maxlen=UNDER_WAY)
    repeated = 0
    for found in pictures:
        repeated = repeated + 1 if found.target in recent else 0
        if repeated > MOST_REPEATED:
            raise DataError(f"-: {MOST_REPEATED} lines name what was named just before; write each path once")
        if not repeated:
            recent.append(found.target)
            yield found


def _leave(left: SkippedPicture, results: Results, predictor: Predictor) -> None:
    if left.why == FINISHED:
        results.finished += 1
    elif left.why == EARLIER_RESULT:
        results.left_out += 1
    else:
        log(printable(f"skipped {left.why}"))
        results.skip(left.found.source, left.why, predictor.entry(left.found.name, left.sha256, None))


def _check_streams(config: InferConfig, opened: OpenModel) -> None:
    """Raises UsageError where the number of inputs is another than the network's."""
    needed = len(opened.card.inputs)
    if len(config.beside) != needed - 1:
        raise UsageError(
            f"infer {config.model}: the network takes {needed} picture(s) at a time, {option('beside')} names "
            f"{len(config.beside)}; give {needed - 1} folder(s), in the order of the network's other inputs",
            code="no-fit",
        )
    if config.camera_input >= needed:
        raise UsageError(f"the network's inputs are 0 to {needed - 1}", about="camera_input", value=config.camera_input)


def made_with(config: InferConfig, predictor: Predictor) -> dict[str, Any]:
    """Return everything that decides the results, for the record beside them."""
    names = ("runtime", "write", "original_ids", "alpha", "video", "video_format", "smooth", "frames", "fps")
    options = {name: getattr(config, name) for name in names}
    return {
        "edgeailite": __version__,
        "network": predictor.opened.card.model_name,
        "sha256": predictor.model_sha256,
        **options,
        "write": sorted(config.write),
    }


def asked_for(config: InferConfig, source: Inputs) -> dict[str, Any]:
    """Return where model and pictures are, for the record: another machine may find them elsewhere."""
    words = [str(word) if is_stream(word) else str(absolute(word)) for word in config.input]
    return {"model": str(absolute(model_of(config))), "input": words, "root": str(absolute(source.root))}


def _ended(config: InferConfig, results: Results, seconds: float, others: Counter[str]) -> LabellingSummary:
    """Return the record of the inputs that were labelled. Raises DataError if no input was."""
    done = results.labelled + results.finished
    if not done and not results.skipped and not results.left_out and config.shard is None:
        raise DataError("-: no paths on stdin; write one a line", code="missing-file")
    if not done and results.skipped and config.shard is None:
        words = " ".join(map(str, config.input))
        many = f"{words}: none of {results.skipped} pictures can be read"
        raise DataError(results.first_problem if results.skipped == 1 else many)
    counts = {"labelled": results.labelled, "skipped": results.skipped}
    if config.resume:
        counts["finished_before"] = results.finished
    if results.left_out:
        counts["earlier_results_left_out"] = results.left_out
    if others:
        counts["no_pictures_left_out"] = others.total()
        log(f"left out, no pictures: {_by_suffix(others)}")
    answers = tuple(results.answers)
    return LabellingSummary(config.save_path, counts, seconds, results.videos, others, results.manifest, answers)


def _by_suffix(others: Counter[str]) -> str:
    """Return the number of files of each suffix, as text."""
    shown = [f"{count} {printable(suffix)}" for suffix, count in sorted(others.items())[:SUFFIXES_SHOWN]]
    return ", ".join(shown + (["..."] if len(others) > SUFFIXES_SHOWN else []))


def label_picture(
    opened: OpenModel, *pictures: Image, size: tuple[int, int] | None = None, views: Views = PLAIN
) -> Image:
    """Return class indices (H,W) uint8 of a picture (H,W,3) uint8 RGB, or of one picture per input of the network.

    Pictures are preprocessed as in validation. The result has their size, or `size` (height, width). Of several outputs
    with classes it is `segmentation`, or the first. With `views` the pictures are looked at several times.

    >>> from edgeailite.runs import open_model
    >>> network = open_model(Path("runs/night/model.onnx"))
    >>> label_picture(network, np.zeros((48, 96, 3), np.uint8)).shape
    (48, 96)
    """
    own = pictures[0].shape[0], pictures[0].shape[1]
    pre = opened.card.preprocessing
    images = tuple(as_input(picture, pre, size=own if views.short_edges else None) for picture in pictures)
    if not opened.card.classified:
        found = ", ".join(opened.card.outputs)
        raise UsageError(f"the network has no output with a class for each pixel, only {found}", code="wrong-kind")
    output = opened.card.classified[0]
    labels: Image = class_maps(opened.predict, images, size or own, output=output, views=views)[0]
    return labels.astype(np.uint8)
