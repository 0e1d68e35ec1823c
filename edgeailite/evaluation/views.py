"""Test-time views of a picture: its sizes, and whether it is mirrored; the results of all views are averaged.

Several `scales` (and `flip`) are the usual test-time augmentation. `short_edges` is the ADE20K protocol: each picture
is stretched, from its own size, to one size per short edge, whose height and width are rounded up to a multiple of
`padding`; nothing is padded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeailite.data.augment.transforms import resize_image
from edgeailite.evaluation.values import Values, alike, on_host


@dataclass(frozen=True)
class Views:
    """Sizes at which a picture is shown: `scales` of the network's size, or `short_edges` in pixels.

    `max_size` limits the longer edge that a short edge leads to. `interpolation` is the rule for resizing. Mirroring
    turns all inputs of a network; a network that takes optical flow was trained with that, too.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    short_edges: tuple[int, ...] = ()
    padding: int = 8
    max_size: int = 1000
    interpolation: str = "linear_exact"

    @property
    def plain(self) -> bool:
        """Return True if the only view is the picture as it is."""
        return self.scales == (1.0,) and not self.flip and not self.short_edges

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return (height, width) of every view of a picture."""
        if self.short_edges:
            return [self._stretched(height, width, edge) for edge in self.short_edges]
        return [(max(1, round(height * scale)), max(1, round(width * scale))) for scale in self.scales]

    def _stretched(self, height: int, width: int, edge: int) -> tuple[int, int]:
        scale = min(edge / min(height, width), self.max_size / max(height, width))
        new_height, new_width = (-(-int(side * scale) // self.padding) * self.padding for side in (height, width))
        return new_height, new_width


PLAIN = Views()


def resize_batch(images: Values, size: tuple[int, int], interpolation: str) -> Values:
    """Resize uint8 pictures (N,3,H,W) as preprocessing does."""
    if tuple(images.shape[2:]) == size:
        return images
    resized = [resize_image(picture.transpose(1, 2, 0), size, interpolation) for picture in on_host(images)]
    return alike(np.stack([picture.transpose(2, 0, 1) for picture in resized]), images)
