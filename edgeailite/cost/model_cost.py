"""Cost of an opened model: counted from the graph for ONNX files, from the float network for runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgeailite.config import Size
from edgeailite.cost import Cost, file_cost, torch_cost
from edgeailite.modelcard import ModelCard
from edgeailite.runs.open import OpenModel


def cost_of(source: Path, opened: OpenModel) -> Cost:
    """Count layers and memory at the size in the card; a quantized run counts as the float one it came from."""
    size = opened.card.preprocessing.size
    if opened.is_file:
        return file_cost(source, opened.fixed_size or size)
    return float_costs(opened.card, [size], folder=opened.folder)[size]


def float_costs(card: ModelCard, sizes: Iterable[Size], *, folder: Path | None = None) -> dict[Size, Cost]:
    """Count the float network that a card describes at each size (height, width).

    `folder` is that of the run, in which a network that came from an ONNX file lies.
    """
    from edgeailite.models.shapes_only import shapes_only
    from edgeailite.runs.network import build_network

    with shapes_only():
        network = build_network(card, folder=folder).to("meta")
    return {size: torch_cost(network, size, inputs=len(card.inputs)) for size in sizes}
