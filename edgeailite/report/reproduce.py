"""Commands that make a run again, read from its folder and checkpoint."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeailite.config import CalibrateConfig, ImportConfig, QuantizeConfig, TrainConfig, Weights
from edgeailite.config.stored import current_names, plain, stored_options
from edgeailite.errors import DataError
from edgeailite.files import read_regular
from edgeailite.runs.folder import CONFIG, run_folder
from edgeailite.untrusted import shown, yaml_value

VERBS = {"train": TrainConfig, "import": ImportConfig, "quantize": QuantizeConfig, "calibrate": CalibrateConfig}
POSITIONAL = ("run", "checkpoint")
CALIBRATED = ("calibration", "published ranges")  # methods of `calibrate`
COMMIT = re.compile(r"[0-9a-f]{7,64}")  # a version of the code; one with "-dirty" cannot be checked out
LARGEST = 1 << 20  # bytes of config.yaml
LEFT_OUT = ("resume", "dry_run", "accept_changed_data")  # how it was run this time, not what was made


def command_of(verb: str, values: Mapping[str, Any]) -> str:
    """Return the command line of a verb with these values of its configuration; defaults are left out."""
    words = ["edgeailite", *verb.split()]
    values = current_names(VERBS[verb], values)
    for field in dataclasses.fields(VERBS[verb]):
        if field.name not in values or field.name in LEFT_OUT:
            continue
        value = values[field.name]
        if field.name in POSITIONAL:
            words[1 + len(verb.split()) : 1 + len(verb.split())] = _words(value)
        elif value != getattr(VERBS[verb], "usual", {}).get(field.name, _default(field)):
            words += [f"--{field.name}", *_words(value)]
    return shlex.join(words)


def verb_of(quantization: Mapping[str, Any] | None, config: Mapping[str, Any]) -> str:
    """Return the verb that made a checkpoint: train, import, calibrate or quantize."""
    if quantization is None:
        return "import" if "checkpoint" in config else "train"
    return "calibrate" if quantization.get("method") in CALIBRATED else "quantize"


def commands_of(
    folder: Path,
    config: Mapping[str, Any],
    quantization: Mapping[str, Any] | None,
    *,
    commit: str | None,
    weights: Weights = "best",
) -> list[str]:
    """Return the commands in order, from checking out the code to the report; those without options are left out.

    `weights` are those of the run that the report is about.
    """
    found = []
    if isinstance(commit, str) and COMMIT.fullmatch(commit):
        found.append(f"git checkout {commit}")
    if quantization is not None and config.get("run"):
        before = float_config(Path(str(config["run"])))
        found += _shown_command(verb_of(None, before), before) if before else []
    if config:
        older = {} if quantization is None else {"weights": "last"}  # what versions without this option began from
        found += _shown_command(verb_of(quantization, config), older | dict(config))
    name = shlex.quote(str(folder))
    exact = " --integer_exact True" if quantization is not None else ""
    name += "" if weights == "best" else " --weights last"
    found += [f"edgeailite export {name}", f"edgeailite verify {name}"]
    return [*found, f"edgeailite validate {name}{exact}", f"edgeailite report {name}"]


def _shown_command(verb: str, values: Mapping[str, Any]) -> list[str]:
    """Return the command, or a comment that says why it is left out: its options are not those of the verb.

    Commands are there to be pasted into a terminal, and a run's options may be a stranger's.
    """
    try:
        stored_options(VERBS[verb], values, where="config.yaml")
    except DataError as error:
        return [f"# the options of {verb} cannot be used: {error}"]
    words = [word for value in values.values() for word in _words(value) if isinstance(value, str | list)]
    flags = [word for word in words if word.startswith("-") and not _is_number(word)]
    return [f"# the options of {verb} hold flags: {shown(flags[0])}"] if flags else [command_of(verb, values)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def float_config(source: Path) -> dict[str, Any]:
    """Read the configuration of the float run that a quantized one came from; {} where it cannot be read."""
    path = run_folder(source) / CONFIG
    try:
        values = yaml_value(read_regular(path, limit=LARGEST), where=str(path))
    except (OSError, DataError):
        return {}
    return values if isinstance(values, dict) else {}


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return a field's default as `plain` writes it."""
    return plain(_Only(field.default))["value"] if field.default is not dataclasses.MISSING else dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class _Only:
    value: Any


def _words(value: Any) -> Sequence[str]:
    """Return a value, also a list or a list of lists, as the words of a command line."""
    return [word for part in value for word in _words(part)] if isinstance(value, list) else [str(value)]
