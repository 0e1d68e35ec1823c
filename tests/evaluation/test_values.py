"""Arrays and tensors: the same operations, with the same results within rounding."""

import numpy as np
import pytest
import torch

from edgeailite.evaluation.values import is_class_map, mirrored, on_host, resized, softmax, zeros

SIZES = [(12, 20, 48, 80), (17, 23, 41, 99), (48, 96, 33, 300), (7, 9, 7, 30), (40, 60, 10, 15)]


@pytest.mark.parametrize("height, width, new_height, new_width", SIZES)
def test_arrays_are_resized_as_tensors_are(height, width, new_height, new_width):
    logits = np.random.default_rng(0).normal(size=(2, 5, height, width)).astype(np.float32)
    ours, theirs = resized(logits, (new_height, new_width)), resized(torch.from_numpy(logits), (new_height, new_width))
    assert isinstance(ours, np.ndarray) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=3e-5)
    labels = logits.argmax(1)
    ours, theirs = resized(labels, (new_height, new_width)), resized(torch.from_numpy(labels), (new_height, new_width))
    np.testing.assert_array_equal(ours, theirs.numpy())


def test_equal_logits_stay_equal():
    """As two classes with the same codes are: the first of them is the answer, at every size."""
    plane = np.random.default_rng(0).integers(-9, 9, (1, 1, 10, 14)).astype(np.float32)
    both = resized(np.concatenate([plane, plane], 1), (37, 41))
    np.testing.assert_array_equal(both[:, 0], both[:, 1])


def test_the_other_operations():
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    tensor = torch.from_numpy(array)
    np.testing.assert_array_equal(mirrored(array), mirrored(tensor).numpy())
    np.testing.assert_allclose(softmax(array), softmax(tensor).numpy(), rtol=1e-6)
    np.testing.assert_allclose(softmax(array * 1e4), softmax(tensor * 1e4).numpy(), rtol=1e-6)
    assert on_host(array) is array and np.shares_memory(on_host(tensor), array)
    assert [type(zeros(like, (2, 3))) for like in (array, tensor)] == [np.ndarray, torch.Tensor]
    assert [is_class_map(each) for each in (array, tensor, array.argmax(1), tensor.argmax(1), tensor.byte())] == [
        False, False, True, True, True,
    ]  # fmt: skip
