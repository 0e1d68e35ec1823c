"""The stored costs of networks are those that counting gives, at any size; `tools/network_costs.py` writes them."""

from __future__ import annotations

import pytest

from edgeailite.commands.models import describe
from edgeailite.cost.network_costs import network_costs
from edgeailite.models import list_models

SAMPLE = (
    "ddrnet23_slim",
    "fpn_aspp_efficientnet_lite0_edgeailite",
    "resnet18dilated_ppm_deepsup",
    "unet_aspp_regnetx400mf_fd_edgeailite",
)


def test_every_network_is_stored_but_those_with_vgg_whose_pooling_rounds_down():
    wanted = [name for name in list_models() if not name.startswith("v1_vgg")]
    assert sorted(network_costs()) == wanted, "run tools/network_costs.py --only NAME"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in sorted(network_costs())]
)
@pytest.mark.parametrize("size", [(33, 47), (360, 480)])
def test_stored_costs_are_those_that_counting_gives(name, size):
    stored, counted = describe(name, None, size), describe(name, None, size, stored=False)
    assert stored == counted


def test_other_classes_and_inputs_are_counted():
    name = "fpn_aspp_mobilenetv2_tv_edgeailite"
    default = describe(name, None, (64, 64))
    assert describe(name, 19, (64, 64)) == default
    assert describe(name, 21, (64, 64))["parameters"] > default["parameters"]
    assert describe(name, None, (64, 64), inputs=2)["parameters"] > default["parameters"]
