"""RepVGG and MobileOne: timm's networks are the oracle for features, keys and multiplications, branches and fused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeailite.cost import complexity
from edgeailite.models import create_model
from edgeailite.models.edgeailite import BACKBONES
from edgeailite.models.encoders.branches import Branches
from edgeailite.models.fusing import fuse
from edgeailite.pretrained import load_pretrained
from tests.models.test_lite_backbones import by_default, needs_timm, theirs

NAMES = [name for name in BACKBONES if name.startswith(("repvgg", "mobileone"))]
FEW = by_default(NAMES, ("repvgg_a0", "mobileone_s0"))
PICTURE = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1))


def randomized(network: nn.Module) -> nn.Module:
    """Statistics, factors and offsets of BatchNorm that are not the initial ones; outputs of about one."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.2, 0.6),
                (module.bias.data, -0.1, 0.1),
            ):
                tensor.uniform_(low, high, generator=generator)
    return network.eval()


def assert_close(ours: torch.Tensor, expected: torch.Tensor) -> None:
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@needs_timm
@pytest.mark.parametrize("name", FEW)
def test_features_and_keys_equal_timms(name, tmp_path):
    network = theirs(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = create_model(f"fpn_aspp_{name}_edgeailite").eval()
    report = load_pretrained(model, tmp_path / "weights.pth")
    assert report.kind == "timm RepVGG or MobileOne backbone"
    assert all(key.startswith("decoders.") for key in report.missing)
    with torch.inference_mode():
        expected = [network.stem(PICTURE)]
        for stage in network.stages:
            expected.append(stage(expected[-1]))
        for ours, their in zip(model.encoder(PICTURE), expected, strict=True):
            assert_close(ours, their)


@needs_timm
@pytest.mark.parametrize("name", FEW)
def test_multiplications_are_those_of_timms_fused_network(name):
    import timm
    from timm.utils.model import reparameterize_model

    with torch.device("meta"):
        encoder = fuse(create_model(f"fpn_aspp_{name}_edgeailite").encoder.eval())
        network = reparameterize_model(timm.create_model(name).eval()).to("meta")
        x = torch.empty(1, 3, 224, 224)
    counts = []
    for run in (lambda: encoder(x), lambda: network.stages(network.stem(x))):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            run()
        counts.append(counter.get_total_flops() / 2e9)
    assert counts[0] == pytest.approx(counts[1], abs=5e-5)
    assert counts[0] > 0.1


@pytest.mark.parametrize("decoder", ["deeplabv3plus", "fpn_aspp", "unet_aspp"])
@pytest.mark.parametrize("fast", ["", "_fd"])
def test_fused_networks_give_the_same(decoder, fast):
    model = randomized(create_model(f"{decoder}_mobileone_s0{fast}_edgeailite", 5))
    fused = fuse(model)
    with torch.inference_mode():
        assert_close(fused(PICTURE)["segmentation"], model(PICTURE)["segmentation"])
    assert any(isinstance(module, Branches) for module in model.modules()), "the network itself stays"
    assert not any(isinstance(module, Branches) for module in fused.modules())
    assert fuse(fused) is fused


@pytest.mark.parametrize(
    "block",
    [
        Branches(6, 6, 3, groups=6, repeats=4, identity=True),
        Branches(6, 8, 3, stride=2),
        Branches(6, 6, 1, repeats=2, identity=True),
        Branches(6, 6, 3, groups=2, identity=True),
    ],
)
def test_a_fused_block_is_one_convolution(block):
    block = randomized(block)
    fused = block.fused()
    assert [type(module) for module in fused] == [nn.Conv2d, nn.ReLU]
    x = torch.randn(2, 6, 9, 11, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert_close(fused(x), block(x))


def test_a_forgotten_branch_would_be_seen():
    block = randomized(Branches(6, 6, 3, repeats=2, identity=True))
    fused = block.fused()
    block.identity.weight.data += 0.01
    x = torch.randn(2, 6, 9, 11, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), pytest.raises(AssertionError):
        assert_close(fused(x), block(x))


def test_costs_are_those_of_the_file():
    model = create_model("unet_aspp_mobileone_s0_edgeailite")
    cost = complexity(model, (64, 96))
    fused = fuse(model)
    assert cost.parameters == sum(p.numel() for p in fused.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("fast_down", [False, True])
def test_features_are_as_large_as_their_strides_say(name, fast_down, inputs):
    for stride in (32, 16):
        with torch.device("meta"):
            encoder = BACKBONES[name].encoder(
                fast_down=fast_down, output_stride=stride * (2 if fast_down else 1), inputs=inputs
            )
            features = encoder.eval()(*[torch.empty(1, 3, 128, 192)] * inputs)
        assert encoder.strides[-1] == stride * (2 if fast_down else 1)
        for feature, channels, total in zip(features, encoder.channels, encoder.strides, strict=True):
            assert feature.shape == (1, channels, 128 // total, 192 // total)
