"""The model card: everything needed to use a network's weights.

Checkpoint, ONNX metadata and contract hold the same record.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from edgeailite.errors import DataError
from edgeailite.preprocessing import CHANNEL_ORDERS, RESIZES, Preprocessing
from edgeailite.untrusted import Fields, shown

REGRESSION = "depth"
CLASSIFICATION = "classification"
FEATURES = "features"
TASKS = ("segmentation", REGRESSION, "motion", CLASSIFICATION, FEATURES)
"""A class for each pixel (segmentation, motion), metres, a class for the picture, and numbers without a metric."""
DEFAULT_OPTIONS: dict[str, Any] = {"inputs": 1, "output_range": {}, "upsampling": "bilinear", "align_corners": False}
NETWORK = "network"  # an option: sha256 of the ONNX file from elsewhere that holds the network
HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
OUTPUT_NAME = re.compile(r"[\w-]{1,64}")  # it becomes part of file names
LONGEST_SIDE, MOST_PIXELS = 65_535, 2**24  # of the input
MOST_INPUTS, MOST_OUTPUTS, MOST_CHANNELS = 8, 16, 4096
LONGEST_NAME, LONGEST_PATH = 200, 4096
HUE_STEP = 0.381966  # of the circle: neighbours and their neighbours differ
SMALLEST_SCALE = 1e-30  # of the preprocessing, which multiplies by it


@dataclass(frozen=True)
class ModelCard:
    """Network name, channels per output, class names and colours, preprocessing, data set it was trained on.

    `options` is what else `create_model` was given and is not its default; `changed_options(model.options)` finds it.
    A network that was read from an ONNX file has the option `network`, the file's sha256.
    """

    model_name: str
    outputs: Mapping[str, int]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    preprocessing: Preprocessing
    dataset_name: str
    data_path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the images the network takes."""
        return tuple(input_name(index) for index in range(self.options.get("inputs", 1)))

    @property
    def tasks(self) -> dict[str, str]:
        """Return task types by output name. Depth is regression: its one channel has no argmax."""
        return {output: task_type(output, channels) for output, channels in self.outputs.items()}

    @property
    def classified(self) -> tuple[str, ...]:
        """Return the outputs with a class for each pixel, `segmentation` first, which have colours.

        >>> from edgeailite.preprocessing import Preprocessing
        >>> outputs = {"depth": 1, "motion": 2, "segmentation": 19}
        >>> ModelCard("two_tasks", outputs, (), (), Preprocessing(384, 768), "cityscapes").classified
        ('segmentation', 'motion')
        """
        names = [output for output in self.maps if self.tasks[output] != REGRESSION]
        return tuple(sorted(names, key=lambda name: name != TASKS[0]))

    @property
    def maps(self) -> tuple[str, ...]:
        """Return the outputs that can be drawn: with a class for each pixel, or depths."""
        return tuple(output for output, task in self.tasks.items() if task not in (CLASSIFICATION, FEATURES))

    @property
    def whole(self) -> tuple[str, ...]:
        """Return the outputs with one class for the whole picture, whose map has a single place."""
        return tuple(output for output, task in self.tasks.items() if task == CLASSIFICATION)

    def with_size(self, size: tuple[int, int]) -> ModelCard:
        """Return the card of the same network for pictures of another height and width in pixels."""
        return replace(self, preprocessing=self.preprocessing.with_size(size))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, YAML and checkpoints."""
        return asdict(self)


KEYS = tuple(entry.name for entry in fields(ModelCard))
PREPROCESSING_KEYS = tuple(entry.name for entry in fields(Preprocessing))


def card_from_dict(values: Any, *, where: str = "model card") -> ModelCard:
    """Rebuild a card from `ModelCard.to_dict`, also through JSON; the one reader of cards, whoever wrote them.

    Types, ranges, lengths and that the parts agree are checked. Raises DataError, which begins with `where` and names
    the entry.
    """
    card = Fields.of(values, where=where)
    _refuse_unknown(card, KEYS)
    outputs = _outputs(card)
    classes = _classes(card, outputs)
    return ModelCard(
        model_name=card.text("model_name", longest=LONGEST_NAME),
        outputs=outputs,
        classes=classes,
        palette=palette_of(card, len(classes)),
        preprocessing=preprocessing_of(card.fields("preprocessing")),
        dataset_name=card.text("dataset_name", longest=LONGEST_NAME),
        data_path=_path(card),
        options=_checked_options(card),
    )


def preprocessing_of(values: Fields) -> Preprocessing:
    """Read the entry `preprocessing` of a card, checked. Raises DataError."""
    _refuse_unknown(values, PREPROCESSING_KEYS)
    height, width = values.whole("height", 1, LONGEST_SIDE), values.whole("width", 1, LONGEST_SIDE)
    if height * width > MOST_PIXELS:
        raise values.refuse("height", f"height x width of at most {MOST_PIXELS} pixels (width is {width})")
    mean, scale = values.numbers("mean", 3, -1e6, 1e6), values.numbers("scale", 3, SMALLEST_SCALE, 1e6)
    return Preprocessing(
        height,
        width,
        (mean[0], mean[1], mean[2]),
        (scale[0], scale[1], scale[2]),
        values.text("channel_order", choices=CHANNEL_ORDERS),
        values.text("interpolation", choices=tuple(RESIZES)),
    )


def palette_of(values: Fields, count: int) -> tuple[tuple[int, int, int], ...]:
    """Read the entry `palette`: one colour (red, green, blue) per class. Raises DataError."""
    colours = values.items("palette", most=MOST_CHANNELS)
    if len(colours) != count:
        raise DataError(f"{values.where}: palette: {len(colours)} colours for {count} classes; expected one for each")
    for colour in colours:
        parts = colour if isinstance(colour, list | tuple) else ()
        if len(parts) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in parts):
            raise DataError(f"{values.where}: palette: expected three whole numbers in 0..255, found {shown(colour)}")
    return tuple((red, green, blue) for red, green, blue in colours)


def changed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `Pixel2Pixel.options` that differ from their defaults: the form that a card keeps."""
    return {name: value for name, value in _options(options).items() if value != DEFAULT_OPTIONS.get(name)}


def default_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return so many colours (red, green, blue) that are easy to tell apart, the same at each call.

    >>> default_palette(2)
    ((217, 65, 65), (65, 217, 109))
    """
    colours = (colorsys.hsv_to_rgb(index * HUE_STEP % 1, 0.7, 0.85 - 0.3 * (index // 8 % 2)) for index in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours)


def input_name(index: int) -> str:
    """Name of an input in files: `image`, `image1`, ..."""
    return f"image{index or ''}"


def task_type(output: str, channels: int) -> str:
    """Return an output's type: the task in its name, else depth if it has one channel, segmentation if several."""
    named = next((task for task in TASKS if output.startswith(task)), None)
    return named or (REGRESSION if channels == 1 else TASKS[0])


def has_classes(output: str, channels: int) -> bool:
    """Tell if the channels of an output are scores of classes, of each pixel or of the whole picture."""
    return task_type(output, channels) not in (REGRESSION, FEATURES)


def _refuse_unknown(values: Fields, known: Collection[str]) -> None:
    unknown = next((key for key in values.values if key not in known), None)
    if unknown is not None:
        raise DataError(
            f"{values.where}: {shown(unknown)} is no entry that is known here ({', '.join(known)}); it was changed, or "
            "written by a newer version"
        )


def _outputs(card: Fields) -> dict[str, int]:
    outputs = card.fields("outputs")
    if not 1 <= len(outputs.values) <= MOST_OUTPUTS:
        raise DataError(f"{card.where}: outputs: expected 1 to {MOST_OUTPUTS}, found {len(outputs.values)}")
    for name in outputs.values:
        if not OUTPUT_NAME.fullmatch(name):
            raise DataError(
                f"{card.where}: outputs: {shown(name)} is no name of an output (letters, digits, _ and -, at most 64)"
            )
    return {name: outputs.whole(name, 1, MOST_CHANNELS) for name in outputs.values}


def _classes(card: Fields, outputs: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the classes of the main output with classes; none, or one per channel."""
    names = card.texts("classes", most=MOST_CHANNELS)
    too_long = next((name for name in names if len(name) > LONGEST_NAME), None)
    if too_long is not None:
        raise DataError(f"{card.where}: classes: {shown(too_long)} has more than {LONGEST_NAME} characters")
    channels = [count for output, count in outputs.items() if has_classes(output, count)]
    if names and len(names) not in channels:
        counts = ", ".join(f"{output} {count}" for output, count in outputs.items())
        raise DataError(
            f"{card.where}: classes: {len(names)} names, but channels are {counts}; expected one name for each channel"
        )
    return tuple(names)


def _path(card: Fields) -> str | None:
    """Read the data's path on the machine that trained: plain text, since it may hold anything a file system allows."""
    path = card.values.get("data_path")
    if path is not None and (not isinstance(path, str) or len(path) > LONGEST_PATH or "\0" in path):
        raise card.refuse("data_path", f"the path of a folder, at most {LONGEST_PATH} characters, or nothing")
    return path


def _checked_options(card: Fields) -> dict[str, Any]:
    if card.values.get("options") is None:  # files of older versions have none
        return {}
    options = card.fields("options")
    _refuse_unknown(options, (*DEFAULT_OPTIONS, NETWORK))
    if NETWORK in options.values and not HEXADECIMAL.fullmatch(options.text(NETWORK, longest=64)):
        raise options.refuse(NETWORK, "64 hexadecimal digits")
    if "inputs" in options.values:
        options.whole("inputs", 1, MOST_INPUTS)
    if "upsampling" in options.values:
        options.text("upsampling", longest=LONGEST_NAME)
    if "align_corners" in options.values:
        options.truth("align_corners")
    if options.values.get("output_range") is not None:
        ranges = options.fields("output_range")
        for output in ranges.values:
            low, high = ranges.numbers(output, 2)
            if low >= high:
                raise ranges.refuse(output, "the smallest and a larger value")
    return _options(options.values)


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Ranges as pairs again, which JSON makes lists of."""
    ranges = {output: (low, high) for output, (low, high) in (values.get("output_range") or {}).items()}
    return dict(values) | ({"output_range": ranges} if ranges else {})
