"""FFNet against facts of its original code: keys, parameters, multiplications, logits.

The facts were taken from the layout of Qualcomm-AI-research/FFNet with weights filled by the published rule of
`tests.golden`, by the published keys.
"""

from __future__ import annotations

import gzip
import json

import pytest
import torch

from edgeailite.cost import complexity
from edgeailite.models import create_model, list_models
from edgeailite.pretrained import load_pretrained, published_state_dict
from tests.golden import golden_fill, random_state
from tests.markdown import ROOT

FACTS = json.loads(gzip.decompress((ROOT / "tests/reference/ffnet.json.gz").read_bytes()))
STEPS = "num_batches_tracked"


def test_there_are_facts_of_every_network():
    assert list_models("ffnet*") == sorted(FACTS)


@pytest.fixture(scope="module", params=sorted(FACTS))
def case(request, tmp_path_factory):
    """Name, and a checkpoint as it was published, with the filter that halves pictures."""
    path = tmp_path_factory.mktemp("ffnet") / "quarts.pth"
    keys = FACTS[request.param]["keys"]
    state = {key: torch.from_numpy(golden_fill(key, tuple(shape))) for key, shape in keys.items()}
    torch.save(state | {"smoothing.weight": torch.ones(3, 1, 5, 5)}, path)
    return request.param, path


def test_the_published_keys_load_and_come_back(case):
    name, path = case
    model = create_model(name)
    report = load_pretrained(model, path)
    assert report.kind == "FFNet network"
    assert "half the size" in " ".join(report.notes)
    assert report.missing == report.unexpected == report.mismatched == ()
    named = {key: list(value.shape) for key, value in published_state_dict(model).items() if not key.endswith(STEPS)}
    assert named == FACTS[name]["keys"]


def test_logits_are_the_originals(case):
    name, path = case
    model = create_model(name).eval()
    load_pretrained(model, path)
    picture = torch.from_numpy(random_state("ffnet").standard_normal((1, 3, 128, 192))).float()
    with torch.inference_mode():
        logits = model.decode(picture)["segmentation"]
    expected = torch.tensor(FACTS[name]["logits"])
    torch.testing.assert_close(
        logits[0, :, ::4, ::6].flatten(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
    )


def test_costs_are_the_originals(case):
    name, _ = case
    model = create_model(name)
    assert sum(p.numel() for p in model.parameters()) == FACTS[name]["params"]
    assert complexity(model, (256, 512)).giga_macs == pytest.approx(FACTS[name]["gmacs_256x512"], abs=1e-9)
