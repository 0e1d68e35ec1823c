"""Where the tensors of a file are: under which key, beside what; and what is said of the rest."""

import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.pretrained import state_dict_of

WEIGHTS = {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2)}
OTHERS = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(2)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(2, 2)}}, "named": {"exp_avg": torch.zeros(2)}, "param_groups": [{}]}

NESTINGS = {
    "bare": WEIGHTS,
    **{
        key: {"epoch": 3, key: WEIGHTS}
        for key in ("state_dict", "model", "model_state", "model_state_dict", "net", "network", "checkpoint", "ema")
    },
    "a key nobody knows": {"student_of_the_night": WEIGHTS},
    "three levels": {"checkpoint": {"model": {"state_dict": WEIGHTS, "name": "text"}}},
    "None under the first key": {"state_dict": None, "model": WEIGHTS},
    "text under the first key": {"model": "resnet50", "net": WEIGHTS},
    "nothing under the first key": {"state_dict": {}, "model": {"name": "resnet50"}, "ema": WEIGHTS},
    "an optimizer": {"optimizer": OPTIMIZER, "optim_state": OPTIMIZER, "state_dict": WEIGHTS},
    "an optimizer beside an unknown key": {"optimizer": OPTIMIZER, "generator": WEIGHTS},
    "a metric as tensor": {"best": torch.tensor(0.7), "weights": WEIGHTS},
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_weights_are_found(nesting):
    weights, notes = state_dict_of(NESTINGS[nesting], "w.pt")
    assert {key: id(value) for key, value in weights.items()} == {key: id(value) for key, value in WEIGHTS.items()}
    assert notes == ()


def test_what_stands_beside_the_tensors_is_left_out_and_said():
    values = {**WEIGHTS, "epoch": 3, "n_averaged": torch.tensor(5), "names": ["a"], "optimizer": OPTIMIZER}
    weights, notes = state_dict_of({"model": values}, "w.pt")
    assert weights == WEIGHTS
    assert notes == ("not tensors of the network, left out: epoch, n_averaged, names, optimizer",)


def test_order_of_preference_is_said():
    weights, notes = state_dict_of({"ema": OTHERS, "extra": OTHERS, "model": WEIGHTS}, "w.pt")
    assert weights == WEIGHTS
    assert notes == ("weights taken from model; not used: ema, extra",)


def test_which_of_two_cannot_be_known():
    with pytest.raises(DataError, match=r"w\.pt: tensors under several keys \(generator, critic\.net\); save"):
        state_dict_of({"generator": WEIGHTS, "critic": {"net": OTHERS}}, "w.pt")


NOTHING = {
    "numbers": ({"epoch": 3, "args": {"lr": 1}}, "its keys are epoch, args"),
    "an optimizer alone": ({"optimizer": OPTIMIZER}, "its keys are optimizer"),
    "nothing": ({}, "it is empty"),
    "a list": ([1, 2], "it holds a list"),
    "None": (None, "it holds a NoneType"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_nothing_found_names_the_keys(what):
    values, said = NOTHING[what]
    with pytest.raises(DataError, match=rf"w\.pt: no state_dict in this file, {said}; take one"):
        state_dict_of(values, "w.pt")


def test_mapping_that_holds_itself():
    values: dict[str, object] = {"epoch": 3}
    values |= {"model": values, "net": values}
    with pytest.raises(DataError, match="its keys are epoch, model, net"):
        state_dict_of(values, "w.pt")
