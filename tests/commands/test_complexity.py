"""`edgeailite complexity`: every kind of thing it counts, every option, every refusal."""

from __future__ import annotations

import csv
import json

import pytest
from onnx import helper

from edgeailite.cost import int8_cost, onnx_cost, torch_cost
from edgeailite.export import to_onnx
from edgeailite.models import create_model, list_models
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from tests.cost.latency.tiny import tiny_file
from tests.cost.test_onnx_graph import write
from tests.sweep import sweep_card

NAME = "unet_aspp_mobilenetv2_tv_edgeailite"
FEW = "*aspp_mobilenetv2_tv_edgeailite"


def counted(command, *words: object) -> dict:
    ended = command("complexity", *words, "--json", "True")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


@pytest.fixture(scope="module")
def open_file(tmp_path_factory):
    """A float file of open size; its metadata note 64x96."""
    model = create_model(NAME).eval()
    path = tmp_path_factory.mktemp("complexity") / "model.onnx"
    path.write_bytes(to_onnx(model, sweep_card(model)).SerializeToString())
    return path


def test_a_network_at_several_sizes(command):
    values = counted(command, NAME, "--size", 64, 96, 65, 97, "--num_classes", 7, "--inputs", 2)
    assert (values["model"], values["kind"]) == (NAME, "float network")
    for size, row in zip([(64, 96), (65, 97)], values["sizes"], strict=True):
        cost = torch_cost(create_model(NAME, 7, inputs=2), size, inputs=2)
        assert (row["height"], row["width"]) == size
        assert (row["macs"], row["parameters"], row["giga_macs"]) == (cost.macs, cost.parameters, cost.giga_macs)
        assert (row["peak_bytes"], row["peak_int8_bytes"]) == (cost.peak_bytes, cost.peak_int8_bytes)
        assert [layer["name"] for layer in row["layers"]] == [layer.name for layer in cost.layers]
        assert sum(layer["macs"] for layer in row["layers"]) == cost.macs


def test_the_int8_estimate(command):
    [row] = counted(command, NAME, "--size", 64, 96, "--int8", "True")["sizes"]
    cost = int8_cost(torch_cost(create_model(NAME), (64, 96)))
    assert (row["integer_macs"], row["weight_bytes"]) == (cost.macs, cost.weight_bytes)
    assert {layer["integer"] for layer in row["layers"]} == {True, False}


def test_a_run_folder_and_its_checkpoint(command, tmp_path):
    model = create_model(NAME, 5)
    save_checkpoint(tmp_path / "last.pt", Checkpoint(sweep_card(model), model.state_dict(), {}))
    expected = torch_cost(model, (64, 96))
    for source in (tmp_path, tmp_path / "last.pt"):
        [row] = counted(command, source)["sizes"]
        assert (row["height"], row["width"], row["macs"]) == (64, 96, expected.macs)
    card, quantization = sweep_card(model), {"scheme": "power2", "percentile": None}
    save_checkpoint(tmp_path / "int8.pt", Checkpoint(card, model.state_dict(), {}, quantization=quantization))
    assert counted(command, tmp_path / "last.pt")["kind"] == "float network"
    values = counted(command, tmp_path / "int8.pt")
    assert values["kind"] == "quantized network, counted as the float one it came from"
    assert values["sizes"][0]["macs"] == expected.macs
    [row] = counted(command, tmp_path, "--size", 32, 32, "--int8", "True")["sizes"]
    assert (row["height"], row["integer_macs"]) == (32, torch_cost(model, (32, 32)).macs)


def test_a_file(command, open_file):
    values = counted(command, open_file)
    [row] = values["sizes"]
    assert values["kind"] == "float ONNX file"
    assert (row["height"], row["width"], row["macs"]) == (64, 96, onnx_cost(open_file, (64, 96)).macs)
    assert row["macs"] == torch_cost(create_model(NAME), (64, 96)).macs
    assert [row["width"] for row in counted(command, open_file, "--size", 64, 64, 64, 128)["sizes"]] == [64, 128]


@pytest.mark.parametrize(("layers", "shown"), [("top", 10), ("all", 9999), ("none", 0)])
def test_tables(command, layers, shown):
    ended = command("complexity", NAME, "--size", 64, 96, "--layers", layers)
    cost = torch_cost(create_model(NAME), (64, 96))
    assert f"{cost.giga_macs:.4f}" in ended.out
    assert f"{cost.parameters:,}" in ended.out
    rows = [line for line in ended.out.splitlines() if line.endswith(" float")]
    assert len(rows) == min(shown, len(cost.layers))


def test_csv_and_page(command, tmp_path):
    table, page = tmp_path / "new" / "layers.csv", tmp_path / "page.html"
    ended = command("complexity", NAME, "--size", 64, 96, 32, 32, "--csv", table, "--html", page)
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(table.read_text().splitlines()))
    layers = torch_cost(create_model(NAME), (64, 96)).layers
    assert [row["name"] for row in rows if row["height"] == "64"] == [layer.name for layer in layers]
    assert sum(int(row["macs"]) for row in rows if row["height"] == "64") == sum(layer.macs for layer in layers)
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 6  # three plots a size
    assert 'src="http' not in text
    assert all(f">{layer.name}<" in text for layer in layers)


def test_page_of_a_file(command, open_file, tmp_path):
    assert command("complexity", open_file, "--html", tmp_path / "page.html").code == 0
    assert "Float ONNX file" in (tmp_path / "page.html").read_text()


def test_page_of_a_file_without_macs(command, tmp_path):
    relu = helper.make_node("Relu", ["x"], ["y"], name="relu")
    file = write(tmp_path / "relu.onnx", [relu], {}, inputs={"x": (1, 3, 32, 32)}, outputs={"y": None})
    ended = command("complexity", file, "--html", tmp_path / "page.html")
    assert ended.code == 0, ended.err
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/png;base64,") == 1, "memory alone: no layer has MACs"
    assert ">relu<" in text


def test_all_networks_and_the_front(command, tmp_path):
    names = list_models(FEW)
    results = tmp_path / "results.csv"
    lines = ["network,miou,size", f"{names[0]},60,64x96", f"{names[0]},50,128x96", f"{names[1]},70,"]
    results.write_text("\n".join(lines) + "\n")
    ended = command("complexity", FEW, "--all", "True", "--size", 32, 64, "--results", results, "--json", "True")
    rows = json.loads(ended.out)
    assert [row["macs"] for row in rows] == sorted(row["macs"] for row in rows)
    told = {(row["name"], row["height"], row["miou"]): row["front"] for row in rows}
    assert told[names[0], 128, 50.0] is False  # dearer and worse than its own other result
    assert told[names[1], 32, 70.0] is True
    assert all(told[name, 32, None] is False for name in names[2:])
    table, page = tmp_path / "all.csv", tmp_path / "all.html"
    ended = command("complexity", FEW, "--all", "True", "--size", 32, 64, "--results", results, "--csv", table,
                    "--html", page)  # fmt: skip
    assert (ended.code, len(table.read_text().splitlines())) == (0, len(rows) + 1)
    assert "70.00" in ended.out
    assert f"{len(names)} networks, {len(rows)} rows" in ended.out
    assert ended.err == ""
    ended = command("complexity", names[1], "--all", "True", "--size", 32, 64, "--results", results)
    assert ended.out.splitlines()[0] == "1 network"
    assert f"2 results are of networks outside {names[1]!r} and left out: {names[0]}" in ended.err
    assert page.read_text().count('class="front"') == sum(row["front"] for row in rows)


def test_all_networks_without_results(command, tmp_path):
    ended = command("complexity", FEW, "--all", "True", "--size", 32, 64, "--html", tmp_path / "all.html")
    assert ended.code == 0, ended.err
    assert all(name in ended.out for name in list_models(FEW))
    assert "Parameters against GMACs" in (tmp_path / "all.html").read_text()


def test_a_file_of_several_pictures_at_once_is_refused(command, tmp_path):
    ended = command("complexity", tiny_file(tmp_path / "four.onnx", batch=4))
    assert (ended.code, "takes 4 pictures at once; costs are those of one" in ended.err) == (3, True), ended.err


REFUSED = [
    (["unet_aspp_mobilenetv2"], 2, "unknown model"),
    (["no/such/run"], 3, "no/such/run: no such run folder"),
    (["none.onnx"], 3, "none.onnx: no such ONNX file"),
    (["{file}", "--inputs", 2], 2, "is a file and has its own"),
    (["{file}", "--int8", "True"], 2, "is counted as it is"),
    (["nothing*", "--all", "True"], 2, "no network matches 'nothing*'"),
    ([NAME, "--csv", "{file}/x.csv"], 3, "choose another --csv"),
    ([NAME, "--html", "{file}/x.html"], 3, "choose another --html"),
    ([], 2, "missing model: a network name, run, checkpoint or ONNX file; or --all True"),
    ([NAME, "--results", "r.csv"], 2, "--results r.csv: belongs to a comparison; add --all True"),
    ([NAME, "--size", 16, 64], 2, "height and width of at least 32"),
]


@pytest.mark.parametrize(("words", "code", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused(command, open_file, words, code, message):
    ended = command("complexity", *(str(word).format(file=open_file) for word in words))
    assert (ended.code, len(ended.err.splitlines())) == (code, 1)
    assert message in ended.err
