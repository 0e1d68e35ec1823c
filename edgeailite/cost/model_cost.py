"""What an opened model costs: of a file what it says, of a run its float network."""

from __future__ import annotations

from pathlib import Path

from edgeailite.cost import Cost, file_cost, torch_cost
from edgeailite.models.shapes_only import shapes_only
from edgeailite.runs.open import OpenModel, build_network


def cost_of(source: Path, opened: OpenModel) -> Cost:
    """Layers and memory at the size that the card says; a quantized run counts as the float one it came from."""
    size = opened.card.preprocessing.size
    if opened.is_file:
        return file_cost(source, opened.fixed_size or size)
    with shapes_only():
        network = build_network(opened.card)
    return torch_cost(network, size, inputs=len(opened.card.inputs))
