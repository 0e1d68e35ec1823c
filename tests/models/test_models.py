"""Networks against the published facts: keys, parameters, logits, sizes, tracing. Lists itself from MODELS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.models import ALIASES, MODELS, create_model, list_models
from tests.golden import golden_model, random_state

REFERENCE = Path(__file__).parents[1] / "reference"


@pytest.mark.parametrize("name", list_models())
def test_keys_and_parameters_equal_the_published_network(name):
    published = json.loads((REFERENCE / f"keys_{name}.json").read_text())
    model = create_model(name, published["num_classes"])
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == published["keys"]
    assert sum(p.numel() for p in model.parameters()) == published["num_params"]


@pytest.mark.parametrize("name", list_models())
def test_logits_equal_the_published_network(name):
    golden = np.load(REFERENCE / f"golden_{name}.npz")
    x = torch.from_numpy(random_state("input").standard_normal(size=(1, 3, 256, 512)).astype(np.float32))
    with torch.inference_mode():
        logits = golden_model(name)(x)["segmentation"]
    mean, std, low, high = golden["stats"]
    ours = logits.numpy()
    assert np.abs(ours[:, :, ::8, ::8] - golden["logits"]).max() <= 1e-4 * std
    np.testing.assert_allclose([ours.mean(), ours.std(), ours.min(), ours.max()], [mean, std, low, high], rtol=1e-4)
    assert (ours.argmax(1)[:, None, ::8, ::8] == golden["argmax"]).all()


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("size", [(32, 32), (33, 65), (90, 121)])
def test_any_size_in_train_and_eval(name, size):
    model = create_model(name, 5)
    x = torch.randn(2, 3, *size)
    assert model(x)["segmentation"].shape == (2, 5, *size)
    assert model.eval()(x)["segmentation"].shape == (2, 5, *size)


@pytest.mark.parametrize("name", list_models())
def test_gradients_reach_every_parameter(name):
    model = create_model(name, 5)
    model(torch.randn(2, 3, 64, 64))["segmentation"].square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("name", list_models())
def test_fx_traces_and_agrees(name):
    model = create_model(name, 5).eval()
    x = torch.randn(1, 3, 48, 80)
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(traced(x)["segmentation"], model(x)["segmentation"], rtol=0, atol=0)


def test_two_decoders_share_the_encoder():
    model = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", outputs={"segmentation": 19, "motion": 2}).eval()
    out = model(torch.randn(1, 3, 64, 64))
    assert {k: v.shape[1] for k, v in out.items()} == {"segmentation": 19, "motion": 2}


def test_unknown_name_says_which_exist():
    with pytest.raises(ValueError, match=r"unknown model 'deeplab_mobilenet'.*deeplabv3plus_mobilenetv2_tv_edgeailite"):
        create_model("deeplab_mobilenet")


def test_aliases_point_to_models_and_are_not_listed():
    assert set(ALIASES.values()) <= set(MODELS)
    assert not set(ALIASES) & set(list_models())
