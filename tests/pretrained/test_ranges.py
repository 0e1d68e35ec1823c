"""Ranges from a file as TI's quantization training saves it: keys of a published list, `module.` and all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.pretrained import load_pretrained, published_ranges
from tests.golden import MODEL, golden_model

KEYS = Path(__file__).parents[1] / "reference" / "tidl_range_keys.json.gz"


def qat_file(path: Path) -> Path:
    """A synthetic checkpoint: golden weights, ranges -1 - i / 8 .. 2 + i / 8 seen in i + 1 batches."""
    state = {f"module.{key}": value for key, value in golden_model().state_dict().items()}
    with gzip.open(KEYS, "rt") as file:
        for index, (key, signed) in enumerate(json.load(file)[MODEL]):
            low = 0.0 if signed is False else -1 - index / 8
            state[f"module.{key}.clips_act"] = torch.tensor([low, 2 + index / 8])
            state[f"module.{key}.num_batches_tracked"] = torch.tensor(float(index))
    torch.save({"epoch": 9, "model_name": MODEL, "state_dict": state, "quantize": True, "best_metric": 0.5}, path)
    return path


def test_weights_and_ranges_are_read_from_one_file(tmp_path):
    file = qat_file(tmp_path / "checkpoint.pth")
    model = create_model(MODEL, 19)
    report = load_pretrained(model, file)
    assert report.kind == "edgeailite network after quantization-aware training"
    assert torch.equal(
        model.state_dict()["decoders.0.pred.1.0.weight"], golden_model().state_dict()["decoders.0.pred.1.0.weight"]
    )
    ranges = published_ranges(file)
    assert len(ranges) == 75
    assert ranges["encoder.features.0.0.activation_in"] == (-1.0, 2.0, 0)
    assert ranges["encoder.features.0.2"] == (0.0, 2.125, 1)


def test_a_float_file_has_no_ranges(tmp_path):
    torch.save(golden_model().state_dict(), tmp_path / "float.pth")
    with pytest.raises(DataError, match=r"float\.pth: no activation ranges"):
        published_ranges(tmp_path / "float.pth")


def test_a_range_that_is_none_is_refused(tmp_path):
    torch.save({"encoder.features.0.2.clips_act": torch.tensor([1.0, -1.0])}, tmp_path / "odd.pth")
    with pytest.raises(DataError, match=r"encoder\.features\.0\.2\.clips_act is \[1\.0, -1\.0\]"):
        published_ranges(tmp_path / "odd.pth")
