"""Finds the network that a file of weights belongs to, by names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import Size

from edgeailite.errors import DataError
from edgeailite.models import MODELS, create_model
from edgeailite.models.shapes_only import shapes_only
from edgeailite.pretrained.find_state_dict import state_dict_of
from edgeailite.pretrained.recognise import RecognisedWeights, recognise

ENCODER, DECODER = "encoder.", "decoders.0."
STEPS = "num_batches_tracked"  # old files lack it
CLASSES = 2  # of the networks that are compared: no layer but those that depend on it has so few channels
Shapes = Mapping[str, Size]


def which_network(values: Any, source: Path | str) -> str | None:
    """Return the name of the network that fits a file's content; None for a backbone and if none fits."""
    try:
        found = recognise(state_dict_of(values, source)[0], str(source))
    except DataError:
        return None
    return next(iter(networks_of(found)), None) if holds_decoder(found) else None


def holds_decoder(found: RecognisedWeights) -> bool:
    """Tell if the weights include more than a backbone."""
    return any(key.startswith(DECODER) for key in found.weights)


def networks_of(found: RecognisedWeights) -> list[str]:
    """List the names of the networks with one input and output that the weights fit, whatever their number of classes.

    For a backbone these are all networks that have it. Networks that differ only in dilation have equal shapes: all are
    listed.
    """
    given = {key: value.shape for key, value in found.weights.items() if not key.endswith(STEPS)}
    if not any(key.startswith(ENCODER) for key in given) or any(key.startswith("decoders.1.") for key in given):
        return []
    ours = any(key.startswith("encoder.features.") for key in given)
    names: list[str] = []
    for names_of_encoder in _by_encoder(ours):
        if _same(ENCODER, given, names_of_encoder[0]):
            names += [name for name in names_of_encoder if not holds_decoder(found) or _same(DECODER, given, name)]
    return names


def nearest_network(found: RecognisedWeights) -> tuple[str, int] | None:
    """Return the network that has most of the tensors, by name and shape, and how many; None if none has any.

    Encoders are compared first, then the networks that have the best one, since building all takes a while.
    """
    given = {key: value.shape for key, value in found.weights.items() if not key.endswith(STEPS)}

    def common(part: str, name: str) -> int:
        return sum(
            _alike(shape, given[key]) for key, shape in _shapes(name).items() if key.startswith(part) and key in given
        )

    ours = any(key.startswith("encoder.features.") for key in given)
    encoders = sorted(_by_encoder(ours), key=lambda names: -common(ENCODER, names[0]))
    best = max(encoders[0], key=lambda name: common(DECODER, name))
    count = common(ENCODER, best) + common(DECODER, best)
    return (best, count) if count else None


@cache
def _by_encoder(edgeailite: bool) -> tuple[tuple[str, ...], ...]:
    """Names of networks of the edgeailite family or of the others, those with one encoder together."""
    found: dict[str, list[str]] = {}
    for name, row in MODELS.items():
        if (row.family == "edgeailite") == edgeailite:
            found.setdefault(row.encoder, []).append(name)
    return tuple(map(tuple, found.values()))


def _same(part: str, given: Shapes, name: str) -> bool:
    """Tell if a part of a network has exactly the given names and shapes."""
    own = {key: shape for key, shape in _shapes(name).items() if key.startswith(part)}
    of_part = {key: shape for key, shape in given.items() if key.startswith(part)}
    return own.keys() == of_part.keys() and all(_alike(shape, of_part[key]) for key, shape in own.items())


def _alike(own: Size, given: Size) -> bool:
    return own == given or (own[:1] == (CLASSES,) and own[1:] == given[1:] and len(own) == len(given))


@cache
def _shapes(name: str) -> Shapes:
    with shapes_only():
        state = create_model(name, CLASSES).state_dict()
    return {key: value.shape for key, value in state.items() if not key.endswith(STEPS)}
