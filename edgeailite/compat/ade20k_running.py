"""Published ADE20K commands, done by the verbs of this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgeailite.__main__ import main, reporting
from edgeailite.compat.ade20k import KEYS, OLDER, OTHER
from edgeailite.compat.ade20k_reading import Ade20kCommand, read
from edgeailite.compat.launching import is_first_process, restart_on_several_gpus, show_gpus
from edgeailite.compat.running import say
from edgeailite.compat.usage import usage

FOLDER = "ADEChallengeData2016"
MEASURE = ("data_path", "short_edges", "max_size", "padding", "workers", "device", "threads", "json")


def run(script: str, words: Sequence[str]) -> int:
    """Run a published command with the verbs of this package; returns the exit code."""
    return reporting(lambda: _run(script, list(words)))


def _run(script: str, words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        older = {name: KEYS[key] for name, key in OLDER.items()}
        print(usage(script, KEYS | older | OTHER))
        return 0
    command = located(read(script, words))
    if is_first_process():
        say(command.notes)
    show_gpus(command.gpus)
    if command.phase == "training":
        restart_on_several_gpus(words)
        return train(command)
    if command.phase == "validation":
        return validate(command)
    from edgeailite.compat.ade20k_testing import test

    return test(command)


def located(command: Ade20kCommand) -> Ade20kCommand:
    """Return the command with our data folder if it names none and the published one is empty."""
    if "data_path" not in command.options or command.given & {"DATASET.root_dataset", "root_img", "root_seg"}:
        return command
    if any((Path(command.options["data_path"][0]) / name).exists() for name in (FOLDER, "training.odgt")):
        return command
    options = {name: values for name, values in command.options.items() if name != "data_path"}
    return dataclasses.replace(command, options=options)


def train(command: Ade20kCommand) -> int:
    """Run `edgeailite train` into the published run folder, or resume the run in it."""
    from edgeailite.compat.ade20k_weights import first_weights
    from edgeailite.compat.weights import as_words

    first = 0 if command.year == "2019" else 1
    start = command.setting("TRAIN.start_epoch")
    if start.isdigit() and int(start) > first:
        return main(["train", "--resume", str(command.folder)])
    defaults = {"model_name": [command.model_name], "save_path": [str(command.folder)]}
    options = defaults | {"pretrained": first_weights(command) or ["none"]} | dict(command.options)
    return main(["train", *as_words(options)])


def validate(command: Ade20kCommand) -> int:
    """Run `edgeailite validate` by the published protocol: several sizes, absent classes count as 0."""
    from edgeailite.compat.ade20k_weights import model_options
    from edgeailite.compat.weights import as_model, as_words

    split = command.options.get("val_split", ["val"])
    if command.flag("VAL.visualize"):
        say(["VAL.visualize: no pictures are written here; test.py writes them"])
    used = {name: values for name, values in command.options.items() if name in MEASURE}
    used |= {"miou_absent": ["zero"], "split": split}
    if "epoch_size_val" in command.options:
        used["epoch_size"] = command.options["epoch_size_val"]
    options = model_options(command, "VAL.checkpoint")
    with as_model(options, {}) as model:
        return main(["validate", str(model), "--dataset_name", options["dataset_name"][0], *as_words(used)])
