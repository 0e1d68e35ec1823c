"""Torch modules, through torch's own exporter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeailite.errors import UsageError
from edgeailite.foreign import read_module


class Small(nn.Module):
    """Two outputs, a layer used twice, an activation by its parts, channels in another order, an open size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.block = nn.Conv2d(8, 8, 3, 1, 1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        y = self.block(F.silu(self.block(self.stem(x))))
        first, second = y.chunk(2, 1)
        y = torch.cat([second, first], 1)
        flat = self.fc(self.norm(y).mean((2, 3)))
        maps = F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)
        return {"maps": maps, "kinds": flat}


class NeedsItsSize(nn.Module):
    """Works at one size alone."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.rand(1, 3, 32, 48))
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x) if x.shape[2:] == (32, 48) else self.conv(x + self.place)


def warmed(module: nn.Module) -> nn.Module:
    """Give BatchNorm statistics that are not their initial ones."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2)
    return module.train()


def test_a_module_with_open_size(caplog):
    torch.manual_seed(0)
    module = warmed(Small())
    network = read_module(module, torch.zeros(1, 3, 32, 48))
    assert module.training
    assert not [record for record in caplog.records if record.name == "edgeailite.notes"]
    module.eval()
    with torch.no_grad():
        for size in ((48, 64), (33, 45)):
            x = torch.randn(3, 3, *size)
            got, expected = network(x), module(x)
            assert list(got) == ["maps", "kinds"]
            for name, value in expected.items():
                assert torch.allclose(got[name], value, atol=1e-5), name
    names = set(network.state_dict())
    assert {"block.weight", "block.bias", "fc.weight", "fc.bias"} <= names
    assert {name.split(".")[0] for name in names} <= {"stem", "block", "block_2", "norm", "fc"}
    assert network.get_submodule("block").weight is network.get_submodule("block_2").weight


@pytest.mark.slow
def test_a_module_of_one_size_is_read_at_it(caplog):
    network = read_module(NeedsItsSize(), torch.zeros(1, 3, 32, 48))
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 48))["output"].shape == (1, 4, 30, 46)


def test_what_cannot_be_exported_is_one_line(capfd):
    class Text(nn.Module):
        def forward(self, x):
            return "no tensor"

    class Looks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    for module, said in ((Text(), "returns str"), (Looks(), "torch cannot export Looks to ONNX .*data-dependent")):
        with pytest.raises(UsageError, match=said) as caught:
            read_module(module, torch.zeros(1, 3, 32, 48))
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
