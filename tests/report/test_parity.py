"""The numbers of a contract in a reader's words."""

from __future__ import annotations

from edgeailite.report.parity import parity_tables

LEVEL = {"pictures": 4, "equal_argmax": 1.0, "max_difference": 0.0, "std": 2.5}


def test_what_a_contract_calls_by_keys_is_said_in_words():
    rows, [grid] = parity_tables({
        "data": "folder val",
        "integer_kernels": {"QLinearConv": 62, "wanted": 74, "float_nodes": [], "all_integer": True},
        "conversion": {"layers": 76, "largest_step": 1.0},
        "additions": {"tie_safe": 10},
        "ALL": LEVEL,
        "sizes": {"97x161 ALL": LEVEL},
    })  # fmt: skip
    assert dict(rows) == {
        "pictures of": "folder val",
        "integer kernels: QLinearConv": "62",
        "integer kernels: layers that need one": "74",
        "integer kernels: layers computed in float": "–",
        "integer kernels: all there": "yes",
        "conversion to integers: layers compared": "76",
        "conversion: largest difference in a layer, steps of a code": "1",
        "additions with the same bits on every kind of machine": "10",
    }
    assert list(grid.head) == ["pictures", "same class", "largest difference", "standard deviation of the scores"]
    assert [name for name, _ in grid.rows] == ["ALL", "97x161 ALL"]


def test_what_is_not_known_keeps_its_name():
    assert parity_tables({"promise": "near", "conversion": {"one_grey_level": 0.9}})[0] == [
        ("promise", "near"), ("conversion one_grey_level", "0.9"),
    ]  # fmt: skip
