"""Values of strangers: parsed within bounds, checked, printable."""

import json
import math

import pytest
import yaml

from edgeailite.errors import DataError
from edgeailite.untrusted import DEEPEST, Fields, json_value, printable, shown, yaml_value

BILLION_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "nested too deeply"),
        ("1" * 5000, "not JSON"),
    ],
)
def test_json_that_is_refused(text, reason):
    with pytest.raises(DataError, match=f"^card: {reason}") as caught:
        json_value(text, where="card")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        (BILLION_LAUGHS, "its aliases unfold to more than"),
        ("a: &a [*a]", "nested too deeply"),
        ("{a: 1, b: {c: 1, c: 2}}", "'c' is given twice; keep one"),
        ("[" * 5000, "nested too deeply"),
        ("1" * 5000, "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("? [a]\n: 1\n", "not YAML"),
        ("2020-13-45", "not YAML"),
    ],
)
def test_yaml_that_is_refused(text, reason):
    with pytest.raises(DataError, match=f"^settings: {reason}") as caught:
        yaml_value(text, where="settings")
    assert "\n" not in str(caught.value)


def test_plain_values_are_read_as_by_the_libraries():
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": []}}
    assert json_value(json.dumps(value), where="x") == value
    assert yaml_value(yaml.safe_dump(value), where="x") == value
    assert yaml_value("", where="x") is None
    assert yaml_value("a: &v [1]\nb: *v\n", where="x") == {"a": [1], "b": [1]}, "a few aliases are no attack"


def test_nothing_printed_moves_the_cursor_or_fakes_a_line():
    assert printable("road\x1b[2J\nerror: x\r\x7f\x9b") == r"road\x1b[2J\nerror: x\r\x7f\x9b"
    assert printable("a\u202eb\u2028c\udcff") == r"a\u202eb\u2028c\udcff"
    assert printable("Straße\t猫") == "Straße\t猫" and printable("می‌خواهم") == "می‌خواهم"
    assert len(shown("x" * 10_000)) == 80
    assert shown(10**5000) == "a int"


CASES = {
    "text": ("a", ["", "x"], [None, 5, "a\x1b", "a\n", "x" * 20_000, ["a"]]),
    "whole": (1, [1, 8], [0, 9, 1.0, True, "1", None, 10**400]),
    "number": (1.0, [1, 2.5], [math.nan, math.inf, "1", True, None, 10**400]),
    "truth": (True, [False], [0, "True", None]),
}


@pytest.mark.parametrize("method", CASES)
def test_each_check_takes_its_own_values_alone(method):
    arguments = (1, 8) if method in ("whole", "number") else ()
    first, more, wrong = CASES[method]
    for value in [first, *more]:
        assert getattr(Fields.of({"k": value}, where="file"), method)("k", *arguments) == value
    for value in wrong:
        with pytest.raises(DataError, match=r"^file: k: expected .*, found ") as caught:
            getattr(Fields.of({"k": value}, where="file"), method)("k", *arguments)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    with pytest.raises(DataError, match=r"^file: k: expected .*, found nothing"):
        getattr(Fields.of({}, where="file"), method)("k", *arguments)


def test_lists_have_bounds():
    fields = Fields.of({"k": [1, 2.5], "t": ["a"], "bad": ["a\n"], "nan": [math.nan]}, where="file")
    assert fields.numbers("k", 2, 0, 3) == (1.0, 2.5) and fields.texts("t", most=1) == ["a"]
    with pytest.raises(DataError, match="k: expected 3 numbers"):
        fields.numbers("k", 3)
    with pytest.raises(DataError, match=r"k: expected 2 finite numbers in 0\.\.2"):
        fields.numbers("k", 2, 0, 2)
    with pytest.raises(DataError, match="nan: expected 1 finite"):
        fields.numbers("nan", 1)
    with pytest.raises(DataError, match="bad: expected texts without control"):
        fields.texts("bad", most=5)
    with pytest.raises(DataError, match="k: expected a list of 0 to 1 values"):
        fields.items("k", most=1)


def test_names_must_be_text():
    with pytest.raises(DataError, match="file: expected text as names, found 5"):
        Fields.of({5: 1}, where="file")
    with pytest.raises(DataError, match=r"file: expected names with values, found \[1\]"):
        Fields.of([1], where="file")
    with pytest.raises(DataError, match="file: a: expected names with values, found 3"):
        Fields.of({"a": 3}, where="file").fields("a")
