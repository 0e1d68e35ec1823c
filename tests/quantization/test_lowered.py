"""The integer-exact form in TensorFlow Lite's arithmetics: pictures become codes, programs give scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeailite.quantization import integer_exact
from edgeailite.quantization.arithmetic import ARITHMETICS
from edgeailite.quantization.lowered import input_codes
from edgeailite.quantization.program import Value
from tests.export.toy import SIZE, image, toy_quantized

ROWS = [row.name for row in ARITHMETICS.values() if row.lowered]


def scale(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def test_every_pixel_becomes_its_code():
    """(x - 128) / 64 of a byte x is the code x - 128 at scale 1/64; other grids clamp."""
    x = np.arange(256, dtype=np.float32).reshape(1, 16, 16).repeat(3, 0)
    codes = input_codes((x - 128) / 64, Value("image", (1, 16, 16, 3), scale=scale(1 / 64)))
    assert (codes.dtype, codes.shape) == (np.int8, (1, 16, 16, 3))
    np.testing.assert_array_equal(codes[0, ..., 2].ravel(), np.arange(-128, 128))
    coarse = input_codes((x - 128) / 64, Value("image", (1, 16, 16, 3), scale=scale(1 / 128), zero_point=3))
    assert (coarse.min(), coarse.max()) == (-128, 127)
    wide = input_codes((x - 128) / 64, Value("image", (1, 16, 16, 3), "int16", scale=scale(1 / 128)))
    np.testing.assert_array_equal(wide[0, ..., 0].ravel(), 2 * np.arange(-128, 128))


@pytest.mark.parametrize("scheme", ["ort_u8s7", "s8s8"])
@pytest.mark.parametrize("name", ROWS)
def test_scores_are_near_onnxruntime_s(name, scheme):
    model = toy_quantized(scheme)
    images = torch.cat([image(1), image(2)])
    network = integer_exact(model, name)
    found, expected = network(images)["segmentation"], integer_exact(model, "onnxruntime_x86")(images)["segmentation"]
    assert (found.shape, found.dtype) == ((2, 5, *SIZE), torch.float32)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.95
    assert 0 < (found - expected).abs().mean() < 0.05 * expected.std()
    torch.testing.assert_close(network(images[1:])["segmentation"][0], found[1], rtol=0, atol=0)
    assert len(network.programs.programs) == 1, "one size is lowered once"
