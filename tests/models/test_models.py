"""What every network promises: sizes, gradients, tracing, several inputs and outputs. Lists itself from MODELS.

By default one network per decoder with one picture and output and with several; all under `slow`.
"""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeailite.models import ALIASES, DEEP_SUPERVISION, MODELS, create_model, list_models
from edgeailite.models.pixel2pixel import Pixel2Pixel
from edgeailite.models.single_values import use_running_statistics_for_single_values
from tests.networks import by_default_or_slow, first_of_each_decoder

OUTPUTS = {"segmentation": 5, "depth": 1, "motion": 2}
SIZE = (64, 96)
SMALL = (32, 64)  # VGG's 7x7 convolution has 100 million weights


NETWORKS = by_default_or_slow(list(MODELS))
SHOWN = ((1, 1), (2, 3))  # inputs, outputs: one of each, and several
FORMS = [
    form if form in SHOWN else pytest.param(*form, marks=pytest.mark.slow)
    for form in itertools.product((1, 2), (1, 2, 3))
]


def network(name: str, inputs: int = 1, decoders: int = 1) -> Pixel2Pixel:
    torch.manual_seed(0)
    return create_model(name, inputs=inputs, outputs=dict(list(OUTPUTS.items())[:decoders]))


def pictures(count: int, size: tuple[int, int], batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.randn(batch, 3, *size, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(("inputs", "decoders"), FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_backward_through_every_parameter(name, inputs, decoders):
    model, size = network(name, inputs, decoders), SMALL if "vgg" in name else SIZE
    outputs = model(*pictures(inputs, size))
    plain = {k: v for k, v in outputs.items() if not k.endswith(DEEP_SUPERVISION)}
    assert {k: tuple(v.shape) for k, v in plain.items()} == {k: (2, c, *size) for k, c in model.outputs.items()}
    assert list(plain) == list(OUTPUTS)[:decoders]
    torch.stack([(v * torch.randn_like(v)).mean() for v in outputs.values()]).sum().backward()
    unreached = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unreached == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("size", [(32, 32), (33, 65), (90, 121)])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_and_batch_1_in_train_and_eval(name, size):
    model = network(name)
    x = torch.randn(1, 3, *size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert model(x)["segmentation"].shape == (1, 5, *size)
    with torch.inference_mode():
        assert model.eval()(x)["segmentation"].shape == (1, 5, *size)


@pytest.mark.parametrize("name", NETWORKS)
def test_fx_traces_and_agrees(name):
    model = network(name, 2, 2).eval()
    x = pictures(2, (48, 80))
    traced = torch.fx.symbolic_trace(model)
    with torch.inference_mode():
        torch.testing.assert_close(traced(*x), model(*x), rtol=0, atol=0)
        decoded = model.decode(*x)
        resized = {k: F.interpolate(v, size=(48, 80), mode="bilinear", align_corners=False) for k, v in decoded.items()}
        torch.testing.assert_close(model(*x), resized, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_encoder_keeps_its_promise(name):
    model = network(name, 2).eval()
    with torch.inference_mode():
        features = model.encoder(*pictures(2, (64, 128)))
    assert [f.shape[1] for f in features] == list(model.encoder.channels)
    assert [64 / f.shape[2] for f in features] == list(model.encoder.strides)
    assert [128 / f.shape[3] for f in features] == list(model.encoder.strides)
    assert list(model.encoder.strides) == sorted(model.encoder.strides)


def test_second_input_and_every_decoder_matter():
    model = network("fpn_aspp_regnetx400mf_edgeailite", 2, 3).eval()
    image, flow = pictures(2, SIZE)
    with torch.inference_mode():
        once, changed = model(image, flow), model(image, flow + 1)
    assert all((once[k] - changed[k]).abs().max() > 0 for k in ("segmentation", "motion"))


def test_decoders_leave_the_features_alone():
    """One decoder's result does not depend on the others: upstream's FPN and UNet overwrite shared features."""
    together = network("unet_aspp_mobilenetv2_tv_edgeailite", 1, 3).eval()
    alone = create_model("unet_aspp_mobilenetv2_tv_edgeailite", outputs={"motion": 2}).eval()
    state = together.state_dict()
    renamed = {
        k.replace("decoders.2.", "decoders.0."): v for k, v in state.items() if "decoders." not in k or ".2." in k
    }
    alone.load_state_dict({k: v for k, v in renamed.items() if k in alone.state_dict()})
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(alone(x)["motion"], together(x)["motion"], rtol=0, atol=0)


@pytest.mark.parametrize("method", ["deconvolution", "subpixel"])
@pytest.mark.parametrize("name", [name for name in first_of_each_decoder() if MODELS[name].family == "edgeailite"])
def test_upsampling_variants(name, method):
    model = create_model(name, 5, upsampling=method)
    out = model(torch.randn(2, 3, 65, 97))["segmentation"]
    assert out.shape == (2, 5, 65, 97)
    out.square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_deconvolution_starts_as_bilinear_upsampling():
    from edgeailite.models.layers import Deconvolution

    x = torch.rand(1, 3, 6, 7)
    up = Deconvolution(3, 2, nn.ReLU).eval()(x, torch.zeros(1, 1, 12, 14))
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-4)


def test_output_range():
    torch.manual_seed(0)
    name = "deeplabv3plus_mobilenetv2_tv_edgeailite"
    x = 100 * torch.randn(1, 3, 64, 64)
    model = create_model(name, outputs={"depth": 1}).eval()
    model.load_state_dict({k: v + 0.5 if k.endswith("running_mean") else v for k, v in model.state_dict().items()})
    with torch.inference_mode():
        assert model(x)["depth"].min() == 0
        low, high = (
            f(create_model(name, outputs={"depth": 1}, output_range={"depth": (-1e-3, 1e-3)})(x)["depth"])
            for f in (torch.min, torch.max)
        )
    assert low >= -1.001e-3
    assert high <= 1.001e-3


def test_single_values_use_running_statistics_and_warn_once():
    model = create_model("unet_aspp_mobilenetv2_tv_edgeailite", 5)
    before = model.state_dict()["decoders.0.rfblock.conv1x1.1.running_mean"].clone()
    with pytest.warns(UserWarning, match="one value per channel") as caught:
        model(torch.randn(1, 3, 32, 32))["segmentation"].mean().backward()
        model(torch.randn(1, 3, 32, 32))
    assert len(caught) == 1
    assert torch.equal(model.state_dict()["decoders.0.rfblock.conv1x1.1.running_mean"], before)
    assert all(module.training for module in model.modules())


def test_unknown_name_says_which_are_near():
    with pytest.raises(
        ValueError, match=r"unknown model 'deeplab_mobilenet'.*did you mean .*deeplabv3plus_mobilenetv2"
    ):
        create_model("deeplab_mobilenet")


def test_aliases_point_to_models_and_are_not_listed():
    assert set(ALIASES.values()) <= set(MODELS)
    assert not set(ALIASES) & set(list_models())
    assert list_models() == sorted(MODELS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 3, "outputs": {"depth": 1}}, "not both"),
        ({"outputs": {}}, "at least one output"),
        ({"outputs": ["segmentation"]}, "a mapping is needed"),
        ({"outputs": {"a.b": 3}}, "a name of letters"),
        ({"outputs": {"segmentation_deepsup": 3}}, "not ending in _deepsup"),
        ({"num_classes": 0}, "whole number of at least 1"),
        ({"num_classes": 2.5}, "whole number of at least 1"),
        ({"num_classes": True}, "whole number of at least 1"),
        ({"inputs": 0}, "inputs 0"),
        ({"inputs": 2.0}, "inputs 2.0"),
        ({"outputs": {"depth": 1}, "output_range": {"depth": None}}, r"\(low, high\) is needed"),
        ({"output_range": {"depth": (0, 1)}}, "no such output"),
        ({"output_range": {"segmentation": (1, 0)}}, "low below high"),
        ({"upsampling": "nearest"}, "known are bilinear"),
        ({"align_corners": True}, "ADE20K family"),
    ],
)
def test_arguments_that_do_not_go_together(wrong, message):
    with pytest.raises(ValueError, match=message):
        create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", **wrong)


def test_wrong_images():
    model, image = network("deeplabv3plus_mobilenetv2_tv_edgeailite", 2), torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match=r"takes 2 image\(s\), got 1 \(one argument each\)"):
        model(image)
    with pytest.raises(ValueError, match=r"different sizes .*\(32, 64\), \(64, 64\)"):
        model(image, image[:, :, :32])


def test_a_name_of_2017_leads_to_the_network_of_2017():
    with pytest.raises(ValueError, match="did you mean 'v1_resnet34_dilated8_c1_bilinear'"):
        create_model("resnet34_dilated8_c1_bilinear")


def test_synchronised_batchnorm_can_have_the_hooks_again():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(create_model("unet_aspp_mobilenetv2_tv_edgeailite", 5))
    use_running_statistics_for_single_values(model)
    norms = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms
    assert all(module._forward_pre_hooks for module in norms)
