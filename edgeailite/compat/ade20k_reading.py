"""Reads a published ADE20K command, of any year: settings by the keys of the toolkit's master branch, and our
options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.compat.ade20k import FORMS, JOINT, KEYS, OLDER, OTHER, SCRIPTS, Form
from edgeailite.compat.flags import GivenFlag, as_flags, is_true, shown, translate
from edgeailite.compat.launching import gpu_list
from edgeailite.errors import DataError, UsageError, did_you_mean
from edgeailite.files import read_regular
from edgeailite.untrusted import printable, yaml_value
from edgeailite.untrusted import shown as shown_value

KEY = re.compile(r"DIR|(DATASET|MODEL|TRAIN|VAL|TEST)\.\w+")
DECODERS_2017 = ("c1_bilinear", "psp_bilinear", "c5_bilinear")
ENCODERS_2017 = re.compile(r"(vgg16|vgg19|resnet34|resnet50)(_dilated(8|16))?")
LARGEST = 1 << 20  # bytes of a configuration
PER_EPOCH = ("2018", "2019")  # forms whose epochs are a number of iterations


@dataclass(frozen=True)
class Ade20kCommand:
    """A command: its year, its settings (values as words), which of them were given, and options of this package."""

    year: str
    phase: str
    settings: Mapping[str, list[str]]
    given: frozenset[str]
    options: Mapping[str, list[str]]
    notes: tuple[str, ...]
    gpus: tuple[str, ...]

    def setting(self, key: str) -> str:
        """Return a setting of one word; "" if it is not set."""
        return " ".join(self.settings.get(key, []))

    def flag(self, key: str) -> bool:
        """Return a setting as a truth value; False if it is not set."""
        return key in self.settings and is_true(GivenFlag(key, tuple(self.settings[key])))

    @property
    def folder(self) -> Path:
        """Return the folder of the runs, in which weights are looked for: DIR, or CKPT/ID."""
        if self.year == "2019":
            return Path(self.setting("DIR"))
        if "model_path" in self.given:
            return Path(self.setting("model_path"))
        return Path(self.setting("ckpt") or "./ckpt") / (self.setting("id") or "baseline")

    @property
    def model_name(self) -> str:
        """Return the name that the network has in this package."""
        pair = f"{self.setting('MODEL.arch_encoder')}_{self.setting('MODEL.arch_decoder')}".lower()
        return f"v1_{pair}" if self.year == "2017" else pair


def read(script: str, words: Sequence[str]) -> Ade20kCommand:
    """Read a published command into settings and options.

    Raises UsageError or DataError for parts that cannot be read or done.
    """
    at = next((index for index, word in enumerate(words) if KEY.fullmatch(word)), len(words))
    flags, replaced = as_flags(words[:at]), _pairs(words[at:])
    published = {name: values for name, values in flags.items() if name in OLDER or name in OTHER}
    year = _year(published, keys=bool(replaced))
    form = FORMS[year]
    settings = {key: value.split() for key, value in form.settings.items()}
    named = _file(published["cfg"]) if "cfg" in published else {}
    named |= replaced | {OLDER.get(name, name): values for name, values in published.items()}
    if "suffix" in published:  # one flag for both scripts
        named["TEST.checkpoint"] = published["suffix"]
    settings |= named
    gpus = _gpus(script, year, settings)
    found = _options(script, form, settings, named)
    options = found | _joined(script, year, settings, named, gpus=len(gpus))
    options |= {name: values for name, values in flags.items() if name not in published}
    notes = translate(KEYS | OTHER, named).notes
    return Ade20kCommand(year, SCRIPTS[script].phase, settings, frozenset(named), options, notes, tuple(gpus))


def _year(flags: Mapping[str, Sequence[str]], *, keys: bool) -> str:
    """Return the oldest form of the toolkit that has all these flags and names. Raises UsageError if none has."""
    if keys or "cfg" in flags:
        return "2019"
    older = ENCODERS_2017.fullmatch(" ".join(flags.get("arch_encoder", ["resnet50"])).lower()) and (
        " ".join(flags.get("arch_decoder", ["c1_bilinear"])).lower() in DECODERS_2017
    )
    for year, form in FORMS.items():
        if set(flags) <= set(form.flags) and (older or year != "2017"):
            return year
    raise UsageError(f"{', '.join(map(shown, sorted(flags)))}: these flags belong to different years of the toolkit")


def _pairs(words: Sequence[str]) -> dict[str, list[str]]:
    """`KEY VALUE KEY VALUE` by key."""
    if len(words) % 2:
        raise UsageError(f"{words[-1]}: a value must follow each KEY")
    return {_known(key, "command line"): _words(value) for key, value in zip(words[::2], words[1::2], strict=True)}


def _file(names: Sequence[str]) -> dict[str, list[str]]:
    """The keys of a YAML file."""
    path = Path(" ".join(names))
    try:
        content = yaml_value(read_regular(path, limit=LARGEST), where=f"--cfg {path}: cannot be read") or {}
    except OSError as error:
        raise DataError(f"--cfg {path}: cannot be read ({error.strerror})", code="unreadable") from None
    if not isinstance(content, dict):
        raise DataError(f"--cfg {path}: expected sections DATASET, MODEL, TRAIN, VAL, TEST and DIR")
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= (
            {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {f"{name}": value}
        )
    for key, value in flat.items():
        if not all(map(_is_plain, value if isinstance(value, list) else [value])):
            what = f"{printable(key)}: expected a number, text or a list of them, found {shown_value(value)}"
            raise DataError(f"--cfg {path}: {what}")
    return {_known(key, str(path)): _words(value) for key, value in flat.items()}


def _is_plain(value: Any) -> bool:
    whole = isinstance(value, int)
    return value is None or isinstance(value, str | float) or (whole and abs(value) < 2**63)


def _known(key: str, where: str) -> str:
    if key not in KEYS:
        problem = f"{where}: unknown key {key}{did_you_mean(key, KEYS)}"
        raise UsageError(problem, value=key, known=tuple(KEYS), code="unknown-name")
    return key


def _words(value: Any) -> list[str]:
    """A value of a YAML file or of the command line, where lists are written (1, 2) or [1, 2], as words."""
    if isinstance(value, list):
        return [str(part) for part in value]
    return re.sub(r"[(),\[\]]", " ", str(value)).split()


def _gpus(script: str, year: str, settings: Mapping[str, Sequence[str]]) -> list[str]:
    """Numbers of the GPUs; the batch grows with them whether they are there or not."""
    if "num_gpus" in settings:
        return [str(number) for number in range(_number("num_gpus", settings))]
    named = next((settings[name] for name in ("gpus", "gpu", "gpu_id", "devices") if name in settings), None)
    return gpu_list(SCRIPTS[script].gpus[year] if named is None else ",".join(named))


def _number(name: str, settings: Mapping[str, Sequence[str]]) -> int:
    text = " ".join(settings[name])
    if not re.fullmatch(r"-?\d+", text):
        raise UsageError(f"{shown(name)} {text}: expected a whole number")
    return int(text)


def _options(script: str, form: Form, settings: Mapping[str, list[str]], named: Iterable[str]) -> dict[str, list[str]]:
    """Settings that are an option each."""
    rows = {name: flag for name, flag in (KEYS | OTHER).items() if flag.to != JOINT}
    options = {name: value.split() for name, value in form.options.items()}
    options |= translate(rows, {name: values for name, values in settings.items() if name in rows}).values
    if script != "train" and script in form.edges and "DATASET.imgSizes" not in named:
        options["short_edges"] = form.edges[script].split()
    return options


def _joined(
    script: str, year: str, settings: Mapping[str, list[str]], named: Mapping[str, list[str]], *, gpus: int
) -> dict[str, list[str]]:
    """Options that several settings make together."""
    found: dict[str, list[str]] = {}
    if script == "train":
        batch = _number("TRAIN.batch_size_per_gpu", settings) * gpus
        found["batch_size"] = [str(batch)]
        if year in PER_EPOCH:
            found["epoch_size"] = [str(_number("TRAIN.epoch_iters", settings) * batch)]
        else:
            found |= _size_2017(settings)
    elif year == "2017" and "DATASET.imgSizes" in named and _number("DATASET.imgSizes", settings) > 0:
        edge = _number("DATASET.imgSizes", settings)
        found["short_edges"] = [str(round(edge * factor)) for factor in (0.5, 0.75, 1, 1.25, 1.5)]
    if "root_img" in settings or "root_seg" in settings:
        found["data_path"] = [_root(settings)]
    return found


def _size_2017(settings: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """ImgSize is the size of the crops and of the validation; segSize has to be the same."""
    size = settings["DATASET.imgSizes"]
    if len(size) != 1 or settings.get("segSize", size) != size:
        text = " ".join(settings.get("segSize", size))
        raise UsageError(f"--segSize {text}: has to be imgSize, {' '.join(size)}; it is the size of the predictions")
    return {"img_resize": size * 2, "rand_crop": size * 2}


def _root(settings: Mapping[str, list[str]]) -> str:
    """Return the folder that holds images and annotations."""
    given = {name: Path(settings[name][0]) for name in ("root_img", "root_seg") if name in settings}
    expected = {"root_img": "images", "root_seg": "annotations"}
    parents = {path.parent for path in given.values()}
    wrong = [name for name, path in given.items() if path.name != expected[name]]
    if wrong or len(parents) > 1:
        raise UsageError(
            "--root_img, --root_seg: expected ROOT/images and ROOT/annotations of one folder; or give --root_dataset"
        )
    return str(parents.pop())
