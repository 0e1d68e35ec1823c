"""The passes of graphs before export: BatchNorm folded, label maps appended, on networks of a few modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.export.graphs import append_argmax, enlarged_label_map, fold_batch_norms, label_map


class Branching(nn.Module):
    """One BatchNorm that can be folded, one whose convolution has another reader, an average of regions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm_a = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.b, self.norm_b = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm_a(self.a(image))
        y = self.b(x)
        return self.pool(self.norm_b(y) + y)


def test_folding_changes_nothing_and_leaves_what_others_read():
    torch.manual_seed(0)
    network = Branching()
    for norm in (network.norm_a, network.norm_b):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.3, 2)
    image, folded = torch.rand(2, 3, 7, 8), fold_batch_norms(network)
    torch.testing.assert_close(folded(image), network.eval()(image), rtol=1e-5, atol=1e-5)
    assert [type(module) for module in folded.modules()].count(nn.BatchNorm2d) == 1


class Heads(nn.Module):
    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> dict[str, Tensor]:
        enlarged = F.interpolate(a, size=(6, 10), mode="bilinear", align_corners=False)
        return {"enlarged": enlarged, "plain": b, "depth": c}


@pytest.mark.parametrize("mode", ["full", "before_upsampling"])
def test_label_maps_replace_outputs_with_classes_alone(mode):
    a, b, c = (torch.randn(1, channels, 3, 5, generator=torch.Generator().manual_seed(1)) for channels in (4, 3, 1))
    traced = fx.symbolic_trace(Heads())
    append_argmax(traced, mode, ("enlarged", "plain"))
    found = traced(a, b, c)
    assert list(found) == ["enlarged_label", "plain_label", "depth"]
    assert found["depth"] is c
    np.testing.assert_array_equal(found["plain_label"].numpy(), b.numpy().argmax(1))
    if mode == "full":
        expected = Heads()(a, b, c)["enlarged"].numpy().argmax(1)
    else:
        expected = a.numpy().argmax(1).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(found["enlarged_label"].numpy(), expected)
    assert found["enlarged_label"].dtype == torch.uint8


@pytest.mark.parametrize(("classes", "kind"), [(2, torch.uint8), (256, torch.uint8), (257, torch.int32)])
def test_labels_fit_their_type_and_ties_go_to_the_first(classes, kind):
    scores = torch.zeros(1, classes, 2, 2)
    scores[0, -1, 0, 0] = 1
    scores[0, 0, 0, 1] = scores[0, -1, 0, 1] = 1
    labels = label_map(scores)
    assert labels.dtype == kind
    assert labels.tolist() == [[[classes - 1, 0], [0, 0]]]
    if kind == torch.uint8:
        assert enlarged_label_map(scores, (4, 6))[0, :, ::3].tolist() == [[classes - 1, 0]] * 2 + [[0, 0]] * 2
