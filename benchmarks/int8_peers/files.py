"""What a peer gets and gives: one folder, made by `benchmarks/int8.py export`.

float.onnx        the float file that all int8 files are made from (one size, batch 1, BatchNorm folded)
network.json      run folder and size, for peers that start from the torch network
calibration.npy   normalised pictures (N,3,H,W) float32
compared.npy      a few more, on which a peer's own simulation is compared with its file
PEER.onnx         written by the peer; PEER-labels.npy: classes (N,H,W) by the peer's own simulation, if it has one
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgeailite.export.graphs import fold_batch_norms
from edgeailite.runs.network import load_network


def folder() -> Path:
    """The one argument of every script."""
    return Path(sys.argv[1])


def pictures(place: Path, name: str = "calibration") -> list[np.ndarray]:
    """Single pictures (1,3,H,W)."""
    return list(np.load(place / f"{name}.npy")[:, None])


class Plain(nn.Module):
    """A tensor in, logits out: peers know no dictionaries."""

    def __init__(self, network: nn.Module, output: str) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)[self.output]


def network(place: Path, *, folded: bool = False) -> nn.Module:
    """The float torch network in eval mode; `folded`: BatchNorm in the convolutions."""
    _, module = load_network(Path(json.loads((place / "network.json").read_text())["run"]))
    return Plain(fold_batch_norms(module) if folded else module, "segmentation").eval()


def save_labels(place: Path, name: str, simulate: nn.Module) -> None:
    """Classes that the peer's own torch simulation gives for the compared pictures."""
    with torch.no_grad():
        found = [simulate(torch.from_numpy(x)).argmax(1).to(torch.uint8).numpy() for x in pictures(place, "compared")]
    np.save(place / f"{name}-labels.npy", np.concatenate(found))
