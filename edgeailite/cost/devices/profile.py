"""A device as figures: how fast it computes which kind of layer, how fast it moves bytes, what a layer costs on top.

Profiles are YAML files in this folder, or of one's own. Every figure has its source beside it: a datasheet, or the
measurement that it was fitted to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.config import ACCELERATORS
from edgeailite.errors import DataError, UsageError, did_you_mean
from edgeailite.files import read_regular
from edgeailite.untrusted import Fields, shown, yaml_value

FOLDER = Path(__file__).parent
TYPES = ("float32", "int8")
CONVOLUTIONS = ("dense", "pointwise", "depthwise", "grouped", "stem", "linear")  # rates in 10^9 MACs per second
OTHERS = ("resize", "elementwise")  # rates in 10^9 elements written per second
SPLIT = ("pointwise", "depthwise", "grouped", "resize")  # have a second rate for channels that fill no vector
UNALIGNED = "_unaligned"
SINGLES = ("bandwidth", "on_chip_memory", "on_chip_bandwidth", "overhead", "host_bandwidth", "host_overhead")
REQUIRED = ("bandwidth", "on_chip_memory", "on_chip_bandwidth", "overhead")
LARGEST = 1 << 20  # bytes of a profile
MICROCONTROLLERS = re.compile("stm32|esp32|rp2[0-9]|nrf5|cortex-?m|arduino|teensy|(pi )?pico|mcu|microcontroller")
MAY_BE_ZERO = ("on_chip_memory", "overhead", "host_overhead")
OPERATOR = re.compile("[a-z0-9_]+")  # any word: what has none of ours is called by its own name in lower case
KINDS = (*CONVOLUTIONS, *OTHERS, *(kind + UNALIGNED for kind in SPLIT))


@dataclass(frozen=True)
class Figure:
    """A number and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Profile:
    """A device. Rates in 10^9 per second by type and kind, bandwidths in GB/s, memory in bytes, overheads in us.

    `measured` is true for fitted profiles, false for those of datasheets; an estimate times `band` gives its lower and
    upper end. `fused` lists operators that cost nothing, with their type ("float32 add"), `fallback` those that the
    host computes. `alignment`: channels that fill a vector; a kind without a rate for other counts uses one rate for
    all.
    """

    name: str
    title: str
    runtime: str
    measured: bool
    rates: Mapping[str, Mapping[str, Figure]]
    bandwidth: Figure
    on_chip_memory: Figure
    on_chip_bandwidth: Figure
    overhead: Figure
    band: tuple[float, float]
    band_source: str
    alignment: int = 1
    fused: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    host_bandwidth: Figure | None = None
    host_overhead: Figure | None = None

    def rate(self, element_type: str, kind: str) -> float | None:
        """Return 10^9 MACs or elements per second; None if the device does not compute this type."""
        row = self.rates.get(element_type, {})
        figure = row.get(kind) or row.get(kind.removesuffix(UNALIGNED))
        return None if figure is None else figure.value

    def bandwidth_for(self, moved: float) -> float:
        """Return the GB/s at which a layer moves this many bytes."""
        return self.on_chip_bandwidth.value if moved <= self.on_chip_memory.value else self.bandwidth.value

    def host_milliseconds(self, moved: float) -> float:
        """Time of an operator that the host computes."""
        assert self.host_bandwidth is not None and self.host_overhead is not None  # checked when it was read
        return moved / self.host_bandwidth.value / 1e6 + self.host_overhead.value / 1e3


def list_devices() -> list[str]:
    """List the names of the profiles that come with the package, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_profile(source: str) -> Profile:
    """Load a profile by name or .yaml path. UsageError for an unknown name, DataError for a wrong file."""
    path = Path(source) if source.endswith(".yaml") else FOLDER / f"{source}.yaml"
    if source in ACCELERATORS:
        raise UsageError(
            f"device {source!r}: has no figures, Vela estimates it; ask `edgeailite choose` or `edgeailite complexity`"
        )
    if not path.is_file():
        if MICROCONTROLLERS.match(source.lower()):
            problem = f"device {source!r}: milliseconds of microcontrollers are not estimated"
            fix = "`edgeailite complexity NAME` says what fits into memory; for an Ethos-U give ethos-u55-128"
            raise UsageError(problem, fix=fix, value=source, known=tuple(list_devices()), code="unknown-name")
        known, hint = list_devices(), did_you_mean(source, list_devices())
        problem = f"device {source!r}: unknown{hint} (`edgeailite devices list` lists them; or give a .yaml file)"
        raise UsageError(problem, value=source, known=tuple(known), code="unknown-name")
    try:
        text = read_regular(path, limit=LARGEST)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", code="unreadable") from None
    values = yaml_value(text, where=f"{path}: cannot be read")
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a mapping of figures, found {type(values).__name__}")
    return profile_from(values, path)


def profile_from(values: Mapping[str, Any], path: Path) -> Profile:
    """Make the record from a file's values. DataError names what is missing or wrong."""
    fields = Fields.of(values, where=f"{path}: not a device profile")
    given = fields.fields("rates")
    rates = {
        element_type: {kind: _figure(row[kind], f"{element_type} {kind}", path) for kind in row}
        for element_type in given.values
        for row in [given.fields(element_type).values]
    }
    single = {name: _figure(values[name], name, path) for name in SINGLES if name in values}
    missing = next((name for name in REQUIRED if name not in single), None)
    if missing is not None:
        raise fields.refuse(missing, "{value: ..., source: ...}; docs/devices.md describes the form")
    band = fields.fields("band")
    factors = band.items("factors", least=2, most=2)
    low, high = (_number(band, "factors", factor) for factor in factors)
    profile = Profile(
        name=path.stem,
        title=fields.text("title"),
        runtime=fields.text("runtime"),
        measured=fields.truth("measured"),
        rates=rates,
        band=(low, high),
        band_source=band.text("source"),
        alignment=fields.whole("alignment", -(1 << 20), 1 << 20) if "alignment" in values else 1,
        fused=_words(values, "fused", path),
        fallback=_words(values, "fallback", path),
        **single,
    )
    _check(profile, path)
    return profile


def _figure(values: Any, name: str, path: Path) -> Figure:
    if not isinstance(values, dict) or "value" not in values or not str(values.get("source", "")).strip():
        raise DataError(f"{path}: {name}: expected {{value: ..., source: ...}}, found {shown(values)}")
    fields = Fields.of(values, where=f"{path}: {name}")
    return Figure(_number(fields, "value", values["value"]), fields.text("source"))


def _number(fields: Fields, name: str, value: Any) -> float:
    """A number, which `_check` looks at; NaN and infinity are for it to name."""
    if not isinstance(value, int | float) or isinstance(value, bool) or (isinstance(value, int) and abs(value) > 2**63):
        raise fields.refuse(name, "a number")
    return float(value)


def _words(values: Mapping[str, Any], name: str, path: Path) -> tuple[str, ...]:
    """A list of operators, none if it is not there."""
    words = values.get(name, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"{path}: {name}: expected a list of operators, found {shown(words)}")
    return tuple(map(str, words))


def _check(profile: Profile, path: Path) -> None:
    _check_numbers(profile, path)
    if profile.alignment < 1:
        raise DataError(f"{path}: alignment is {profile.alignment}; expected 1 or more channels")
    if not 0 < profile.band[0] <= 1 <= profile.band[1] < math.inf:
        raise DataError(f"{path}: band {profile.band}: expected factors around 1, such as [0.5, 2]")
    for word in profile.fallback:
        if not OPERATOR.fullmatch(word):
            raise DataError(f"{path}: fallback: {word!r}; expected operators such as resize")
    for word in profile.fused:
        element_type, _, operator = word.partition(" ")
        if element_type not in TYPES or not OPERATOR.fullmatch(operator):
            raise DataError(f"{path}: fused: {word!r}; expected a type and an operator such as 'float32 add'")
    if profile.fallback and (profile.host_bandwidth is None or profile.host_overhead is None):
        raise DataError(f"{path}: fallback needs host_bandwidth and host_overhead")


def _check_numbers(profile: Profile, path: Path) -> None:
    """Rates and bandwidths are above 0, memory and overheads may be 0."""
    for element_type, row in profile.rates.items():
        unknown = [element_type] if element_type not in TYPES else [kind for kind in row if kind not in KINDS]
        if unknown:
            raise DataError(f"{path}: rates: unknown {unknown[0]!r}; known are {', '.join(TYPES + KINDS)}")
    figures = {f"rate of {t} {kind}": figure for t, row in profile.rates.items() for kind, figure in row.items()}
    figures |= {name: figure for name in SINGLES if (figure := getattr(profile, name)) is not None}
    for name, figure in figures.items():
        least = "0 or more" if name in MAY_BE_ZERO else "above 0"
        if not (0 < figure.value < math.inf or (name in MAY_BE_ZERO and figure.value == 0)):
            raise DataError(f"{path}: {name} is {figure.value}; expected a number {least}")


def profile_values(profile: Profile) -> dict[str, Any]:
    """Return the plain values that a YAML file holds of a profile; inverse of `profile_from`."""
    figures = {name: getattr(profile, name) for name in SINGLES}
    return {
        "title": profile.title,
        "runtime": profile.runtime,
        "measured": profile.measured,
        "rates": {t: {kind: _plain(figure) for kind, figure in row.items()} for t, row in profile.rates.items()},
        **{name: _plain(figure) for name, figure in figures.items() if figure is not None},
        "alignment": profile.alignment,
        "fused": list(profile.fused),
        "fallback": list(profile.fallback),
        "band": {"factors": [round(factor, 3) for factor in profile.band], "source": profile.band_source},
    }


def _plain(figure: Figure) -> dict[str, Any]:
    return {"value": float(f"{figure.value:.4g}"), "source": figure.source}
