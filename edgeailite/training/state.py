"""The state in `last.pt` that a training goes on from: checked, as somebody else may have written it, and restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeailite.console import log
from edgeailite.data import DataSource
from edgeailite.data.fingerprint import Split, changes, meaning_changes, packed, split_of, unpacked
from edgeailite.errors import DataError, option
from edgeailite.modelcard import ModelCard
from edgeailite.pretrained import not_finite
from edgeailite.runs.checkpoint import Checkpoint
from edgeailite.training.step import Learner
from edgeailite.untrusted import Fields, is_finite, printable, shown

DATA, MACHINE = "data", "machine"
MOST = 10**9  # epochs, updates


def check_state(checkpoint: Checkpoint, where: str) -> None:
    """Raise DataError for a training state with values that no training writes."""
    fields = Fields.of(checkpoint.training, where=where)
    for name in ("epoch", "step", "stale"):
        fields.whole(name, 0, MOST)
    fields.number("total")
    parts = fields.fields("parts")
    for name in parts.values:
        parts.number(name)
    if not isinstance(fields.any("best"), float | int):  # NaN before the first validation
        raise fields.refuse("best", "a number")
    for name in ("optimizer", "scaler", "balance"):
        fields.fields(name)
    if "model" in checkpoint.training:
        fields.whole("updates", 0, MOST)
        wrong = not_finite({k: v for k, v in fields.fields("model").values.items() if isinstance(v, Tensor)})
        if wrong is not None:
            raise DataError(f"{where}: model: {wrong}; {_anew()}", code="no-fit")


def restore(learner: Learner, checkpoint: Checkpoint, where: str) -> None:
    """Give a learner the state of a checkpoint. Raises DataError for one that is of another network or optimizer."""
    state = checkpoint.training
    with _fitting(where):
        learner.model.load_state_dict(state.get("model", checkpoint.state_dict))
        if learner.average is not None:
            learner.average.load_state_dict({"updates": state["updates"], "values": checkpoint.state_dict})
        _check_optimizer(state["optimizer"], learner.optimizer)
        learner.optimizer.load_state_dict(state["optimizer"])
        learner.scaler.load_state_dict(state["scaler"])
        learner.balance.load_state_dict(state["balance"])


@contextmanager
def _fitting(where: str) -> Iterator[None]:
    """Raise in one line what torch raises of states that do not fit."""
    try:
        yield
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = printable(str(error).splitlines()[-1].strip() if str(error) else type(error).__name__)
        raise DataError(
            f"{where}: the state does not fit the network ({reason[:200]}); {_anew()}", code="no-fit"
        ) from None


def _check_optimizer(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError for what torch would take now and fail on in the first update."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    groups = zip(saved["param_groups"], optimizer.param_groups, strict=True)
    for given, own in groups:
        for name in own:
            if name != "params" and name in given and not _alike(given[name], own[name]):
                raise ValueError(f"optimizer: {name} is {shown(given[name])}")
        if not {"params", "lr", "initial_lr"} <= set(given):
            raise ValueError("optimizer: a group without learning rate")
    for index, values in saved["state"].items():
        for name, value in values.items():
            tensor = isinstance(value, Tensor)
            if not (value.ndim == 0 or value.shape == parameters[index].shape if tensor else is_finite(value)):
                raise ValueError(f"optimizer: {name} of parameter {index} is of another shape")


def _alike(given: Any, own: Any) -> bool:
    """Return True if a saved setting of an optimizer can stand for its own."""
    if isinstance(own, bool) or own is None:
        return given is None or isinstance(given, bool)
    if isinstance(own, int | float):
        return is_finite(given)
    if isinstance(own, list | tuple):
        return isinstance(given, list | tuple) and len(given) == len(own) and all(map(is_finite, given))
    return type(given) is type(own)


# --- the same data, the same machine


def machine(learner: Learner) -> dict[str, Any]:
    """Return the facts beside the state that decide whether a resumed training gives the same bits."""
    return {
        "threads": torch.get_num_threads(),
        "processes": learner.processes.count,
        "device": next(learner.model.parameters()).device.type,
        "torch": str(torch.__version__),
    }


def other_machine(checkpoint: Checkpoint, learner: Learner) -> str | None:
    """Return a sentence on what differs from when the state was saved; None if nothing does, or if it is not known."""
    before = checkpoint.training.get(MACHINE)
    if not isinstance(before, Mapping):
        return None
    now = machine(learner)
    differing = [
        f"{name} {now[name]} (was {shown(before[name])})" for name in now if before.get(name, now[name]) != now[name]
    ]
    if not differing:
        return None
    return f"note: {', '.join(differing)}: the bits will differ from those of a run that was not interrupted"


def checked_data(
    train: DataSource, val: DataSource, root: Path, *, start: Checkpoint | None, where: str, accept: bool
) -> tuple[dict[str, Any], Checkpoint | None]:
    """Return the fingerprints of both splits, for the state, and the state to resume if its data are the same.

    Raises DataError that names the difference. With `accept` the difference is a note, and the interrupted epoch begins
    anew, because its order was that of other pictures.
    """
    before = None if start is None else _saved(start, where)
    data, differing = {}, []
    for name, source in (("train", train), ("val", val)):
        known = None if before is None else before[name]
        now = split_of(source, root, every=None if known is None else known.every)
        data[name] = packed(now)
        if known is not None:
            differing += [text for text in changes(known, now) if text not in differing]
    if start is None:
        return data, None
    if before is None:
        log(f"note: {where}: of an older version, which kept no list of pictures; whether they are the same is unknown")
        if start.card.classes and train.has_classes:
            differing = meaning_changes({"": (start.card.classes, {})}, {"": (train.classes, {})})
    if not differing:
        return data, start
    what = "; ".join(differing)
    if not accept:
        raise DataError(
            f"{where}: the data is not what the run was trained on: {what}; give {option('data_path')} of the same "
            f"data, or go on all the same with {option('accept_changed_data')} True",
            code="changed-data",
        )
    log(f"note: {where}: goes on with changed data: {what}")
    return data, replace(start, training={**start.training, "step": 0, "total": 0.0, "parts": {}})


def _saved(start: Checkpoint, where: str) -> dict[str, Split] | None:
    """Return the fingerprints of a state by split; None for a state of an older version."""
    if DATA not in start.training:
        return None
    fields = Fields.of(start.training, where=where).fields(DATA)
    return {name: unpacked(fields.fields(name)) for name in ("train", "val")}


def check_outputs(start: Checkpoint, card: ModelCard, where: str) -> None:
    """Raise DataError for data that asks for another network: no option makes the weights fit it."""
    before, now = ((dict(each.outputs), len(each.inputs)) for each in (start.card, card))
    if before == now:
        return
    was, asked = (
        f"{', '.join(f'{count} {name}' for name, count in outputs.items())} of {inputs} pictures"
        for outputs, inputs in (before, now)
    )
    raise DataError(
        f"{where}: the data set now asks for a network of {asked}, the run has {was}; give {option('data_path')} of "
        f"the same data, or begin a new run with {option('pretrained')} and {option('allow_head_mismatch')} True",
        code="changed-data",
    )


def _anew() -> str:
    return f"begin a new run with another {option('save_path')}"
