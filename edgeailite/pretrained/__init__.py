"""Weights from files into a network, `load_pretrained(model, source)`, and the table of published ones.

`imagenet_weights(name)` finds those of a network's encoder.
"""

from __future__ import annotations

from edgeailite.pretrained.by_name import Offer, imagenet_weights, offers
from edgeailite.pretrained.find_state_dict import state_dict_of
from edgeailite.pretrained.loading import load_pretrained
from edgeailite.pretrained.networks import which_network
from edgeailite.pretrained.open_weights import Source, fetch
from edgeailite.pretrained.plain import not_finite
from edgeailite.pretrained.publishing import published_state_dict
from edgeailite.pretrained.ranges import published_ranges
from edgeailite.pretrained.reading import read_weights
from edgeailite.pretrained.report import LoadReport, describe
from edgeailite.pretrained.urls import PUBLISHED, PublishedWeights, weights_for

__all__ = [
    "PUBLISHED",
    "LoadReport",
    "Offer",
    "PublishedWeights",
    "Source",
    "describe",
    "fetch",
    "imagenet_weights",
    "load_pretrained",
    "not_finite",
    "offers",
    "published_ranges",
    "published_state_dict",
    "read_weights",
    "state_dict_of",
    "weights_for",
    "which_network",
]
