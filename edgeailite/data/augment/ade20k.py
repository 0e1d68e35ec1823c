"""The pipeline of the published ADE20K recipes: pictures keep their shape, and a batch shares its scale.

(1) one short edge is drawn per batch, and pictures upright or not are never mixed (`batches.AspectBatches`); (2) a
picture is scaled by min(short edge / its short edge, max_size / its long edge), sizes cut to integers; (3) with p = 0.5
it is mirrored; (4) the batch is padded to its largest height and width, rounded up to a multiple of `padding`;
(5) labels are down-sampled by `label_rate`, for losses at the decoder's resolution.

Changed against the published code: it labels what it pads as class 0, a bug; here padding is ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgeailite.data.augment.extras import BORDER, NO_EXTRAS, Extras, mirrored
from edgeailite.data.augment.transforms import Images, Targets, resize_image, resize_label
from edgeailite.data.source import IGNORE
from edgeailite.data.tensors import Sample

SHORT_EDGES = (300, 375, 450, 525, 600)


def scaled_size(size: tuple[int, int], edge: int, max_size: int) -> tuple[int, int]:
    """Return (height, width) of a picture scaled to a short edge of `edge`, and a long one of at most `max_size`.

    In integers: as floats 375 / 512 * 512 may lie just below 375.
    """
    short, long = min(size), max(size)
    above, below = (edge, short) if edge * long <= max_size * short else (max_size, long)
    return max(1, size[0] * above // below), max(1, size[1] * above // below)


@dataclass(frozen=True)
class Ade20kTransform:
    """Rules 2 and 3 of the module, for the short edge of one batch: `transform.at(edge)`; without one, a drawn one."""

    short_edges: tuple[int, ...] = SHORT_EDGES
    max_size: int = 1000
    padding: int = 8
    label_rate: int = 1
    extras: Extras = NO_EXTRAS
    interpolation: str = "area"
    flip: bool = True
    edge: int | None = None

    @property
    def stored(self) -> tuple[int, int] | None:
        """Return None, because every picture is scaled from its own size."""
        return None

    def at(self, edge: int) -> Ade20kTransform:
        """Return the transform of a batch whose short edge has this length."""
        return dataclasses.replace(self, edge=edge)

    def __call__(self, images: Images, targets: Targets, rng: np.random.Generator) -> tuple[Images, Targets]:
        edge = int(rng.choice(self.short_edges)) if self.edge is None else self.edge
        size = scaled_size((images[0].shape[0], images[0].shape[1]), edge, self.max_size)
        views = tuple(resize_image(image, size, self.interpolation) for image in images)
        masks = {name: resize_label(values, size) for name, values in targets.items()}
        if rng.random() < 0.5 and self.flip:
            views = tuple(mirrored(view) for view in views)
            masks = {name: mirrored(mask) for name, mask in masks.items()}
        return self.extras(views, masks, rng)


@dataclass(frozen=True)
class PaddedBatch:
    """Rules 4 and 5 of the module: samples of several sizes to one batch. Pictures are padded with grey."""

    padding: int
    label_rate: int = 1

    def __call__(self, samples: Sequence[Sample]) -> Sample:
        """Join samples into a batch; torch's DataLoader calls this as its `collate_fn`."""
        heights, widths = zip(*(images[0].shape[1:] for images, _ in samples), strict=True)
        size = _round_up(max(heights), self.padding), _round_up(max(widths), self.padding)
        streams = zip(*(images for images, _ in samples), strict=True)
        images = tuple(torch.stack([_padded(image, size, BORDER[0]) for image in stream]) for stream in streams)
        targets = {
            name: torch.stack([self._target(targets[name], size) for _, targets in samples]) for name in samples[0][1]
        }
        return images, targets

    def _target(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        padded = _padded(values, size, 0 if values.is_floating_point() else IGNORE)
        middle = self.label_rate // 2
        return padded[middle :: self.label_rate, middle :: self.label_rate]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _padded(values: Tensor, size: tuple[int, int], filling: int) -> Tensor:
    height, width = values.shape[-2:]
    return F.pad(values, (0, size[1] - width, 0, size[0] - height), value=filling)
