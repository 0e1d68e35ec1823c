"""The table of ImageNet weights in docs/models.md: `PYTHONPATH=. python tools/weights_table.py` prints it.

One row per edgeailite encoder that has some, with those that `--pretrained imagenet` takes first where none are on the
machine and packages can be installed; mean and scale are those of pixels 0..255.
"""

from __future__ import annotations

from edgeailite.models.edgeailite import BACKBONES
from edgeailite.pretrained import PublishedWeights, weights_for


def table() -> str:
    """Return the rows as Markdown."""
    rows = ["| encoder | ImageNet weights | MB | mean | scale |", "|---|---|---|---|---|"]
    for encoder in BACKBONES:
        weights = [w for w in weights_for(f"unet_aspp_{encoder}_edgeailite") if w.name.startswith("ImageNet")]
        if weights:
            rows.append(f"| `{encoder}` | {_cells(weights[0])} |")
    return "\n".join(rows)


def _cells(weights: PublishedWeights) -> str:
    size = weights.packaged.size if weights.packaged else weights.files[0].size
    assert weights.mean_and_scale is not None
    numbers = (" ".join(f"{value:.6g}" for value in values) for values in weights.mean_and_scale)
    source = weights.name.removeprefix("ImageNet, ")
    return " | ".join((source, "?" if size is None else f"{size / 1e6:.0f}", *numbers))


if __name__ == "__main__":
    print(table())
