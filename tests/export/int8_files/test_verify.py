"""`verify FILE.onnx --pictures FOLDER`: the verdict, the contract, its re-check, and files that cannot be proven."""

from __future__ import annotations

import json

import cv2
import numpy as np
import onnx
import pytest

from edgeailite.commands.verify import run
from edgeailite.config import VerifyConfig
from edgeailite.errors import DataError, EdgeailiteError, ParityError, UsageError
from edgeailite.export.int8_files.verify import verify_int8_file
from edgeailite.runtime import load_contract, recheck
from tests.export.int8_files.files import model, pictures, quantized
from tests.export.int8_files.test_evaluate import between, convolution, grid, pair


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, picture in enumerate(pictures(2, (40, 50))):
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


def written(tmp_path, file: onnx.ModelProto):
    path = tmp_path / "theirs.onnx"
    onnx.save(file, str(path))
    return path


def test_an_exact_file_is_proven_and_keeps_its_contract_elsewhere(tmp_path, photos, capsys):
    path = written(tmp_path, convolution(pads=[1, 1, 1, 1]))
    assert run(VerifyConfig(path, pictures=photos)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path} is proven: pictures all, 2 pictures"
    assert (
        "  layers: 1 of 1 run as integers, 100 % of the multiply-accumulates; 3 code tensors, all that follow from"
        in ("\n".join(lines))
    )
    contract = load_contract(tmp_path / "contract_int8.json")
    assert contract["exact"] and contract["describes_itself"] is False and "card" not in contract
    assert contract["golden"][0]["arithmetics"] == dict.fromkeys(
        ("onnxruntime_sse2", "onnxruntime_arm64"), "onnxruntime_x86"
    )
    assert run(VerifyConfig(path, tmp_path / "contract_int8.json")) == 0
    assert "keeps its contract: 2 pictures, every bit as expected" in capsys.readouterr().out


def test_a_changed_file_departs_from_its_contract_at_its_layer(tmp_path, photos):
    path = written(tmp_path, convolution(pads=[1, 1, 1, 1]))
    found = verify_int8_file(VerifyConfig(path, pictures=photos, contract=tmp_path / "c.json"))
    changed = onnx.load(str(path))
    codes = next(tensor for tensor in changed.graph.initializer if tensor.name == "k_c")
    values = onnx.numpy_helper.to_array(codes).copy()
    values[0, 0, 0, 0] ^= 64
    codes.CopyFrom(onnx.numpy_helper.from_array(values, "k_c"))
    onnx.save(changed, str(path))
    contract = load_contract(found.contract)
    with pytest.raises(ParityError, match="sha256"):
        recheck(path, contract)
    with pytest.raises(ParityError, match="departs first at y_q"):
        recheck(path, contract, skip_hash=True)


def test_a_file_of_a_tool_with_a_head_of_numbers(tmp_path, photos):
    path = quantized(tmp_path, "QOperator u8s8 per channel")
    found = verify_int8_file(VerifyConfig(path, pictures=photos))
    assert "theirs.onnx is proven" in found.verdict
    contract = load_contract(found.contract)
    shapes = [known["shape"] for known in contract["golden"][0]["outputs"].values()]
    assert shapes == [[1, 4, 8, 12], [1, 5]]
    assert recheck(path, contract)["ALL"]["equal_argmax"] == 1.0


def test_what_is_not_integer_is_said(tmp_path, photos, capsys):
    nodes = [*pair("image", "a", "u"), ("Softmax", ["u"], ["w"], {"axis": 1}), *pair("w", "y", "y")]
    path = written(tmp_path, model(nodes, {**grid("a"), **grid("y")}))
    assert run(VerifyConfig(path, pictures=photos, json=True)) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["exact"] is False and values["without_rule"] == ["Softmax node_2"]
    found = verify_int8_file(VerifyConfig(path, pictures=photos))
    assert found.verdict == f"{path} is proven but for 1 Softmax: pictures all, 2 pictures"
    contract = load_contract(found.contract)
    assert recheck(path, contract)["promise"].startswith("proven but for parts in float")


def test_a_contract_cannot_take_a_file_of_ours_for_one_of_others(tmp_path, photos):
    path = written(tmp_path, between("Relu"))
    contract = load_contract(verify_int8_file(VerifyConfig(path, pictures=photos)).contract)
    with pytest.raises(EdgeailiteError, match="no edgeailite metadata"):
        recheck(path, {**contract, "describes_itself": True, "card": {}})


def damaged(tmp_path, change):
    path = written(tmp_path, convolution())
    data = path.read_bytes()
    path.write_bytes(change(data))
    return path


HOSTILE = {
    "cut": lambda folder: damaged(folder, lambda data: data[: len(data) // 2]),
    "text": lambda folder: damaged(folder, lambda data: b"no file" * 20),
    "float": lambda folder: written(folder, model([("Relu", ["image"], ["y"], {})], {})),
    "unknown domain": lambda folder: written(
        folder, model([*pair("image", "a", "u"), ("Net", ["u"], ["y"], {"domain": "evil"})], grid("a"))
    ),
    "scale of zero": lambda folder: written(
        folder, model(pair("image", "a", "y"), {**grid("a"), "a_s": np.float32(0)})
    ),
    "scale that is no number": lambda folder: written(
        folder, model(pair("image", "a", "y"), {**grid("a"), "a_s": np.float32("nan")})
    ),
    "endless expansion": lambda folder: written(
        folder,
        model(
            [*pair("image", "a", "u"), ("Expand", ["u", "to"], ["y"], {})],
            {**grid("a"), "to": np.array([2**20, 3, 2**10, 2**10])},
            shape=(1, 3, 1, 1),
        ),
    ),
    "five sides": lambda folder: written(
        folder,
        model([*pair("image", "a", "u"), ("Unsqueeze", ["u", "at"], ["y"], {})], {**grid("a"), "at": np.array([0])}),
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_cannot_be_proven_ends_in_one_line(tmp_path, photos, kind):
    path = HOSTILE[kind](tmp_path)
    with pytest.raises(DataError) as caught:
        verify_int8_file(VerifyConfig(path, pictures=photos))
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    assert not (tmp_path / "contract_int8.json").exists()


def test_sizes_and_folders_that_do_not_fit(tmp_path, photos):
    path = written(tmp_path, between("Relu"))
    with pytest.raises(UsageError, match="expected 16x24, as the file takes"):
        verify_int8_file(VerifyConfig(path, pictures=photos, img_resize=(32, 32)))
    with pytest.raises(DataError, match="no such folder"):
        verify_int8_file(VerifyConfig(path, pictures=tmp_path / "none"))
    open_size = written(tmp_path, model(pair("image", "a", "y"), grid("a"), shape=("N", 3, "H", "W")))
    with pytest.raises(UsageError, match="leaves height and width of its pictures open"):
        verify_int8_file(VerifyConfig(open_size, pictures=photos))
    with pytest.raises(UsageError, match="none for a run"):
        VerifyConfig(tmp_path, pictures=photos)
