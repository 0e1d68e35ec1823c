"""Loads weights from files into a network and reports what was and was not loaded; a partial load is never silent."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from edgeailite.errors import DataError
from edgeailite.models import Pixel2Pixel
from edgeailite.pretrained.networks import networks_of
from edgeailite.pretrained.open_weights import Source, open_source
from edgeailite.pretrained.plain import not_finite
from edgeailite.pretrained.recognise import RecognisedWeights
from edgeailite.pretrained.replicate import PlacedWeights, place
from edgeailite.pretrained.report import LoadReport, conventions, explanations, head_refusal, refusal
from edgeailite.pretrained.shapes import Differences, differences, layer_of

MAIN_OUTPUT = "segmentation"  # the task that published decoders belong to
STEPS = "num_batches_tracked"  # old files lack it


def load_pretrained(
    model: nn.Module,
    source: Source,
    *,
    strict: bool = True,
    allow_head_mismatch: bool = False,
    sha256: str | None = None,
) -> LoadReport:
    """Load weights of this package or published ones into `model`: a file, a URL, or an (encoder, decoder) pair.

    1. The kind of file is told by its keys: our checkpoints, published edgeailite and ADE20K networks, and backbones
       of torchvision, pycls and the ADE20K toolkit. Notes say what was left out, changed or copied.
    2. Tensors that such a file cannot hold (a backbone has no decoder) stay missing, with a note. So do layers that
       depend on the number of inputs, if the file has one input and the model several.
    3. Any other missing, unexpected or differently shaped tensor raises DataError, and nothing is loaded, unless
       `strict` is False.
    4. Another class count raises DataError that names both, unless `allow_head_mismatch`: then the layers that depend
       on it keep their initial values. If several outputs get copies of one decoder, `segmentation` (or else the first)
       has to fit; the others are other tasks, and their heads keep their initial values.

    `sha256` is checked for a single file.
    """
    found, name = open_source(source, sha256=sha256)
    return load_recognised(model, found, name, strict=strict, allow_head_mismatch=allow_head_mismatch)


def load_recognised(
    model: nn.Module,
    found: RecognisedWeights,
    name: str,
    *,
    strict: bool = True,
    allow_head_mismatch: bool = False,
) -> LoadReport:
    """Load weights whose kind is known already, as `load_pretrained` does; `name` is the file's in messages."""
    network = model if isinstance(model, Pixel2Pixel) else None
    placed = (
        place(found, network) if network is not None else PlacedWeights(found.weights, found.notes, found.explained)
    )
    own, weights = model.state_dict(), placed.weights
    layers = {layer_of(k) for k in own if k in weights and weights[k].shape != own[k].shape}
    mismatched = tuple(k for k in own if k in weights and layer_of(k) in layers and not k.endswith(STEPS))
    missing = tuple(k for k in own if k not in weights and not k.endswith(STEPS))
    unexplained = [k for k in missing if not k.startswith(tuple(placed.explained))]
    report = LoadReport(name, (), missing, tuple(k for k in weights if k not in own), mismatched, found.kind)

    same_keys = not unexplained and not report.unexpected
    why = differences(found, placed, network) if network is not None and same_keys and mismatched else None
    is_this_network = same_keys and (not mismatched or why is not None)
    if strict and not is_this_network:
        fitting = networks_of(found) if network is not None else []
        raise DataError(refusal(report, unexplained, weights, model, fitting=fitting), code="no-fit")
    if strict and network is not None and why is not None:
        head_may_differ = allow_head_mismatch or _main_output_fits(placed, why, network)
        if not head_may_differ:
            raise DataError(head_refusal(report, why, network), code="no-fit")
    kept = {k: v for k, v in weights.items() if k in own and layer_of(k) not in layers}
    wrong = not_finite(kept)
    if wrong is not None:
        raise DataError(
            wrong, path=name, fix="the file is damaged or of a training that diverged: take another", code="damaged"
        )
    model.load_state_dict(kept, strict=False)
    notes = (*placed.notes, *explanations(placed, report, model, why), *conventions(report, model))
    return replace(report, loaded=tuple(k for k in own if k in kept), notes=notes)


def _main_output_fits(placed: PlacedWeights, why: Differences, model: Pixel2Pixel) -> bool:
    """Has the output that the file's decoder belongs to the file's class count? Of several decoders, all belong."""
    main = MAIN_OUTPUT if MAIN_OUTPUT in model.outputs else next(iter(model.outputs))
    outputs = [main] if placed.copied else list(model.outputs)
    return all(why.counts[output] == model.outputs[output] for output in outputs)
