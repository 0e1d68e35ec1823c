"""Finds the tensors in a checkpoint: files keep them under many names, beside epochs, optimizers and averages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgeailite.errors import DataError
from edgeailite.untrusted import printable

# The first of these that holds tensors counts, before tensors that stand beside it and before any other key.
PREFERRED = (
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "net",
    "network",
    "checkpoint",
    "ema",
    "model_ema",
    "state_dict_ema",
    "ema_state",
)
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|training", re.IGNORECASE)
_COUNTERS = ("n_averaged",)  # of torch's AveragedModel
_DEPTH = 8
_NAMED = 8


@dataclass(frozen=True)
class _Place:
    """Tensors of one mapping, the keys that lead to it, and its other contents."""

    path: tuple[str, ...]
    tensors: dict[str, Tensor]
    beside: tuple[str, ...]


def state_dict_of(values: Any, source: Path | str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Find the tensors of a checkpoint, however nested; returns them and notes on what was left out.

    DataError if there are none.

    1. Mappings are searched under the keys of PREFERRED in their order, then the mapping itself, then other keys; an
       optimizer's tensors do not count.
    2. Tensors under several other keys raise DataError: which are meant cannot be known.
    3. Values beside the tensors that are not tensors are left out.
    """
    places = list(_places(values))
    if not places:
        raise DataError(
            f"no state_dict in this file, {_contents(values)}",
            path=source,
            fix="take one with a network's tensors",
            code="wrong-kind",
        )
    first, others = places[0], places[1:]
    if others and any(key not in PREFERRED for key in first.path):
        names = ", ".join(".".join(place.path) or ", ".join([*place.tensors][:3]) for place in places[:_NAMED])
        raise DataError(f"tensors under several keys ({names})", path=source, fix="save the network's as state_dict")
    notes = []
    if first.beside:
        notes.append(f"not tensors of the network, left out: {_listed(first.beside)}")
    if others:
        names = _listed([".".join(place.path) or _listed([*place.tensors]) for place in others])
        notes.append(f"weights taken from {'.'.join(first.path) or 'the top'}; not used: {names}")
    return first.tensors, tuple(notes)


def _places(values: Any, path: tuple[str, ...] = (), above: tuple[int, ...] = ()) -> Iterator[_Place]:
    """Yield every mapping with tensors, best first.

    A pickle may contain itself: mappings in `above` are not searched again.
    """
    if not isinstance(values, Mapping) or len(path) > _DEPTH or id(values) in above:
        return
    nested = [
        k for k, v in values.items() if isinstance(k, str) and isinstance(v, Mapping) and not _NO_WEIGHTS.search(k)
    ]
    tensors = {k: v for k, v in values.items() if isinstance(k, str) and isinstance(v, Tensor) and k not in _COUNTERS}
    here = _Place(path, tensors, tuple(str(key) for key in values if key not in tensors))
    is_network = any(value.dim() > 0 for value in tensors.values())  # a lone scalar is a metric
    below = (*above, id(values))
    for key in PREFERRED:
        if key in nested:
            yield from _places(values[key], (*path, key), below)
    if is_network:
        yield here
    for key in nested:
        if key not in PREFERRED:
            yield from _places(values[key], (*path, key), below)


def _contents(values: Any) -> str:
    if not isinstance(values, Mapping):
        return f"it holds a {type(values).__name__}"
    return f"its keys are {_listed([str(key) for key in values])}" if values else "it is empty"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(printable(name)[:120] for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
