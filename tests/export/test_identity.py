"""What a file has that export would not write, on graphs of a few nodes; whole files: test_dishonest.py."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

from edgeailite import __version__
from edgeailite.errors import ParityError
from edgeailite.export import identity
from edgeailite.export.identity import NOT_COMPARED, SAME_BYTES, SAME_GRAPH, check_description, compare_with_export
from edgeailite.runs.onnx_model import card_entries
from tests.export.toy import toy_card

CARD = toy_card()
FILE = Path("model.onnx")


def written(version: str = __version__, size: tuple[object, object] = (32, 48)) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.arange(3, dtype=np.float32), name) for name in ("w", "v")]
    nodes = [
        helper.make_node("Mul", ["image", "w"], ["x"], name="a"),
        helper.make_node("Add", ["x", "v"], ["y"], name="b"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    entries = {
        identity.VERSION: version,
        identity.WEIGHTS: "0",
        "edgeailite.kernels": "onnxruntime",
        **card_entries(CARD),
    }
    helper.set_model_props(model, entries)
    return model


def _weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([0, 1, 2.5], np.float32), "v"))


def _node_kind(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Sub"


def _more_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Neg", ["y"], ["z"], name="c"))


def _fewer_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[1]


def _order(model: onnx.ModelProto) -> None:
    first = copy.deepcopy(model.graph.node[0])
    del model.graph.node[0]
    model.graph.node.append(first)


def _entry(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="more", value="1")


def _hash(model: onnx.ModelProto) -> None:
    next(entry for entry in model.metadata_props if entry.key == identity.WEIGHTS).value = "1"


def _output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))


def _opset(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="other", version=1)


def _nothing_but_bytes(model: onnx.ModelProto) -> None:
    model.doc_string = "more"


CHANGES: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "weight": (_weight, "initializer v"),
    "kind of node": (_node_kind, r"node b \(Sub\)"),
    "more nodes": (_more_nodes, r"node c \(Neg\)"),
    "fewer nodes": (_fewer_nodes, "no node b"),
    "order of nodes": (_order, "another number or order of nodes"),
    "entry": (_entry, "more: '1'"),
    "hash": (_hash, f"{identity.WEIGHTS}: '1'"),
    "output": (_output, "output x"),
    "opset": (_opset, "another opset_import"),
}


def compared(file: onnx.ModelProto, again: onnx.ModelProto, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(identity, "to_onnx", lambda *_, **__: again)
    path = folder / "model.onnx"
    path.write_bytes(file.SerializeToString(deterministic=True))
    return compare_with_export(path, nn.Identity(), CARD, argmax="none")


@pytest.mark.parametrize("version", [__version__, "0.0"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_export_would_not_write_is_named(name, version, tmp_path, monkeypatch):
    change, message = CHANGES[name]
    file = written(version)
    change(file)
    with pytest.raises(ParityError, match=message):
        compared(file, written(), tmp_path, monkeypatch)


def test_bytes_are_asked_of_files_of_this_version_and_nodes_of_others(tmp_path, monkeypatch):
    assert compared(written(), written(), tmp_path, monkeypatch) == SAME_BYTES
    assert compared(written("0.0"), written(), tmp_path, monkeypatch) == SAME_GRAPH
    for version in (__version__, "0.0"):
        file = written(version)
        _nothing_but_bytes(file)
        if version == "0.0":
            assert compared(file, written(), tmp_path, monkeypatch) == SAME_GRAPH
        else:
            with pytest.raises(ParityError, match="other bytes than are written of the same nodes and weights"):
                compared(file, written(), tmp_path, monkeypatch)
    assert NOT_COMPARED not in (SAME_BYTES, SAME_GRAPH)


def test_export_is_repeated_with_the_file_s_own_options(tmp_path, monkeypatch):
    asked = []

    def again(module: nn.Module, card: object, **options: object) -> onnx.ModelProto:
        asked.append(options)
        return written()

    monkeypatch.setattr(identity, "to_onnx", again)
    path = tmp_path / "model.onnx"
    path.write_bytes(written().SerializeToString(deterministic=True))
    compare_with_export(path, nn.Identity(), CARD, argmax="full")
    assert asked == [{"argmax": "full", "simplify": True, "opset": 21, "kernels": "plain", "size": (32, 48)}]
    traced = fx.symbolic_trace(nn.Identity())  # an int8 network
    compare_with_export(path, traced, CARD, argmax="none")
    assert asked[1]["kernels"] == "onnxruntime"
    assert identity.fixed_size(written(size=("h", "w"))) is None


def test_an_entry_that_is_there_twice_is_refused():
    model = written()
    assert identity.metadata_of(FILE, model)["edgeailite.kernels"] == "onnxruntime"
    model.metadata_props.add(key="classes", value="others")
    with pytest.raises(ParityError, match="classes: is there twice"):
        identity.metadata_of(FILE, model)


def test_the_description_is_the_run_s_card_entry_by_entry():
    entries = card_entries(CARD)
    check_description(FILE, entries, CARD)
    for key, other in entries.items():
        with pytest.raises(ParityError, match=rf"model\.onnx: {key}[\w.\[\]]*: the file has "):
            check_description(FILE, entries | {key: "[1]" if other.startswith(("[", "{")) else "1"}, CARD)
        with pytest.raises(ParityError, match=f"{key}: the file has nothing"):
            check_description(FILE, {name: value for name, value in entries.items() if name != key}, CARD)
    moved = replace(CARD, preprocessing=replace(CARD.preprocessing, mean=(128.0, 128.0, 128.01)))
    with pytest.raises(
        ParityError, match=r"edgeailite.card.preprocessing.mean\[2\]: the file has 128.0, the run 128.01"
    ):
        check_description(FILE, entries, moved)
    spaced = json.dumps(json.loads(entries["mean"]), indent=1)
    with pytest.raises(ParityError, match="another spelling"):
        check_description(FILE, entries | {"mean": spaced}, CARD)
