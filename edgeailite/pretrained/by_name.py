"""Weights by a word: `imagenet` stands for what the table has for a network's encoder, wherever it lies.

Looked for in this order: a package that is installed, the cache of downloads, the net.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeailite.download import cached_path, download, reachable
from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import sha256_of
from edgeailite.pretrained.open_weights import fetch
from edgeailite.pretrained.urls import STATED_TO, PackagedFile, PublishedWeights, weights_for

IMAGENET, AUTO, NONE = "imagenet", "auto", "none"
WORDS = (AUTO, IMAGENET, NONE)
EXTRA = "pip install 'edgeailite[weights]'"
State = Literal["installed", "cached", "online", "package"]
PATIENCE = 3.0  # seconds for a server's first answer, where nobody asked for the download by name
STALLED = 5.0  # seconds without a byte, likewise
LARGEST = 150 << 20  # bytes that are fetched, likewise


@dataclass(frozen=True)
class Offer:
    """Weights of an encoder and where they are.

    `state` is "installed" (by a package), "cached", "online" (can be downloaded) or "package" (can be installed);
    `source` is the file's path or address, or the package's name.
    """

    weights: PublishedWeights
    state: State
    source: str

    @property
    def where(self) -> str:
        """Return the source in words, for a person."""
        package = self.weights.packaged
        if package is not None:
            return "installed" if self.state == "installed" else f"{EXTRA}, {package.size / 1e6:.0f} MB"
        size = self.weights.files[0].size
        about = "" if size is None else f", {size / 1e6:.0f} MB"
        return "in the cache" if self.state == "cached" else f"can be fetched{about}"


def offers(model_name: str) -> list[Offer]:
    """List the ImageNet weights of a network's encoder: those on this machine first, then in the table's order.

    Asks no network; [] for an unknown name.

    >>> [offer.weights.name for offer in offers("fpn_aspp_resnet50_p5_edgeailite")]
    []
    """
    backbones = [w for w in weights_for(model_name) if w.is_backbone and w.name.startswith("ImageNet")]
    order = ("installed", "cached", "online", "package")
    return sorted((_offer(weights) for weights in backbones), key=lambda offer: order.index(offer.state))


def imagenet_weights(model_name: str, *, patient: bool = True) -> Offer:
    """Return the ImageNet weights of a network's encoder, on this machine or downloaded now: `source` can be loaded.

    Unless `patient`, a server has seconds to answer, EDGEAILITE_OFFLINE=1 forbids to ask any, and large files and
    addresses without encryption are left alone. Raises UsageError where the table has none, DataError (code "offline"
    or "not-installed") where they cannot be had now, or are damaged; the message says how to get them.
    """
    found = offers(model_name)
    if not found:
        raise UsageError(
            f"no ImageNet weights are known for the encoder of {model_name}",
            fix=f"{option('pretrained')} takes a file or an address too; `edgeailite models` says who has weights",
        )
    best = found[0]
    if best.state == "installed":
        _check(best)
    if best.state == "package":
        raise DataError(f"{best.source} is not installed", fix=EXTRA, code="not-installed")
    if best.state != "online":
        return best
    try:
        fetch(best.source) if patient else _fetch_unasked(best)
    except DataError as error:
        package = next((offer.source for offer in found if offer.state == "package"), None)
        if package is None:
            raise
        raise DataError(f"{error}; or take the package {package}: {EXTRA}", code=error.code) from None
    return best


def _fetch_unasked(offer: Offer) -> None:
    """Download what nobody named. Raises DataError where that would take a wait, or should be asked for."""
    file = offer.weights.files[0]
    ask = f"{option('pretrained')} {IMAGENET} fetches it"
    if os.environ.get("EDGEAILITE_OFFLINE"):
        raise DataError(f"{file.url} is not fetched while EDGEAILITE_OFFLINE is set", fix=ask, code="offline")
    if not file.url.startswith("https://") or (file.size or 0) > LARGEST:
        raise DataError(f"{file.url} is not fetched unasked, being large or not encrypted", fix=ask, code="offline")
    if not reachable(file.url, seconds=PATIENCE):
        place = f"place the file as {cached_path(file.url)}"
        raise DataError(f"{file.url} cannot be reached", fix=place, code="offline")
    download(file.url, sha256=file.sha256, size=file.size, tolerance=STATED_TO, timeout=STALLED, retries=1)


def _offer(weights: PublishedWeights) -> Offer:
    if weights.packaged is not None:
        path = _installed(weights.packaged)
        return Offer(weights, "installed", str(path)) if path else Offer(weights, "package", weights.packaged.package)
    urls = [file.url for file in weights.files]
    return Offer(weights, "cached" if all(cached_path(url).is_file() for url in urls) else "online", urls[0])


def _installed(file: PackagedFile) -> Path | None:
    """Return the path of a package's file; None if it is not installed. The package is found, not imported."""
    found = importlib.util.find_spec(file.package.replace("-", "_"))
    paths = [Path(folder) / file.path for folder in (found and found.submodule_search_locations) or ()]
    return next((path for path in paths if path.is_file()), None)


def _check(offer: Offer) -> None:
    """Raise DataError for an installed file that is not the known one."""
    file, path = offer.weights.packaged, Path(offer.source)
    assert file is not None
    if path.stat().st_size != file.size or sha256_of(path) != file.sha256:
        fix = f"uninstall and install {file.package} again"
        raise DataError("is not the file that the package had", path=path, fix=fix, code="damaged")
