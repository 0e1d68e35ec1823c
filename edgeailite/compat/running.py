"""Published pixel2pixel commands, done by the verbs of this package."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from edgeailite import config as configs
from edgeailite.__main__ import main, reporting
from edgeailite.compat.launching import is_first_process, restart_on_several_gpus, show_gpus
from edgeailite.compat.pixel2pixel import FLAGS, SCRIPTS, Command, read
from edgeailite.compat.usage import usage
from edgeailite.config.stored import current_names, known_names
from edgeailite.errors import UsageError, did_you_mean

QUANTIZATION = ("scheme", "observer")  # options of calibrate and quantize alone
QUANTIZE = {"epochs": ["10"], "lr": ["1e-5"]}  # of the published phase after the float training


def run(script: str, words: Sequence[str]) -> int:
    """Run a published command with the verbs of this package; returns the exit code."""
    return reporting(lambda: _run(script, list(words)))


def _run(script: str, words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print(usage(script, SCRIPTS[script].flags))
        return 0
    command = read(script, words)
    check_known(command)
    if is_first_process():
        say(command.notes)
    show_gpus(command.gpus)
    phases = {"training": train, "calibration": calibrate, "validation": validate, "inference": infer}
    if command.phase == "training" and command.several:
        restart_on_several_gpus([*words, *_folder_words(command)])
    return phases[command.phase](command)


def check_known(command: Command) -> None:
    """Raise UsageError for a flag that neither the published scripts nor the verbs have."""
    kinds = (getattr(configs, name) for name in configs.__all__ if name.endswith("Config"))
    known = {name for kind in kinds for name in known_names(kind)}
    for name in command.given:
        if name not in known:
            known |= set(FLAGS)
            problem = f"unknown flag --{name}{did_you_mean(name, known, mark='--')}"
            raise UsageError(problem, value=name, known=tuple(sorted(known)), code="unknown-name")


def say(notes: Sequence[str]) -> None:
    """Print notes to stderr."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def train(command: Command) -> int:
    """Run `edgeailite train`; with --quantize True also quantization-aware training, or that of a given network."""
    from edgeailite.compat.weights import as_words, holds_network
    from edgeailite.runs.folder import LAST

    options = {name: values for name, values in command.options.items() if name not in QUANTIZATION}
    if "resume" not in options:
        options = {"pretrained": ["none"]} | options
    if command.quantize:
        if holds_network(options.get("pretrained", [])):
            return quantize(command)
        _check_chain(command)
        options |= {"quantize": ["True"]}
        options = {"quantize_epochs": QUANTIZE["epochs"], "quantize_lr": QUANTIZE["lr"]} | options
    if command.save_onnx and not {"save_path", "resume", "dry_run"} & set(options):
        options["save_path"] = [default_folder(command)]
    code = main(["train", *as_words(options)])
    folder = "".join(options.get("save_path", options.get("resume", [])))
    quantized = f"{folder}_qat"
    follows = command.quantize if "resume" not in options else Path(quantized, LAST).is_file()
    return code or exported(command, folder, *([quantized] if follows else []))


def quantize(command: Command) -> int:
    """Run `edgeailite quantize` on the network that --pretrained names."""
    from edgeailite.compat.weights import as_model, as_words

    used = taken(command, "QuantizeConfig")
    options = {"save_path": [default_folder(command) + "_qat"]} | QUANTIZE | used
    if "resume" in used:  # published: the folder itself; epochs and rate are then the run's
        options = {"save_path": used["resume"]} | used | {"resume": ["True"]}
    with as_model(command.options, command.given) as model:
        code = main(["quantize", str(model), *as_words(options)])
    return code or exported(command, "".join(options["save_path"]))


def calibrate(command: Command) -> int:
    """Run `edgeailite calibrate` on the network that --pretrained names, with `epoch_size` training pictures."""
    from edgeailite.compat.weights import as_model, as_words

    used = taken(command, "CalibrateConfig", also=("epoch_size", "epochs"))
    options = {"save_path": [default_folder(command) + "_ptq"]} | used
    with as_model(command.options, command.given) as model:
        if "epoch_size" in command.given and "calibration_images" not in used:
            options["calibration_images"] = [str(_pictures(command, model))]
        code = main(["calibrate", str(model), *as_words(options)])
    return code or exported(command, "".join(options["save_path"]))


def exported(command: Command, *folders: str) -> int:
    """Export the models in `folders` if --save_onnx True asks for it; returns the first exit code that is not 0."""
    if not command.save_onnx or "dry_run" in command.given or not is_first_process():
        return 0
    return next((code for code in (main(["export", folder]) for folder in folders) if code), 0)


def validate(command: Command) -> int:
    """Run `edgeailite validate` on the network that --pretrained names."""
    from edgeailite.compat.weights import as_model, as_words

    used = taken(command, "ValidateConfig", also=("epoch_size_val",))
    pictures = {"epoch_size": command.given["epoch_size_val"]} if "epoch_size_val" in command.given else {}
    with as_model(command.options, command.given) as model:
        _check_quantized(model, command)
        return main(["validate", str(model), *as_words(used | pictures)])


def infer(command: Command) -> int:
    """Label the pictures of a data set, and measure where it has labels."""
    from edgeailite.compat.inference import OF_INFER, OF_TRAIN, label_dataset
    from edgeailite.compat.weights import CARD_OPTIONS, NETWORK_OPTIONS, as_model

    idle = set(command.given) - {*OF_TRAIN, *OF_INFER, *CARD_OPTIONS, *NETWORK_OPTIONS}
    if idle:
        say([f"{', '.join(f'--{name}' for name in sorted(idle))}: no effect in phase {command.phase}"])
    folder = Path("".join(command.options.get("save_path", [default_folder(command) + "_infer"])))
    with as_model(command.options, command.given) as model:
        _check_quantized(model, command)
        return label_dataset(model, command.options, folder, given=command.given)


def _check_chain(command: Command) -> None:
    """Refuse options of `edgeailite quantize` alone where a float network is trained first. Raises UsageError."""
    given = {name: "".join(command.given.get(name, [])) for name in QUANTIZATION}
    if given["scheme"] not in ("", "ort_u8s8") or given["observer"] == "ema":
        raise UsageError(
            "--bitwidth_weights 7 and --histogram_range False: train first, then give the run as --pretrained with them"
        )


def taken(command: Command, config: str, *, also: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the named options that a verb has; a note says that the others have no effect in this phase."""
    from edgeailite.compat.weights import CARD_OPTIONS, NETWORK_OPTIONS

    kind = getattr(configs, config)
    given = current_names(kind, command.given)
    fields = {field.name for field in dataclasses.fields(kind)} - {"img_resize", "pretrained"}
    rest = set(given) - fields - {*CARD_OPTIONS, *NETWORK_OPTIONS, *also}
    if rest:
        say([f"{', '.join(f'--{name}' for name in sorted(rest))}: no effect in phase {command.phase}"])
    return {name: list(values) for name, values in given.items() if name in fields}


def default_folder(command: Command) -> str:
    """Return runs/<date>_<dataset>_<model>, the default of `edgeailite train`."""
    names: Mapping[str, list[str]] = command.options
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return f"runs/{stamp}_{''.join(names['dataset_name'])}_{''.join(names['model_name'])}"


def _folder_words(command: Command) -> list[str]:
    """The run folder as a flag, so that several processes agree on it."""
    if {"save_path", "resume", "dry_run"} & set(command.options):
        return []
    return ["--save_path", default_folder(command)]


def _pictures(command: Command, model: Path) -> int:
    """Return the number of training pictures for `--epoch_size`: all for 0, a share below 1, else the number itself."""
    from edgeailite.config.stored import train_config
    from edgeailite.runs.checkpoint import load_checkpoint
    from edgeailite.runs.folder import find_checkpoint
    from edgeailite.training.calibration import splits_of

    checkpoint = load_checkpoint(find_checkpoint(model))
    path = command.given.get("data_path")
    train, _ = splits_of(checkpoint.card, train_config(checkpoint.config), None if path is None else Path(path[0]))
    of = len(train.items)
    try:
        size = float(command.given["epoch_size"][0])
    except ValueError:
        raise UsageError(f"--epoch_size {command.given['epoch_size'][0]}: expected a number") from None
    return max(1, min(of, round(size * of) if 0 < size < 1 else int(size) or of))


def _check_quantized(model: Path, command: Command) -> None:
    from edgeailite.runs.checkpoint import load_checkpoint
    from edgeailite.runs.folder import find_checkpoint
    from edgeailite.runs.open import is_exported

    if not command.quantize or is_exported(model):
        return
    if load_checkpoint(find_checkpoint(model)).quantization is None:
        source = " ".join(command.options["pretrained"])
        raise UsageError(
            f"--quantize True: {source} is a float network; quantize it first (--phase calibration, or training)",
            code="wrong-kind",
        )
