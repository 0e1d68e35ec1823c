"""DDRNet-23-slim against facts of its original code (keys, parameters, multiplications, logits), and its fused form.

The facts were taken from ydhongHIT/DDRNet with weights filled by the published rule of `tests.golden`, by the published
keys.
"""

from __future__ import annotations

import gzip
import json

import pytest
import torch
from torch import nn

from edgeailite.cost import complexity
from edgeailite.models import create_model
from edgeailite.models.encoders.preactivated import PreActivated
from edgeailite.models.fusing import fuse
from edgeailite.pretrained import load_pretrained, published_state_dict
from tests.golden import golden_fill, random_state
from tests.markdown import ROOT

FACTS = json.loads(gzip.decompress((ROOT / "tests/reference/ddrnet23_slim.json.gz").read_bytes()))
STEPS = "num_batches_tracked"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A checkpoint as the original training wrote it: the network and its loss in one module."""
    path = tmp_path_factory.mktemp("ddrnet") / "best_val.pth"
    state = {f"model.{key}": torch.from_numpy(golden_fill(key, tuple(shape))) for key, shape in FACTS["keys"].items()}
    torch.save(state | {"loss.criterion.weight": torch.ones(19)}, path)
    return path


@pytest.fixture(scope="module")
def model(published):
    model = create_model("ddrnet23_slim").eval()
    load_pretrained(model, published)
    return model


def picture() -> torch.Tensor:
    return torch.from_numpy(random_state("ddrnet").standard_normal((1, 3, 128, 192))).float()


def sampled(logits: torch.Tensor) -> torch.Tensor:
    return logits[0, :, ::4, ::6].flatten()


def test_the_published_keys_load_and_come_back(published):
    model = create_model("ddrnet23_slim")
    report = load_pretrained(model, published)
    assert report.kind == "DDRNet network"
    assert report.missing == report.unexpected == report.mismatched == ()
    named = {key: list(value.shape) for key, value in published_state_dict(model).items() if not key.endswith(STEPS)}
    assert named == FACTS["keys"]


def test_logits_are_the_originals(model):
    with torch.inference_mode():
        features = model.encoder(picture())
        results = model.decoders[0](features), model.decoders[0].auxiliary(features)
    for ours, expected in zip(results, FACTS["logits"], strict=True):
        torch.testing.assert_close(sampled(ours), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_costs_are_the_originals():
    model = create_model("ddrnet23_slim")
    cost = complexity(model, (256, 512))
    main = [p.numel() for name, p in model.named_parameters() if "seghead_extra" not in name]
    assert sum(main) == FACTS["params"]
    pooling = cost.giga_macs - FACTS["gmacs_256x512"]  # averages are depthwise convolutions in the file
    assert 0 < pooling < 1e-3
    assert complexity(model, (1024, 2048)).giga_macs == pytest.approx(36.3, abs=0.02)  # as the paper has it


def test_deep_supervision_in_training_alone(model):
    x = picture()
    assert set(model.eval()(x)) == {"segmentation"}
    trained = create_model("ddrnet23_slim", 5).train()
    outputs = trained(torch.cat([x, x.flip(3)]))
    assert set(outputs) == {"segmentation", "segmentation_deepsup"}


@pytest.mark.parametrize("size", [(128, 192), (97, 161), (32, 32)])
def test_the_fused_network_gives_the_same(model, size):
    fused = fuse(model)
    assert not any(isinstance(module, (PreActivated, nn.AvgPool2d)) for module in fused.modules())
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(x)["segmentation"]
        torch.testing.assert_close(
            fused(x)["segmentation"], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
        )


def test_averaging_is_one_code_in_8_bits():
    block = PreActivated(nn.AvgPool2d(5, 2, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)).eval()
    weight = block.fused()[0].weight
    assert weight.shape == (3, 1, 5, 5)
    assert all(len(channel.unique()) == 1 for channel in weight)
