"""What has to be known to use a network's weights, one record for checkpoint, ONNX metadata and contract alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeailite.preprocessing import Preprocessing


@dataclass(frozen=True)
class ModelCard:
    """Network name, channels per output, class names and colours, preprocessing, data set it was trained on."""

    model_name: str
    outputs: Mapping[str, int]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    preprocessing: Preprocessing
    dataset_name: str
    data_path: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, YAML and checkpoints."""
        return asdict(self)


def card_from_dict(values: Mapping[str, Any]) -> ModelCard:
    """Inverse of `ModelCard.to_dict`, also after a round through JSON."""
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
    )
