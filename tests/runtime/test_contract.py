"""Fingerprints and the reader of contracts, on arrays made by hand; whole files: tests/export/test_dishonest.py."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeailite.errors import DataError
from edgeailite.runtime.contract import Golden, first_difference
from edgeailite.runtime.contract_file import FORMAT, READABLE, SUMS, WHOLE, contract_of, load_contract
from edgeailite.runtime.fingerprint import departs, fingerprint, float_departs, nearly_all_equal, seed_of, sums_of

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(1, 5, 70, 90)).astype(np.float32)
KNOWN = Golden((), (), {"scores": SCORES}, ()).to_dict()["outputs"]["scores"]


def contract(**changes: object) -> dict:
    """A contract of the newest format, of one picture."""
    picture = RNG.integers(0, 256, (8, 9, 3), np.uint8)
    image = RNG.normal(size=(1, 3, 4, 5)).astype(np.float32)
    golden = Golden((picture,), (image,), {"scores": SCORES}, ()).to_dict()
    values = {"format": FORMAT, "kind": "float", "sha256": "0" * 64, "golden": [golden]}
    values |= {"preprocessing": {"height": 4, "width": 5}, "card": {}}
    return json.loads(json.dumps(values | changes))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 4097, 3 * 2**20 + 5])
def test_every_value_is_part_of_one_sum(size):
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    expected = sums_of(values, 7)
    for place in {0, size // 2, size - 1}:
        other = values.copy()
        other[place] += 1
        moved = np.flatnonzero(sums_of(other, 7) != expected)
        assert moved.tolist() == [place % SUMS]


def test_factors_are_splitmix64():
    """The first numbers of its published test, of seed 1234567."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    sums = sums_of(np.ones(3, np.float32), 1234567)[:3]
    assert sums == pytest.approx([((z >> 40) / 2**23 - 1) * 3**0.5 for z in known], abs=1e-12)


def test_sums_move_by_the_root_mean_square_of_a_change():
    change = RNG.normal(size=SCORES.shape) * 0.01
    moved = sums_of(SCORES + change, 5) - sums_of(SCORES, 5)
    assert 0.007 < np.sqrt(np.mean(moved**2)) < 0.013


def test_rounding_does_not_depart_but_a_thousandth_anywhere_does():
    rounded = (SCORES * (1 + RNG.normal(size=SCORES.shape) * 1e-6)).astype(np.float32)
    assert not departs(rounded, KNOWN, exact=False)
    assert not float_departs(rounded, KNOWN)
    patch = SCORES.copy()
    patch[:, :, :7, :9] += 0.05  # labels stay
    assert float_departs(patch, KNOWN)
    assert float_departs(np.full_like(SCORES, np.nan), KNOWN)
    assert float_departs(SCORES[:, :4], KNOWN)


def test_a_contract_cannot_widen_the_tolerance():
    assert departs(SCORES + np.float32(0.1), KNOWN | {"std": 1e9}, exact=False)


def test_label_maps_may_differ_in_ties():
    labels = SCORES.argmax(1).astype(np.uint8)
    known = Golden((), (), {"label": labels}, ()).to_dict()["outputs"]["label"]
    assert "sums" not in known
    few, many = labels.copy(), labels.copy()
    few[0, 0, :6] += 1
    many[0, 0, :8] += 1
    assert not float_departs(few, known)
    assert float_departs(many, known)
    assert nearly_all_equal(11 / 12, 12) and not nearly_all_equal(10 / 12, 12)


def test_contracts_of_all_formats_are_read(tmp_path):
    path = tmp_path / "contract.json"
    for number in READABLE:
        values = contract(format=number)
        if number < WHOLE:
            del values["card"], values["golden"][0]["outputs"]["scores"]["sums"]
        if number == 1:
            golden = values["golden"][0]
            golden["picture"], golden["image"] = golden.pop("pictures")[0], golden.pop("images")[0]
            del values["preprocessing"]
        path.write_text(json.dumps(values))
        read = contract_of(load_contract(path))
        assert len(read.golden[0]["pictures"]) == len(read.golden[0]["images"]) == 1
        assert (read.preprocessing is None, read.card is None) == (number == 1, number < WHOLE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": None}, "sha256: expected"),
        ({"card": []}, "card: expected names with values"),
        ({"preprocessing": {"height": 0, "width": 5}}, "height: expected a whole number in 1.."),
        ({"kind": "int8", "exact": "no"}, "exact: expected true or false"),
        ({"results": {"ALL": {"pictures": -1}}}, "pictures: expected a whole number"),
        ({"results": {"\x1b[2J": 1}}, "without control characters"),
        ({"file": ".."}, "file: expected a file name"),
    ],
)
def test_values_that_cannot_be_are_named(changes, message):
    with pytest.raises(DataError, match=r"contract: ") as found:
        contract_of(contract(**changes))
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_files_that_are_no_contract(tmp_path):
    path = tmp_path / "contract.json"
    for text in (b"", b"[]", b"\xff\xfe", b'{"format": 3', b"[" * 10**5, b'{"format": ' + b"9" * 5000 + b"}"):
        path.write_bytes(text)
        with pytest.raises(DataError) as found:
            load_contract(path)
        assert str(path) in str(found.value)
        assert "\n" not in str(found.value)
    for place in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(DataError, match="cannot be read as contract"):
            load_contract(place)


def test_the_first_difference_is_named_and_types_count():
    mine = {"a": [1, {"b": 2.0}], "c": True}
    assert first_difference(mine, json.loads(json.dumps(mine))) is None
    assert first_difference(mine, {"a": [1, {"b": 2}], "c": True}) == ("a[1].b", "2.0", "2")
    assert first_difference(mine, {"a": [1, {"b": 2.0}], "c": 1}) == ("c", "True", "1")
    assert first_difference(mine, {"a": [1], "c": True})[0] == "a"
    assert first_difference({}, {"d": None}) == ("d", "nothing", "None")


def test_a_fingerprint_has_the_seed_of_its_content():
    assert seed_of(fingerprint(SCORES)["sha256"]) != seed_of(fingerprint(SCORES + 1)["sha256"])
