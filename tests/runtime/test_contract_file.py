"""The reader of contracts at its edges: what is a value that can be; whole contracts and files: test_contract.py."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.runtime.contract import Golden
from edgeailite.runtime.contract_file import (
    FLOAT_LOGIT_TOLERANCE,
    FLOAT_TOLERANCE,
    FORMAT,
    SAMPLE,
    SUMS,
    WHOLE,
    WIDE_EQUAL_ARGMAX,
    WIDE_PROMISE,
    contract_of,
    unpack,
)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(1, 3, 7, 9)).astype(np.float32)
DEPTH = RNG.normal(size=(1, 1, 7, 9)).astype(np.float32)
LABELS = RNG.integers(0, 3, (1, 7, 9)).astype(np.uint8)
Edit = Callable[[dict[str, Any]], None]


def contract(kind: str = "int8", **changes: Any) -> dict[str, Any]:
    picture, image = RNG.integers(0, 256, (8, 9, 3), np.uint8), RNG.normal(size=(1, 3, 4, 5)).astype(np.float32)
    golden = Golden((picture,), (image,), {"scores": SCORES, "depth": DEPTH, "labels": LABELS}, ()).to_dict()
    values = {"format": FORMAT, "kind": kind, "sha256": "0a" * 32, "golden": [golden]}
    return json.loads(json.dumps(values | {"preprocessing": {"height": 4, "width": 5}, "card": {}} | changes))


def test_the_promises_are_the_ones_that_pages_name():
    assert (FLOAT_TOLERANCE, FLOAT_LOGIT_TOLERANCE, WIDE_EQUAL_ARGMAX, SAMPLE, SUMS) == (1e-4, 1e-3, 0.99, 64, 64)
    assert "99 %" in WIDE_PROMISE


@pytest.mark.parametrize(
    ("kind", "exact", "expected", "wide"),
    [
        ("int8", None, True, False),
        ("int8", True, True, False),
        ("int8", False, False, True),
        ("float", None, False, False),
        ("float", False, False, False),
    ],
)
def test_int8_files_are_exact_where_nothing_else_is_said(kind, exact, expected, wide):
    read = contract_of(contract(kind, **({} if exact is None else {"exact": exact})))
    assert (read.exact, read.wide) == (expected, wide)


def test_sums_are_asked_of_scores_and_not_of_label_maps():
    values = contract()
    outputs = values["golden"][0]["outputs"]
    assert "sums" not in outputs["labels"]
    contract_of(values)
    for name in ("scores", "depth"):
        changed = json.loads(json.dumps(values))
        del changed["golden"][0]["outputs"][name]["sums"]
        with pytest.raises(DataError, match=rf"outputs: {name}: sums: expected 64 numbers"):
            contract_of(changed)
        contract_of(changed | {"format": WHOLE - 1})


def edits() -> dict[str, tuple[Edit, str]]:
    def golden(change: Callable[[dict[str, Any]], None]) -> Edit:
        return lambda values: change(values["golden"][0])

    def scores(change: Callable[[dict[str, Any]], None]) -> Edit:
        return lambda values: change(values["golden"][0]["outputs"]["scores"])

    short = base64.b64encode(zlib.compress(bytes(8 * 9 * 3 - 1))).decode()
    long = base64.b64encode(zlib.compress(bytes(8 * 9 * 3 + 1))).decode()
    return {
        "no case": (lambda values: values.update(golden=[]), "golden: expected"),
        "no output": (golden(lambda case: case.update(outputs={})), "outputs: expected 1 to"),
        "two images": (golden(lambda case: case["images"].append(case["images"][0])), r"1 picture\(s\), but 2 image"),
        "two pictures": (golden(lambda case: case["pictures"].append(case["pictures"][0])), r"2 picture\(s\), but 1"),
        "two channels": (golden(lambda case: case["pictures"][0].update(shape=[12, 9, 2])), "height, width, 3"),
        "four channels": (golden(lambda case: case["pictures"][0].update(shape=[6, 9, 4])), "height, width, 3"),
        "short picture": (golden(lambda case: case["pictures"][0].update(zlib_base64=short)), "expected 216 bytes"),
        "long picture": (golden(lambda case: case["pictures"][0].update(zlib_base64=long)), "expected 216 bytes"),
        "image of 4": (golden(lambda case: case["images"][0].update(shape=[1, 4, 3, 5])), "1, 3, height, width"),
        "no labels": (scores(lambda known: known.pop("labels")), "labels"),
        "labels turned": (scores(lambda known: known["labels"].update(shape=[1, 9, 7])), r"expected \[1, 7, 9\]"),
        "sample of 63": (scores(lambda known: known["sample"].pop()), "sample: expected 64"),
        "sums of 63": (scores(lambda known: known["sums"].pop()), "sums: expected 64"),
        "hash of 63": (lambda values: values.update(sha256="a" * 63), "64 hexadecimal"),
        "hash of 65": (lambda values: values.update(sha256="a" * 65), "64 hexadecimal"),
        "narrow tolerance": (lambda values: values.update(tolerance={"float_layer_std": 1e-5}), "which is applied"),
        "wide tolerance": (lambda values: values.update(tolerance={"float_layer_std": 1e-3}), "which is applied"),
        "wide scores": (lambda values: values.update(tolerance={"float_logits_std": 1e-2}), "which is applied"),
    }


@pytest.mark.parametrize("name", edits())
def test_a_contract_that_cannot_be_is_refused(name):
    values = contract()
    edit, message = edits()[name]
    edit(values)
    with pytest.raises(DataError, match=message):
        contract_of(values)


def test_bytes_are_those_that_were_packed_and_no_more():
    data = bytes(range(24))
    packed = {"shape": [2, 4, 3], "zlib_base64": base64.b64encode(zlib.compress(data)).decode()}
    assert unpack(packed).tobytes() == data
    assert unpack(packed).shape == (2, 4, 3)
    more = {"shape": [2, 4, 3], "zlib_base64": base64.b64encode(zlib.compress(data) + b"x").decode()}
    cut = {"shape": [2, 4, 3], "zlib_base64": base64.b64encode(zlib.compress(data)[:-3]).decode()}
    for wrong in (packed | {"shape": [2, 4, 2]}, packed | {"shape": [3, 4, 3]}, more, cut):
        with pytest.raises(DataError, match="zlib_base64"):
            unpack(wrong)
