"""Files that do not say what they are, that end LiteRT's process, and what is computed of the others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeailite.errors import DataError, UsageError
from edgeailite.export.tflite_file import write_tflite
from edgeailite.runtime import load_tflite, run_picture
from edgeailite.runtime.resize import resize_bilinear
from edgeailite.runtime.tflite_session import tensors_of, values_of
from edgeailite.runtime.tflite_trial import try_tflite
from tests.export.programs import pictures
from tests.runtime.small_tflite import CARD, SIZE, entries, program

pytest.importorskip("ai_edge_litert")


def test_a_sound_file_gives_the_values_of_its_codes():
    data = write_tflite(program(), metadata=entries())
    model = load_tflite(data, threads=1)
    codes = pictures(1, SIZE)
    image = (codes[0].transpose(0, 3, 1, 2) / 64).astype(np.float32)
    (found,) = model.run(image).values()
    expected = tensors_of(data, codes, kernels="xnnpack")["segmentation"]
    np.testing.assert_array_equal(found, (expected.transpose(0, 3, 1, 2).astype(np.float32) + 7) * np.float32(0.2))
    picture = (codes[0][0].astype(np.int16) + 128).astype(np.uint8)
    np.testing.assert_array_equal(run_picture(model, picture)["segmentation"], found)


def test_codes_of_the_decoders_size_are_enlarged():
    data = write_tflite(program(stride=2), metadata=entries(head="codes"))
    model, codes = load_tflite(data, threads=1), pictures(1, SIZE)
    small = tensors_of(data, codes, kernels="xnnpack")["segmentation"]
    assert small.shape == (1, 4, 6, 5)
    (found,) = model.run((codes[0].transpose(0, 3, 1, 2) / 64).astype(np.float32)).values()
    values = values_of(small, model.outputs["segmentation"][1])
    expected = F.interpolate(torch.from_numpy(values.transpose(0, 3, 1, 2).copy()), size=SIZE, mode="bilinear")
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_scores_that_are_not_finite_are_refused():
    made = program(step=1e37)
    _, weight, bias = made.operators[0].inputs
    weight.data, weight.scale = np.full_like(weight.data, 127), np.full(5, 1e35, np.float32)
    bias.scale = weight.scale / 64
    model = load_tflite(write_tflite(made, metadata=entries()), threads=1)
    with pytest.raises(DataError, match=r"output segmentation: .* values are not finite"):
        model.run(np.full((1, 3, *SIZE), 1e6, np.float32))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"head": "logits"},
            r"output segmentation: the metadata say 'float32 1x8x12x5', the graph has 'int8 1x8x12x5'",
        ),
        ({"head": "argmax"}, r"edgeailite\.head: 'argmax', which does not suit the rest"),
        ({"head": "other"}, r"edgeailite\.head: 'other'"),
        ({"kind": "float"}, r"edgeailite\.head: 'quantized', which does not suit"),
        ({"argmax": "full", "head": "argmax"}, r"outputs: the metadata say 'segmentation_label'"),
        ({"card": json.dumps({**CARD.with_size((16, 12)).to_dict(), "data_path": None})}, r"input_size"),
    ],
)
def test_metadata_that_do_not_suit_the_graph_are_refused(changes, reason):
    with pytest.raises(DataError, match=reason):
        load_tflite(write_tflite(program(), metadata=entries(**changes)))


def test_a_file_without_our_metadata_is_refused_before_it_runs():
    with pytest.raises(DataError, match="no edgeailite metadata; export it here"):
        load_tflite(write_tflite(program()))


def test_constants_of_another_length_and_names_that_occur_twice_are_refused():
    made = program()
    weight = made.operators[0].inputs[1]
    weight.data = weight.data[:4]
    with pytest.raises(DataError, match=r"tensor head\.weight: no 5x3x3x3 numbers of int8"):
        load_tflite(write_tflite(made, metadata=entries()))
    made = program()
    made.operators[0].inputs[1].name = "image"
    with pytest.raises(DataError, match="two tensors of one name"):
        load_tflite(write_tflite(made, metadata=entries()))


def test_a_file_on_disk_is_tried_in_a_child_first(tmp_path, monkeypatch):
    path = tmp_path / "made.tflite"
    path.write_bytes(write_tflite(program(), metadata=entries()))
    assert load_tflite(path, threads=1).fixed_size == SIZE
    monkeypatch.setattr(
        "edgeailite.runtime.tflite_session.try_tflite", lambda data, **more: (_ for _ in ()).throw(DataError("tried"))
    )
    with pytest.raises(DataError, match="tried"):
        load_tflite(path)


def test_what_litert_refuses_is_said_and_what_ends_its_process_does_not_end_this_one():
    made = program()
    made.operators[0].inputs[2].shape = (4,)
    made.operators[0].inputs[2].data = made.operators[0].inputs[2].data[:4]
    with pytest.raises(DataError, match=r"made: (LiteRT cannot (load|run) it \(|ends the process)"):
        try_tflite(write_tflite(made), name="made", kernels="xnnpack")
    made = program()
    made.operators[0].options["stride"] = (0, 0)
    with pytest.raises(DataError, match=r"made: (LiteRT cannot (load|run) it \(|ends the process)"):
        try_tflite(write_tflite(made), name="made", kernels="reference")


def test_inputs_of_another_number_or_shape_are_refused():
    model = load_tflite(write_tflite(program(), metadata=entries()), threads=1)
    with pytest.raises(UsageError, match=r"takes 1 image\(s\) \(image\), got 2"):
        model.run(np.zeros((1, 3, *SIZE), np.float32), np.zeros((1, 3, *SIZE), np.float32))
    with pytest.raises(UsageError, match="takes 1x3x8x12, got 2x3x8x12"):
        model.run(np.zeros((2, 3, *SIZE), np.float32))


def test_loading_says_nothing_on_stderr(capfd):
    load_tflite(write_tflite(program(), metadata=entries()), threads=1)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(16, 24), (17, 31), (8, 12), (3, 5), (1, 1)])
def test_the_resize_is_torch_s(size, align_corners):
    values = np.random.default_rng(1).normal(size=(1, 8, 12, 5)).astype(np.float32)
    expected = F.interpolate(
        torch.from_numpy(values.transpose(0, 3, 1, 2).copy()), size=size, mode="bilinear", align_corners=align_corners
    )
    found = resize_bilinear(values, size, align_corners=align_corners)
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-5)
