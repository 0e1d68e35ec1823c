"""Recomputing a part of a manifest on this machine: are the labels those that a job says it made?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeailite.config import InferConfig
from edgeailite.console import progress
from edgeailite.data.files.images import read_file
from edgeailite.errors import DataError, UsageError, option
from edgeailite.inference.label import predictor_options
from edgeailite.inference.manifest import Entry, read_manifest, sampled
from edgeailite.inference.naming import OUTSIDE
from edgeailite.inference.predictor import Encoded, Predictor
from edgeailite.inference.results import RECORD, read_record
from edgeailite.inference.sources import inputs


@dataclass
class Recomputed:
    """How a sample of a manifest was found: names by what became of them.

    `other_labels`: the same picture has other labels here. `other_input`: the file has changed, `unread`: it cannot be
    read here. `arithmetic` is this machine's, `arithmetics` those of the sample's lines.
    """

    checked: int
    arithmetic: str
    arithmetics: tuple[str, ...]
    equal: int = 0
    other_labels: list[str] = field(default_factory=list)
    other_input: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Return 4 if labels differ, 1 if a picture of the sample could not be compared, else 0."""
        return 4 if self.other_labels else 1 if self.other_input or self.unread else 0


Elsewhere = Callable[[InferConfig, Sequence[Path], Sequence[Entry]], Iterator[Encoded] | None]
"""Options, inputs and entries -> their pictures; None if the inputs are plain files of this machine."""


def recompute(config: InferConfig, *, elsewhere: Elsewhere | None = None) -> Recomputed:
    """Label a sample of `config.check`'s pictures here and compare hashes.

    Model and inputs are those of the job's record beside the manifest, unless given; `elsewhere` reads what are no
    plain files. Raises DataError for a manifest that was changed, UsageError for another model than the manifest's.
    """
    manifest = config.check
    assert manifest is not None
    sample = sampled(read_manifest(manifest), config.sample, config.seed)
    if not sample:
        raise DataError("has no picture with labels", path=manifest)
    record = read_record(manifest.parent / RECORD) or {}
    model = _model(config, record, manifest)
    predictor = Predictor(model, **predictor_options(config) | _stored_as(config, record))
    if predictor.model_sha256 != sample[0].model:
        raise UsageError(
            f"{model}: sha256 {predictor.model_sha256[:16]}..., the manifest's model has {sample[0].model[:16]}...; "
            "give the model that the job was run with",
            code="no-fit",
        )
    known = tuple(sorted({entry.arithmetic for entry in sample}))
    found = Recomputed(len(sample), predictor.arithmetic, known)
    wanted = {entry.name: entry for entry in sample}
    words = config.input or tuple(Path(str(word)) for word in _list(record.get("input")))
    column = config.column or str(record.get("column", ""))
    pictures = elsewhere(replace(config, column=column), words, sample) if elsewhere is not None else None
    with progress("check", len(sample)) as (bar, task):
        for one in predictor.labelled(pictures or _pictures(sample, _root(config, record, manifest))):
            _compare(found, wanted[one.entry.name], one.entry, problem=one.problem)
            bar.advance(task)
    return found


def _compare(found: Recomputed, expected: Entry, entry: Entry, *, problem: str) -> None:
    if not entry.input:
        found.unread.append(f"{entry.name}: {problem}")
    elif entry.input != expected.input:
        found.other_input.append(entry.name)
    elif entry.labels != expected.labels:
        found.other_labels.append(entry.name)
    else:
        found.equal += 1


def _pictures(sample: list[Entry], root: Path) -> Iterator[Encoded]:
    """Yield (name, bytes, problem) of the sample's pictures."""
    for entry in sample:
        name = Path(entry.name)
        path = Path("/", *name.parts[1:]) if name.parts[:1] == (OUTSIDE,) else root / name
        try:
            yield entry.name, read_file(path)[0], ""
        except DataError as error:
            yield entry.name, b"", str(error)


def _model(config: InferConfig, record: dict[str, object], manifest: Path) -> Path:
    """Return the model: as given, or as in the record of the job."""
    model = config.model or (Path(str(record["model"])) if "model" in record else None)
    if model is None:
        fix = f"infer MODEL INPUT {option('check')} {manifest}"
        raise UsageError(f"{manifest.parent / RECORD} does not say where the model is; write {fix}")
    return model


def _root(config: InferConfig, record: dict[str, object], manifest: Path) -> Path:
    """Return the root of the inputs: as given, or as in the record of the job."""
    if config.root is not None:
        return config.root
    if config.input:
        return inputs(config.input, apart_from=manifest.parent).root
    return Path(str(record.get("root", ".")))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _stored_as(config: InferConfig, record: dict[str, object]) -> dict[str, object]:
    """Return the options of the job that decide the label maps, and no pictures to write."""
    original = config.original_ids or record.get("original_ids") is True
    return {"original_ids": original, "runtime": str(record.get("runtime", config.runtime)), "write": ("labels",)}
