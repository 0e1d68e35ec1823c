import json
from dataclasses import replace

import yaml

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
