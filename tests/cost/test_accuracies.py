"""Results files: what is read, and what is refused with its place."""

import json

import pytest

from edgeailite.cost.accuracies import Accuracy, read_accuracies
from edgeailite.errors import DataError

NAME = "unet_aspp_mobilenetv2_tv_edgeailite"
RECORD = {"model": "runs/a", "network": NAME, "size": [384, 768], "miou": 68.94, "iou": {"road": 97.0}}
EXPECTED = Accuracy(NAME, 68.94, (384, 768), classes=1)
NESTED = {"network": NAME, "size": None, "depth": {"ard": 9.0}, "segmentation": {"miou": 50.0, "iou": {"a": 1, "b": 2}}}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", json.dumps(RECORD), [EXPECTED]),
        ("a.json", json.dumps([RECORD, RECORD], indent=2), [EXPECTED] * 2),
        ("a.jsonl", json.dumps(RECORD) + "\n\n" + json.dumps(RECORD) + "\n", [EXPECTED] * 2),
        ("a.json", json.dumps(NESTED), [Accuracy(NAME, 50.0, None, classes=2)]),
        (
            "a.csv",
            f"miou,network,size,note,classes,data,type\n68.94,{NAME},384x768,x,11,CamVid,int8\n1,{NAME},,,,,\n",
            [Accuracy(NAME, 68.94, (384, 768), "CamVid", 11, "int8"), Accuracy(NAME, 1.0, None)],
        ),
        ("a.csv", f"network,miou\n{NAME},1\n", [Accuracy(NAME, 1.0, None)]),
    ],
)
def test_read(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert read_accuracies(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[]", "holds no results"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[3]", "result 1: expected network and miou, found int"),
        ("a.json", '{"model": "runs/a", "miou": 3}', "expected network and miou, found model, miou"),
        ("a.csv", "network,miou\nunknown_net,3\n", "network 'unknown_net' is none"),
        ("a.csv", f"network,miou\n{NAME},1\n{NAME},good\n", "result 2: miou 'good'"),
        ("a.csv", f"network,miou,size\n{NAME},1,384\n", "size '384'"),
        ("a.csv", f"network,miou\n{NAME},101\n", "expected per cent"),
        ("a.csv", f"network,miou,classes\n{NAME},1,few\n", "classes 'few'"),
        ("a.csv", f"network,miou,type\n{NAME},1,fp16\n", "type 'fp16': expected float or int8"),
    ],
)
def test_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_accuracies(tmp_path / name)


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_accuracies(tmp_path / "none.json")
