"""What has to be known to use a network's weights, one record for checkpoint, ONNX metadata and contract alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeailite.errors import DataError
from edgeailite.preprocessing import Preprocessing

REGRESSION = "depth"
TASKS = ("segmentation", REGRESSION, "motion")
DEFAULT_OPTIONS: dict[str, Any] = {"inputs": 1, "output_range": {}, "upsampling": "bilinear", "align_corners": False}


@dataclass(frozen=True)
class ModelCard:
    """Network name, channels per output, class names and colours, preprocessing, data set it was trained on.

    `options` is what else `create_model` was given and is not its default; `changed_options(model.options)` finds it.
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
        """Names of the images the network takes."""
        return tuple(input_name(index) for index in range(self.options.get("inputs", 1)))

    @property
    def tasks(self) -> dict[str, str]:
        """Output name -> task type. Depth is regression: its one channel has no argmax."""
        return {output: task_type(output, channels) for output, channels in self.outputs.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, YAML and checkpoints."""
        return asdict(self)


def card_from_dict(values: Mapping[str, Any], *, where: str = "card") -> ModelCard:
    """Inverse of `ModelCard.to_dict`, also after a round through JSON. Raises DataError for what is no card."""
    try:
        return _card(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: {error!r}") from None


def _card(values: Mapping[str, Any]) -> ModelCard:
    pre = dict(values["preprocessing"])
    pre["mean"], pre["scale"] = tuple(pre["mean"]), tuple(pre["scale"])
    return ModelCard(
        model_name=values["model_name"],
        outputs=dict(values["outputs"]),
        classes=tuple(values["classes"]),
        palette=tuple((r, g, b) for r, g, b in values["palette"]),
        preprocessing=Preprocessing(**pre),
        dataset_name=values["dataset_name"],
        data_path=values.get("data_path"),
        options=_options(values.get("options") or {}),
    )


def changed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """`Pixel2Pixel.options` without what is a default: the form a card keeps."""
    return {name: value for name, value in _options(options).items() if value != DEFAULT_OPTIONS.get(name)}


def input_name(index: int) -> str:
    """Name of an input in files: `image`, `image1`, ..."""
    return f"image{index or ''}"


def task_type(output: str, channels: int) -> str:
    """Of an output: the task it is named after, else depth for one channel and segmentation for several."""
    named = next((task for task in TASKS if output.startswith(task)), None)
    return named or (REGRESSION if channels == 1 else TASKS[0])


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Ranges as pairs again, which JSON makes lists of."""
    ranges = {output: (low, high) for output, (low, high) in (values.get("output_range") or {}).items()}
    return dict(values) | ({"output_range": ranges} if ranges else {})
