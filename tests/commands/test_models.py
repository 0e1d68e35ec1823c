"""`edgeailite models`: the table says what the networks are, and its filters filter."""

from __future__ import annotations

import json

import pytest

from edgeailite.cost import complexity
from edgeailite.download import cached_path
from edgeailite.models import create_model, list_models

FEW = "*mobilenetv2_tv_edgeailite"


def rows_of(command, *options: str) -> list[dict[str, object]]:
    ended = command("models", *options, "--json", "True")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_numbers_are_those_of_the_networks(command):
    rows = rows_of(command, FEW, "--size", "64", "96")
    assert [row["name"] for row in rows] == list_models(FEW)
    for row in rows:
        cost = complexity(create_model(row["name"]), (64, 96))
        assert (row["parameters"], row["macs"], row["giga_macs"]) == (cost.parameters, cost.macs, cost.giga_macs)
        assert (row["family"], row["classes"]) == ("edgeailite", 19)


def test_strides_and_weights(command):
    [row] = rows_of(command, "deeplabv3plus_mobilenetv2_tv_edgeailite")
    assert (row["strides"], row["decoder_stride"]) == ([2, 4, 8, 16, 16], 4)
    assert any("mobilenet_v2-b0353104" in name for name in row["weights"])
    [row] = rows_of(command, "resnet50dilated_ppm_deepsup")
    assert (row["family"], row["classes"], row["strides"]) == ("ade20k", 150, [4, 8, 8, 8])
    assert any("ADE20K" in name for name in row["weights"])


def test_where_the_weights_of_imagenet_are(command, tmp_path, monkeypatch):
    name = "deeplabv3plus_mobilenetv2_tv_edgeailite"
    url = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
    [row] = rows_of(command, name)
    assert row["imagenet"][0]["state"] == "online" and row["imagenet"][0]["source"] == url
    assert "ImageNet (can be fetched, 14 MB)" in command("models", name).out
    monkeypatch.setenv("EDGEAILITE_HOME", str(tmp_path))
    cached_path(url).parent.mkdir()
    cached_path(url).touch()
    assert rows_of(command, name)[0]["imagenet"][0]["state"] == "cached"
    assert "ImageNet (in the cache)" in command("models", name).out
    [row] = rows_of(command, "fpn_aspp_efficientnet_lite1_edgeailite")
    assert {offer["state"] for offer in row["imagenet"]} & {"installed", "package"}


def test_filters_and_order(command):
    everything = rows_of(command, "*mobilenetv2*1*", "--size", "64", "64")
    limit = sorted(row["giga_macs"] for row in everything)[3]
    cheap = rows_of(command, "*mobilenetv2*1*", "--size", "64", "64", "--max_gmacs", str(limit), "--sort", "gmacs")
    assert [row["giga_macs"] for row in cheap] == sorted(x["giga_macs"] for x in everything if x["giga_macs"] <= limit)
    limited = ("*mobilenetv2*1*", "--size", "64", "64", "--max_gmacs", str(limit))
    assert rows_of(command, *limited) == cheap, "a budget alone sorts by cost"
    assert rows_of(command, *limited, "--sort", "name") == sorted(cheap, key=lambda row: row["name"])
    families = {row["family"] for row in everything}
    assert families == {"edgeailite", "ade20k"}
    only = rows_of(command, "*mobilenetv2*1*", "--size", "64", "64", "--family", "ade20k", "--sort", "parameters")
    assert {row["family"] for row in only} == {"ade20k"}
    assert [row["parameters"] for row in only] == sorted(row["parameters"] for row in only)


def test_classes_and_inputs(command):
    name = "unet_aspp_mobilenetv2_tv_edgeailite"
    [row] = rows_of(command, name, "--num_classes", "21", "--size", "512", "512")
    assert row["giga_macs"] == pytest.approx(2.009219, abs=5e-5)
    [more] = rows_of(command, name, "--inputs", "2")
    assert more["parameters"] > row["parameters"]


def test_the_table_is_for_people(command):
    ended = command("models", "deeplabv3plus_mobilenetv2_tv_edgeailite")
    assert ended.code == 0
    for words in ("deeplabv3plus_mobilenetv2_tv_edgeailite", "2,425,024", "3.5454", "2 4 8 16 16 → 4", "ImageNet"):
        assert words in ended.out


def test_no_match_is_said(command):
    ended = command("models", "x*")
    assert ended.code == 2
    assert "no network of family all matches 'x*'" in ended.err


def test_aliases_and_limits(command):
    [row] = rows_of(command, "fpn_aspp_mobilenetv2_1p4_tv_edgeailite")
    assert row["name"] == "fpn_aspp_mobilenetv2_tv_1p4_edgeailite"
    ended = command("models", FEW, "--max_gmacs", 0.0001)
    assert ended.code == 2
    assert "the cheapest is unet_aspp_mobilenetv2_tv_edgeailite with 2.204 GMACs" in ended.err


def test_strides_at_odd_sizes(command):
    [row] = rows_of(command, "fpn_aspp_regnetx400mf_fd_edgeailite", "--size", 33, 47)
    assert row["decoder_stride"] == 8
