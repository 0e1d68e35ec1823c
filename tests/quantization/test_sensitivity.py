"""The analysis against whole runs by hand; a planted outlier layer comes first."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgeailite.quantization.partial import Part, parts_of
from edgeailite.quantization.sensitivity import EVERYTHING, FLOAT, decibels, sections, sensitivity, single_parts
from tests.quantization.test_partial import whole_run
from tests.quantization.tiny import chain, pixels, quantized, tiny

MODEL = quantized(tiny())


def test_noise_is_measured_over_all_pictures_at_every_output():
    pictures, subjects, seen = pixels(3, seed=2), single_parts(MODEL) | sections(MODEL), []
    found = sensitivity(MODEL, pictures, subjects, on_outputs=lambda name, outputs: seen.append((name, outputs)))
    assert [name for name, _ in seen] == [FLOAT, *subjects] * 3
    for name in ("weights:encoder.1.0", "activations:image", "weights:decoders.1", EVERYTHING):
        for output in found.effects[name].outputs:
            pairs = [[whole_run(MODEL, parts, x)[output] for parts in ([], subjects[name])] for (x,) in pictures]
            exact, noisy = (np.concatenate([v.numpy().ravel() for v in part]) for part in zip(*pairs, strict=True))
            ratio = np.square(exact - noisy).sum() / np.square(exact).sum()
            assert found.effects[name].outputs[output] == pytest.approx(ratio, rel=1e-4)
    assert found.effects["weights:decoders.1"].outputs["segmentation"] == 0
    assert set(found.effects["weights:decoders.1"].tensors) == {"ranges_decoders_1"}
    assert set(found.effects[EVERYTHING].tensors) >= {"ranges_encoder_0_2", "ranges_decoders_0"}


def test_what_keeping_values_saves_is_counted():
    found = sensitivity(MODEL, pixels(2), single_parts(MODEL))
    assert 0 < found.executed_share < 0.7
    assert found.pictures == 2
    assert found.kept_bytes > 0
    assert found.seconds > 0
    assert found.whole_seconds > 0


def test_sections_are_the_encoder_and_each_decoder_and_together_all():
    found = sections(MODEL)
    assert list(found) == [EVERYTHING, "encoder", "decoders.0", "decoders.1"]
    assert found["decoders.1"] == (Part("weights", "decoders.1"), Part("activations", "decoders_1"))
    inside = [part for name, parts in found.items() if name != EVERYTHING for part in parts]
    assert len(inside) == len(set(inside))
    assert set(inside) | {Part("activations", "image")} == set(found[EVERYTHING]) == set(parts_of(MODEL))


def test_decibels():
    assert decibels(0.001) == pytest.approx(30)
    assert decibels(0.0) is None


def test_without_pictures_it_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        sensitivity(MODEL, [], single_parts(MODEL))


def ranking(scheme: str, plant: int | None) -> tuple[list[str], dict[str, float]]:
    model = quantized(chain(plant=plant), scheme)
    found = sensitivity(model, pixels(2, seed=7), single_parts(model))
    noise = {name: effect.outputs["segmentation"] for name, effect in found.effects.items()}
    return sorted(noise, key=lambda name: -noise[name]), noise


@pytest.mark.parametrize("plant", [1, 2, 3])
@pytest.mark.parametrize(("scheme", "weights_among"), [("ort_u8s8", 99), ("tidl_pow2", 3)])
def test_a_planted_outlier_is_ranked_first(scheme, weights_among, plant):
    """A channel times 100, taken back behind: its activations suffer, with one scale per tensor its weights, too."""
    order, noise = ranking(scheme, plant)
    healthy, before = ranking(scheme, None)
    assert order[0] == f"activations:layers_{plant}"
    assert f"weights:layers.{plant}" in order[:weights_among]
    assert noise[order[0]] > 20 * before[healthy[0]]
    assert decibels(noise[order[0]]) < 25


def test_per_tensor_scales_make_it_drastic():
    _, channels = ranking("ort_u8s8", 2)
    _, whole = ranking("tidl_pow2", 2)
    assert whole["weights:layers.2"] > 1000 * channels["weights:layers.2"]
    assert math.isfinite(whole["weights:layers.2"])
    x = pixels(1, seed=7)[0][0]
    same = chain()(x)["segmentation"], chain(plant=2)(x)["segmentation"]
    torch.testing.assert_close(*same, rtol=1e-4, atol=1e-5)
