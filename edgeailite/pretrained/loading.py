"""Weights from files into a network, with a report of what was and was not loaded; nothing partial in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from edgeailite.download import download, sha256_of
from edgeailite.errors import DataError, UsageError
from edgeailite.models import Pixel2Pixel
from edgeailite.pretrained.heads import other_class_counts
from edgeailite.pretrained.placing import Placed, place
from edgeailite.pretrained.reading import read_weights, state_dict_of
from edgeailite.pretrained.recognise import PAIR, Recognised, recognise, recognise_pair
from edgeailite.pretrained.urls import STATED_TO, record_of

Source = str | Path | Sequence[str | Path]
NAMED = 3  # keys that a message names
OWN_FILE = ", or give the file itself: --pretrained FILE"


@dataclass(frozen=True)
class LoadReport:
    """What `load_pretrained` did, by the model's state-dict keys (`unexpected`: by the file's).

    `missing` and `mismatched` tensors keep their initial values. `kind` is what the file was recognised as, `notes`
    what a user should know.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    kind: str = ""
    notes: tuple[str, ...] = ()


def load_pretrained(
    model: nn.Module,
    source: Source,
    *,
    strict: bool = True,
    allow_head_mismatch: bool = False,
    sha256: str | None = None,
) -> LoadReport:
    """Load a file, a URL, or an (encoder, decoder) pair of them into `model`: ours, or what others published.

    1. What the file is, is told by its keys: our checkpoints, published edgeailite and ADE20K networks, and backbones
       of torchvision, pycls and the ADE20K toolkit. Notes say what was left out, changed or copied.
    2. What such a file cannot hold (a backbone has no decoder) stays missing, and is said.
    3. Any other missing, unexpected or differently shaped tensor raises DataError, and nothing is loaded, unless
       `strict` is False.
    4. Another class count raises DataError that names both, unless `allow_head_mismatch`: then the layers that depend
       on it keep their initial values. A decoder copied to several outputs needs to fit one of them only.

    `sha256` is checked for a single file.
    """
    found, name = _open(source, sha256)
    placed = place(found, model)
    own = model.state_dict()
    weights = placed.weights
    mismatched = tuple(k for k in own if k in weights and weights[k].shape != own[k].shape)
    missing = tuple(k for k in own if k not in weights and not k.endswith("num_batches_tracked"))
    unexplained = [k for k in missing if not k.startswith(tuple(placed.explained))]
    report = LoadReport(name, (), missing, tuple(k for k in weights if k not in own), mismatched, found.kind)
    counts = None if unexplained or report.unexpected or not mismatched else other_class_counts(weights, model)
    head_is_explained = counts is not None and (allow_head_mismatch or _one_fits(placed, mismatched, model))
    if strict and (unexplained or report.unexpected or (mismatched and not head_is_explained)):
        raise DataError(_refusal(report, unexplained, weights, model, counts))
    layers = {key.rpartition(".")[0] for key in mismatched}
    kept = {k: v for k, v in weights.items() if k in own and k.rpartition(".")[0] not in layers}
    model.load_state_dict(kept, strict=False)
    notes = (*placed.notes, *_explanations(placed, report, model, counts), *_conventions(found, name, model))
    return replace(report, loaded=tuple(k for k in own if k in kept), notes=notes)


def describe(report: LoadReport) -> str:
    """A few lines for a person: what was loaded, and what to know."""
    parts = {"missing": report.missing, "unexpected": report.unexpected, "of another shape": report.mismatched}
    rest = "; ".join(f"{len(keys)} {what} ({_some(keys)})" for what, keys in parts.items() if keys)
    first = f"{report.source}: {report.kind}, {len(report.loaded)} tensors loaded; {rest or 'everything fits'}"
    return "\n".join([first, *(f"  {note}" for note in report.notes)])


# --- opening


def _open(source: Source, sha256: str | None) -> tuple[Recognised, str]:
    """What the file or the pair is, and its name for messages."""
    if isinstance(source, (str, Path)):
        return _open_one(source, sha256)
    if len(source) == 1:
        return _open_one(source[0], sha256)
    if len(source) != 2:
        raise UsageError(f"{len(source)} files of weights; give one, or two: ENCODER DECODER")
    if sha256 is not None:
        raise UsageError("sha256 is checked for a single file, not for a pair")
    names = (str(source[0]), str(source[1]))
    encoder, decoder = (
        state_dict_of(read_weights(fetch(part)), name) for part, name in zip(source, names, strict=True)
    )
    return recognise_pair(encoder, decoder, names), " + ".join(names)


def _open_one(source: str | Path, sha256: str | None) -> tuple[Recognised, str]:
    values = read_weights(fetch(source, sha256=sha256))
    own = isinstance(values, Mapping) and "card" in values and "format" in values
    return recognise(state_dict_of(values, str(source)), str(source), own=own), str(source)


def fetch(source: str | Path, *, sha256: str | None = None) -> Path:
    """The local file: a path as it is, a URL downloaded; both checked against `sha256`, published ones' own too."""
    if isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        record = record_of(source)
        size = record.size if record is not None else None
        checksum = sha256 or (record.sha256 if record else None)
        return download(source, sha256=checksum, size=size, tolerance=STATED_TO, advice=OWN_FILE)
    path = Path(source)
    if sha256 is not None and path.is_file():
        found = sha256_of(path)
        if not found.startswith(sha256.lower()):
            raise DataError(f"{path}: sha256 {found} instead of {sha256}; take the right file")
    return path


# --- saying


def _refusal(
    report: LoadReport,
    unexplained: Sequence[str],
    weights: Mapping[str, Tensor],
    model: nn.Module,
    counts: Mapping[str, int] | None,
) -> str:
    """Why nothing was loaded: keys, shapes and the fix."""
    if counts is not None and isinstance(model, Pixel2Pixel):
        pairs = [f"{counts[o]} classes in {o}, this network {n}" for o, n in model.outputs.items() if counts[o] != n]
        return (
            f"{report.source}: has {', '.join(pairs)}; use the file's number, or --allow_head_mismatch, which keeps "
            f"the initial values of {len(report.mismatched)} tensors ({_some(report.mismatched)})"
        )
    own = model.state_dict()
    shapes = [f"{k}: file {_size(weights[k])}, network {_size(own[k])}" for k in report.mismatched]
    parts = {"missing": unexplained, "unexpected": report.unexpected, "of another shape": shapes}
    what = ", ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in parts.items() if keys)
    name = getattr(model, "name", "this network")
    return f"{report.source}: {report.kind}, does not fit {name}: {what}; {_fix(report, model)}"


def _fix(report: LoadReport, model: nn.Module) -> str:
    streams = any(re.match(r"encoder\..*streamfuse\.", key) for key in report.unexpected)
    if streams:
        return "the file's network has several inputs: build this one with as many"
    if "backbone" in report.kind:
        return "take weights of this network's own backbone: `edgeailite models` says which exist"
    return "use the file's own network: the same name, inputs and outputs"


def _one_fits(placed: Placed, mismatched: Iterable[str], model: nn.Module) -> bool:
    """Was one decoder copied to several, and does it fit one of them?"""
    if not placed.copied or not isinstance(model, Pixel2Pixel):
        return False
    return len({key.split(".")[1] for key in mismatched}) < len(model.decoders)


def _explanations(
    placed: Placed, report: LoadReport, model: nn.Module, counts: Mapping[str, int] | None
) -> Iterable[str]:
    """Why tensors keep their initial values."""
    for prefix, why in placed.explained.items():
        keys = [k for k in report.missing if k.startswith(prefix)]
        if keys:
            yield f"{why}: {len(keys)} tensors keep their initial values ({_some(keys)})"
    if report.mismatched and counts is not None and isinstance(model, Pixel2Pixel):
        for number, (output, channels) in enumerate(model.outputs.items()):
            keys = [k for k in report.mismatched if k.startswith(f"decoders.{number}.")]
            if keys:
                what = f"{counts[output]} channels in the file, {channels} in {output}"
                yield f"{what}: {len(keys)} tensors keep their initial values ({_some(keys)})"


def _conventions(found: Recognised, name: str, model: nn.Module) -> Iterable[str]:
    """What the published numbers need beside the weights."""
    first = str(getattr(model, "name", "")).startswith("v1_")
    if found.kind == PAIR and first and not getattr(model, "align_corners", True):
        yield "the published numbers need create_model(..., align_corners=True)"
    if found.kind.startswith("ADE20K") and not first and re.search(r"(?:^|[/\\])baseline-", name.replace(" + ", "/")):
        yield (
            "weights of 2018 (baseline-*) expect BGR input of 0..255 minus mean (102.9801, 115.9465, 122.7717), "
            "not divided by a deviation"
        )


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
