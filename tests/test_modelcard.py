import json

import yaml

from edgeailite.modelcard import ModelCard, card_from_dict
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
