import json
import math
from dataclasses import replace
from typing import Any

import pytest
import yaml

from edgeailite.errors import DataError
from edgeailite.modelcard import ModelCard, card_from_dict, changed_options
from edgeailite.preprocessing import Preprocessing

CARD = ModelCard(
    "some_network",
    {"segmentation": 2},
    ("road", "sky"),
    ((128, 64, 128), (70, 130, 180)),
    Preprocessing(64, 96, mean=(1.5, 2.0, 3.0), channel_order="BGR"),
    dataset_name="streets",
    data_path="somewhere",
)


def test_card_survives_plain_values():
    assert card_from_dict(CARD.to_dict()) == CARD


def test_card_survives_json_and_yaml():
    assert card_from_dict(json.loads(json.dumps(CARD.to_dict()))) == CARD
    assert card_from_dict(yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(CARD.to_dict()))))) == CARD


def test_card_of_an_older_file_has_no_data_path():
    values = CARD.to_dict()
    del values["data_path"]
    assert card_from_dict(values).data_path is None


def test_options_survive_with_ranges_as_pairs():
    card = replace(CARD, options={"inputs": 2, "output_range": {"depth": (0.0, 80.0)}})
    assert card_from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert card.inputs == ("image", "image1")


def test_card_of_an_older_file_has_no_options():
    values = CARD.to_dict()
    del values["options"]
    assert card_from_dict(values) == CARD
    assert card_from_dict(values).inputs == ("image",)


def test_only_changed_options_are_kept():
    options = {"inputs": 2, "output_range": {}, "upsampling": "bilinear", "align_corners": False}
    assert changed_options(options) == {"inputs": 2}


def test_task_types_follow_the_names_of_the_outputs():
    outputs = {"segmentation": 1, "depth": 1, "motion": 2, "drivable": 3, "distance": 1}
    tasks = replace(CARD, outputs=outputs).tasks
    assert list(tasks.values()) == ["segmentation", "depth", "motion", "segmentation", "depth"]


def test_segmentation_is_the_first_output_with_classes():
    card = replace(CARD, outputs={"depth": 1, "motion": 2, "segmentation": 5})
    assert card.classified == ("segmentation", "motion")


def changed(key: str, value: Any) -> dict[str, Any]:
    """The card's values with one entry replaced; `preprocessing.mean` is one in another."""
    values = json.loads(json.dumps(CARD.to_dict()))
    *outer, last = key.split(".")
    place = values
    for name in outer:
        place = place.setdefault(name, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return values


MANY = {f"o{index}": 2 for index in range(99)}
WRONG = {  # key and value (None: left out)
    "model_name": [None, 5, ["a"], "a" * 300, "a\x1b[2J", "a\nb"],
    "dataset_name": [None, 5, "x\u202ey"],
    "data_path": [5, "a" * 5000, "a\0b"],
    "outputs": [None, [], {}, "segmentation", {"segmentation": 0}, {"segmentation": 10**9}, {"segmentation": True},
                {"segmentation": 2.0}, {"segmentation": "2"}, {"../x": 2}, {"a/b": 2}, {"": 2}, {"a\nb": 2}, MANY],
    "classes": [None, "ab", ["road"], ["road", "sky", "car"], ["road", 5], ["road", "a\x1b[31m"], ["road", "a" * 300],
                ["a"] * 10**5, {"0": "road"}],
    "palette": [None, [], [[0, 0, 0]], [[0, 0, 0]] * 3, [[0, 0], [0, 0, 0]], [[0, 0, 256], [0, 0, 0]],
                [[0, 0, -1], [0, 0, 0]], [[0.5, 0, 0], [0, 0, 0]], [["a", 0, 0], [0, 0, 0]], [5, 5], "ab",
                [True, [0] * 3]],
    "preprocessing": [None, [], 5, {}],
    "preprocessing.height": [None, 0, -1, 65_536, 64.0, "64", True, 10**9],
    "preprocessing.width": [None, 0, 65_535 * 2],
    "preprocessing.mean": [None, [1, 2], [1, 2, 3, 4], "abc", [1, 2, "3"], [1, 2, math.nan], [1, 2, math.inf],
                           [1, 2, 10**400]],
    "preprocessing.scale": [None, [0, 1, 1], [-1, 1, 1], [1, 1, math.nan], [1e-40, 1, 1], 1],
    "preprocessing.channel_order": [None, "GRAY", "RBG", "rgb", "", 5, ["R", "G", "B"]],
    "preprocessing.interpolation": [None, "cubic", "", 1],
    "preprocessing.gamma": [2.2],
    "options": [5, [], "x"],
    "options.inputs": [0, 9, 10**6, 1.0, True, "2"],
    "options.upsampling": [5, "a\nb"],
    "options.align_corners": [1, "yes"],
    "options.output_range": [5, {"depth": [1]}, {"depth": [2, 1]}, {"depth": [0, math.inf]}, {"depth": "ab"}],
    "options.run": ["rm"],
    "extra": [1],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_an_entry_that_cannot_be_is_named_in_one_line(key, value):
    with pytest.raises(DataError) as error:
        card_from_dict(changed(key, value), where="last.pt: card")
    said = str(error.value)
    assert said.startswith("last.pt: card: ")
    assert key.rpartition(".")[2] in said or key == "preprocessing.width"
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.parametrize("values", [None, 5, "card", [], [["model_name", "x"]], {1: 2}])
def test_what_is_no_card(values):
    with pytest.raises(DataError, match=r"^model card: "):
        card_from_dict(values)


def test_sides_have_a_common_limit():
    values = changed("preprocessing.height", 60_000) | {}
    values["preprocessing"]["width"] = 60_000
    with pytest.raises(DataError, match="height x width of at most"):
        card_from_dict(values)


def test_a_card_without_classes_has_no_colours_either():
    card = replace(CARD, outputs={"depth": 1}, classes=(), palette=())
    assert card_from_dict(card.to_dict()) == card


def test_the_classes_are_those_of_one_output():
    card = replace(CARD, outputs={"depth": 1, "motion": 2})
    assert card_from_dict(card.to_dict()) == card
    with pytest.raises(DataError, match="classes: 2 names, but channels are depth 2"):
        card_from_dict(replace(CARD, outputs={"depth": 2}).to_dict())


@pytest.mark.parametrize("order", ["GRAY", "RBG", "", "rgb"])
def test_only_two_orders_of_channels_are_known(order):
    with pytest.raises(ValueError, match="channel order"):
        Preprocessing(8, 8, channel_order=order)
