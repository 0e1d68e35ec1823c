"""Messages of `load_pretrained`: its report, the reason of a refusal, and notes for the user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from edgeailite.errors import option
from edgeailite.models import Pixel2Pixel
from edgeailite.pretrained.recognise import PAIR
from edgeailite.pretrained.replicate import PlacedWeights
from edgeailite.pretrained.shapes import Differences, layer_of
from edgeailite.untrusted import printable

NAMED = 3  # keys that a message names
LONGEST = 120  # characters of one


@dataclass(frozen=True)
class LoadReport:
    """Result of `load_pretrained`, by the model's state-dict keys (`unexpected`: by the file's); `print` shows it.

    `missing` and `mismatched` tensors keep their initial values. `kind` is the recognised kind of the file, `notes` are
    for the user.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    kind: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return describe(self)


def describe(report: LoadReport) -> str:
    """Summarise a report in a few lines: what was loaded, and the notes."""
    parts = {"missing": report.missing, "unexpected": report.unexpected, "of another shape": report.mismatched}
    rest = "; ".join(f"{len(keys)} {what} ({_some(keys)})" for what, keys in parts.items() if keys)
    first = f"{report.source}: {report.kind}, {len(report.loaded)} tensors loaded; {rest or 'everything fits'}"
    return "\n".join([first, *(f"  {note}" for note in report.notes)])


def head_refusal(report: LoadReport, why: Differences, model: Pixel2Pixel) -> str:
    """Return the message for a file with another class count: both counts, and the choices."""
    counts = why.counts
    pairs = [f"{counts[o]} classes in {o}, this network {n}" for o, n in model.outputs.items() if counts[o] != n]
    keys = why.of_count(report.mismatched)
    return (
        f"{report.source}: has {', '.join(pairs)}; use the file's number, or {option('allow_head_mismatch')}, which "
        f"keeps the initial values of {len(keys)} tensors ({_some(keys)})"
    )


def refusal(
    report: LoadReport,
    unexplained: Sequence[str],
    weights: Mapping[str, Tensor],
    model: nn.Module,
    *,
    fitting: Sequence[str] = (),
) -> str:
    """Return the reason that nothing was loaded: keys, shapes and the fix, with the networks that are `fitting`."""
    own = model.state_dict()
    other = [k for k in report.mismatched if weights[k].shape != own[k].shape]
    shapes = [f"{k}: file {_size(weights[k])}, network {_size(own[k])}" for k in other]
    parts = {"missing": unexplained, "unexpected": report.unexpected, "of another shape": shapes}
    what = ", ".join(f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in parts.items() if keys)
    name = getattr(model, "name", "this network")
    return f"{report.source}: {report.kind}, does not fit {name}: {what}; {_fix(report, name, fitting)}"


def explanations(
    placed: PlacedWeights, report: LoadReport, model: nn.Module, differences: Differences | None
) -> Iterable[str]:
    """Yield the reasons why tensors keep their initial values."""
    for prefix, why in placed.explained.items():
        if keys := [k for k in report.missing if k.startswith(prefix)]:
            yield f"{why}: {_kept(keys)}"
    if differences is None or not isinstance(model, Pixel2Pixel):
        return
    for number, (output, channels) in enumerate(model.outputs.items()):
        if keys := [k for k in differences.of_count(report.mismatched) if k.startswith(f"decoders.{number}.")]:
            yield f"{differences.counts[output]} channels in the file, {channels} in {output}: {_kept(keys)}"
    by_inputs = differences.by_inputs - differences.by_count
    if keys := [k for k in report.mismatched if layer_of(k) in by_inputs]:
        yield f"layers over the features of 1 input in the file, of {model.inputs} here: {_kept(keys)}"


def conventions(report: LoadReport, model: nn.Module) -> Iterable[str]:
    """List the conditions, beside the weights, that the published numbers need."""
    first = str(getattr(model, "name", "")).startswith("v1_")
    if report.kind == PAIR and first and not getattr(model, "align_corners", True):
        yield f"the published numbers need {option('align_corners')} True"
    of_2018 = re.search(r"(?:^|[/\\])baseline-", report.source.replace(" + ", "/"))
    if report.kind.startswith("ADE20K") and not first and of_2018:
        yield (
            "weights of 2018 (baseline-*) expect BGR input of 0..255 minus mean (102.9801, 115.9465, 122.7717), "
            "not divided by a deviation"
        )


def _fix(report: LoadReport, name: str, fitting: Sequence[str]) -> str:
    others = [other for other in fitting if other != name]
    if others:
        return f"use the file's own network: {option('model_name')} {' or '.join(others[:NAMED])}"
    if any(re.match(r"encoder\..*stream(fuse|\d+)\.", key) for key in report.unexpected):
        return "the file's network has several inputs: build this one with as many"
    if "backbone" in report.kind:
        return "take weights of this network's own backbone: `edgeailite models` says which exist"
    return "use the file's own network: the same name, inputs and outputs"


def _kept(keys: Sequence[str]) -> str:
    return f"{len(keys)} tensors keep their initial values ({_some(keys)})"


def _some(keys: Sequence[str]) -> str:
    return ", ".join(printable(key)[:LONGEST] for key in keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
