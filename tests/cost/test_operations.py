"""Element operations by hand."""

import pytest

from edgeailite.cost.operations import element_operations


@pytest.mark.parametrize(
    ("operator", "options", "expected"),
    [
        ("convolution", {}, 0),
        ("convolution", {"bias": True}, 10),
        ("convolution", {"bias": True, "integer": True}, 30),  # and scaled, and rounded
        ("relu", {}, 10),
        ("batch_norm", {}, 20),
        ("resize", {}, 70),
        ("concat", {}, 0),
        ("concat", {"integer": True}, 0),
        ("max_pool", {"window": 9}, 90),
        ("average_pool", {"window": 4}, 40),
        ("average_pool", {}, 160),
        ("argmax", {}, 160),
        ("something_new", {}, 10),
    ],
)
def test_operations_of_160_elements_to_10(operator, options, expected):
    assert element_operations(operator, 160, 10, **options) == expected
