"""The gate between the validated and the integer network, on figures made by hand; on files: test_dishonest.py."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from edgeailite.errors import ParityError
from edgeailite.export import conversion
from edgeailite.export.conversion import (
    SHARE,
    Agreements,
    check_answers,
    check_layers,
    one_grey_level_off,
    size_for_layers,
)
from edgeailite.export.trace.compare import Row
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization.schemes import SCHEMES
from tests.export.toy import image, toy_quantized

converting = importlib.import_module("edgeailite.quantization.convert")  # the package has a function of this name


def agreements(**shares: float) -> Agreements:
    return Agreements({name: [share] for name, share in shares.items()})


def test_the_least_output_is_judged_and_the_figures_kept():
    figures = check_answers(agreements(a=0.995, b=0.985), None, least=None, name="run")
    assert figures == {"agreement": 0.985, "asked": SHARE}
    with pytest.raises(ParityError, match=r"run: output b: .* on 98\.50 %, asked for are 99 %"):
        check_answers(agreements(a=0.995, b=0.985), None, least=0.99, name="run")


def test_an_unsteady_network_may_change_twice_as_much_unless_asked_otherwise():
    figures = check_answers(agreements(a=0.9), agreements(a=0.94), least=None, name="run")
    assert figures["one_grey_level"] == 0.94
    for unsteady, least in ((0.96, None), (0.94, 0.98), (0.94, 0.91)):
        with pytest.raises(ParityError, match="--min_fake_quant"):
            check_answers(agreements(a=0.9), agreements(a=unsteady), least=least, name="run")
    assert check_answers(agreements(a=0.9), None, least=0.9, name="run")["asked"] == 0.9


def test_outputs_without_classes_are_judged_by_their_error():
    values = np.random.default_rng(0).normal(size=(1, 1, 20, 30)).astype(np.float32)
    found = Agreements()
    found.add({"depth": values}, {"depth": values + np.float32(0.1)})
    assert found.least[0] == pytest.approx(0.9, abs=0.01)
    found = Agreements()
    found.add({"depth": values}, {"depth": values})
    assert found.least == (1.0, "depth")
    found = Agreements()
    found.add({"depth": values * 0}, {"depth": values})
    assert found.least[0] == 0.0


class OfOneSize(nn.Module):
    def forward(self, *images):
        return [image.reshape(-1, 3, 224 * 300) for image in images]


def test_layers_are_looked_at_in_small_where_the_network_takes_that():
    for network, size, expected in (
        (nn.Conv2d(3, 4, 3), (224, 300), (128, 160)),
        (nn.Conv2d(3, 4, 3), (96, 300), (96, 160)),
        (OfOneSize(), (224, 300), (224, 300)),
    ):
        assert size_for_layers(network, Preprocessing(*size), inputs=1).size == expected


def test_one_grey_level_stays_a_picture():
    picture = np.array([[[0, 128, 255]] * 50] * 50, np.uint8)
    moved = one_grey_level_off(picture).astype(int) - picture
    assert set(np.unique(moved)) == {-1, 0, 1}
    assert moved[..., 0].min() == 0 and moved[..., 2].max() == 0
    assert np.array_equal(one_grey_level_off(picture), one_grey_level_off(picture))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_of_an_untrained_network_are_within_a_step(scheme):
    figures = check_layers(toy_quantized(scheme), [image(5).numpy()], name="run")
    assert figures["layers"] >= 8
    assert figures["largest_step"] <= 1


# --- what a trace says, made by hand


def row(**changes: object) -> Row:
    values = {
        "first": "a",
        "second": "a",
        "layer": "a.conv",
        "operator": "Conv",
        "shape": (1, 8, 20, 20),
        "sqnr_db": 30.0,
    }
    values |= {
        "max_difference": 0.5,
        "max_steps": 1.0,
        "mean_shift": 0.01,
        "equal": 0.9,
        "fall_db": 0.0,
        "departs": False,
    }
    return Row(**(values | {"sources": ()} | changes))


@pytest.mark.parametrize(
    ("scheme", "changes", "refused"),
    [
        ("ort_u8s8", {}, False),
        ("ort_u8s8", {"departs": True}, True),
        ("tidl_pow2", {"departs": True}, True),
        ("ort_u8s8", {"mean_shift": 0.11}, True),
        ("ort_u8s8", {"mean_shift": -0.11}, True),
        ("ort_u8s8", {"mean_shift": 0.09}, False),
        ("tidl_pow2", {"mean_shift": 0.4}, False),  # its kernels round halves otherwise than the training
        ("ort_u8s8", {"mean_shift": 0.4, "shape": (1, 9, 10, 11)}, False),  # a mean of few values says nothing
        ("ort_u8s8", {"mean_shift": 0.4, "shape": (1, 10, 10, 10)}, True),
        ("ort_u8s8", {"mean_shift": 0.4, "max_steps": None}, False),
    ],
)
def test_a_layer_departs_by_its_steps_or_by_a_shift_to_one_side(scheme, changes, refused, monkeypatch):
    matching = SimpleNamespace(unmatched=((), ()), pairs=())
    rows = (row(), row(second="b", **changes))
    monkeypatch.setattr(conversion, "trace", lambda *_, **__: SimpleNamespace(matching=matching, rows=rows))
    monkeypatch.setattr(conversion, "torch_side", lambda *_: None)
    monkeypatch.setattr(conversion, "scheme_of", lambda _: SCHEMES[scheme])
    if refused:
        with pytest.raises(ParityError, match="run: the conversion departs at b "):
            check_layers(nn.Identity(), [], name="run")
    else:
        figures = check_layers(nn.Identity(), [], name="run")
        assert figures["largest_step"] == 1.0
        assert figures["layers"] == (1 if "max_steps" in changes else 2)


@pytest.mark.parametrize("which", ["scale", "zero_point"])
def test_another_grid_than_the_validated_one_is_named(which, monkeypatch):
    model, whole = toy_quantized("ort_u8s8"), converting._pair

    def changed(quantizer, **options):
        pair = whole(quantizer, **options)
        if int(pair.zero_point) not in (0, 128):
            getattr(pair, which).add_(1 if which == "zero_point" else 1e-4)
        return pair

    monkeypatch.setattr(converting, "_pair", changed)
    with pytest.raises(ParityError, match="another scale or zero point than validated"):
        check_layers(model, [image(5).numpy()], name="run")


def test_agreement_is_the_share_of_equal_labels_and_errors_count_by_their_deviation():
    scores = np.zeros((1, 2, 1, 10), np.float32)
    other = scores.copy()
    other[0, 1, 0, :3] = 1.0
    found = Agreements()
    found.add({"classes": scores}, {"classes": other})
    assert found.least == (0.7, "classes")
    values = 5 * np.random.default_rng(0).normal(size=(1, 1, 20, 30)).astype(np.float32)
    found = Agreements()
    found.add({"depth": values}, {"depth": values + np.float32(0.5)})
    assert found.least[0] == pytest.approx(0.9, abs=0.01)
