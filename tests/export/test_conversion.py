"""The gate between the validated and the integer network, on figures made by hand; on files: test_dishonest.py."""

from __future__ import annotations

import numpy as np
import pytest

from edgeailite.errors import ParityError
from edgeailite.export.conversion import SHARE, Agreements, check_answers, check_layers, one_grey_level_off
from edgeailite.quantization.schemes import SCHEMES
from tests.export.toy import image, toy_quantized


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
