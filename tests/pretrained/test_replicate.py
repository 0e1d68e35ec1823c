"""One input's and one decoder's weights in networks with several of either: what fits, what is kept, what is said."""

import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.pretrained import load_pretrained, published_state_dict
from tests.golden import MODEL, golden_model
from tests.pretrained.test_loading import FPN, MOBILE, RESNET18, UNET, copy_of, published, same, unchanged

__all__ = ["published"]  # a fixture

SHAPES = {
    "one": {},
    "two inputs": {"inputs": 2},
    "three decoders": {"outputs": {"segmentation": 19, "depth": 1, "motion": 2}},
    "two inputs, two decoders": {"inputs": 2, "outputs": {"segmentation": 19, "motion": 19}},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [MODEL, UNET, FPN, MOBILE])
def test_published_names_go_there_and_back(tmp_path, name, shape):
    source = golden_model(name, **SHAPES[shape])
    weights = published_state_dict(source)
    torch.save(weights, tmp_path / "w.pth")
    model = create_model(name, **SHAPES[shape])
    report = load_pretrained(model, tmp_path / "w.pth")
    assert same(model, source)
    assert report.notes == ()
    if source.family == "ade20k":
        assert report.kind == "ADE20K network in one file"
        assert {key.split(".")[0] for key in weights} <= {"encoder", "decoder", "decoder1", "decoder2"}
        assert "decoder.conv_last.4.weight" in weights or "decoder.conv_last.weight" in weights
    else:
        assert list(weights) == list(source.state_dict())


# Decoders that take a feature inside the stem, which is as many times as wide as there are inputs; layers over it.
OVER_INPUTS = {
    UNET: "unet.smooth_convs.4.",
    "fpn128_aspp_mobilenetv2_tv_fd_edgeailite": "fpn.shortcuts.4.",
    "mobilenetv2dilated_upernet": "fpn_in.0.",
}


@pytest.mark.parametrize("name", OVER_INPUTS)
def test_layers_over_all_inputs_keep_their_initial_values(tmp_path, name):
    source = golden_model(name)
    torch.save(published_state_dict(source), tmp_path / "w.pth")
    model = create_model(name, inputs=2)
    before = copy_of(model)
    report = load_pretrained(model, tmp_path / "w.pth")
    assert report.mismatched
    assert all(key.startswith(f"decoders.0.{OVER_INPUTS[name]}") for key in report.mismatched)
    assert all("streamfuse" in key for key in report.missing)
    state = model.state_dict()
    assert all(torch.equal(state[key], before[key]) for key in (*report.mismatched, *report.missing))
    theirs = source.state_dict()
    decoder = [key for key in report.loaded if key.startswith("decoders.")]
    assert decoder
    assert all(torch.equal(state[key], theirs[key]) for key in decoder)
    count = f"{len(report.mismatched)} tensors keep their initial values ("
    assert f"layers over the features of 1 input in the file, of 2 here: {count}" in str(report)


def test_inputs_and_class_count_and_decoders_together(tmp_path):
    torch.save(golden_model(UNET, 19).state_dict(), tmp_path / "w.pth")
    model = create_model(UNET, inputs=2, outputs={"depth": 1, "segmentation": 19})
    report = load_pretrained(model, tmp_path / "w.pth")
    assert all(key.startswith(("decoders.0.", "decoders.1.unet.smooth_convs.4.")) for key in report.mismatched)
    assert any(key.startswith("decoders.1.") for key in report.mismatched)
    assert "19 channels in the file, 1 in depth: " in str(report)
    assert "layers over the features of 1 input in the file, of 2 here: " in str(report)
    other = create_model(UNET, 25, inputs=2)
    with pytest.raises(DataError, match=r"has 19 classes in segmentation, this network 25; .*--allow_head_mismatch"):
        load_pretrained(other, tmp_path / "w.pth")
    assert "19 channels in the file, 25 in segmentation" in str(
        load_pretrained(other, tmp_path / "w.pth", allow_head_mismatch=True)
    )


def test_inputs_excuse_nothing_else(tmp_path):
    weights = copy_of(golden_model(UNET))
    key = "encoder.features.3.conv.2.weight"
    weights[key] = torch.zeros(24, 5, 1, 1)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(
        DataError, match=rf"does not fit {UNET}: .*of another shape \(.*features\.stream0\.3\.conv\.2\.weight"
    ):
        load_pretrained(create_model(UNET, inputs=2), tmp_path / "w.pth", allow_head_mismatch=True)


def test_backbone_goes_to_all_inputs_of_a_unet(tmp_path):
    source = golden_model(UNET)
    torch.save(source.encoder.features.state_dict(prefix="features."), tmp_path / "w.pth")
    report = load_pretrained(create_model(UNET, inputs=2), tmp_path / "w.pth")
    assert report.mismatched == report.unexpected == ()
    assert {key.split(".")[0] for key in report.missing if "streamfuse" not in key} == {"decoders"}


@pytest.mark.parametrize("name", [MODEL, FPN, RESNET18])
def test_one_input_goes_to_all_inputs_and_that_is_said(tmp_path, name):
    source = golden_model(name)
    torch.save(published_state_dict(source), tmp_path / "w.pth")
    model = create_model(name, inputs=2)
    before = copy_of(model)
    report = load_pretrained(model, tmp_path / "w.pth")
    fusion = f"encoder.{model.encoder.fuse_key}."
    assert report.missing
    assert all(key.startswith(fusion) for key in report.missing)
    assert "one input's weights copied to all 2 inputs" in report.notes
    assert any("keep their initial values" in note and "one input" in note for note in report.notes)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in report.missing)
    first, second = model.encoder.stems
    for block, key in first.items():
        expected = source.encoder.get_submodule(block)
        for copy in (key, second[block]):
            assert same(model.encoder.get_submodule(copy), expected)
    for block, key in model.encoder.trunk.items():
        assert same(model.encoder.get_submodule(key), source.encoder.get_submodule(block))


def test_two_inputs_into_one_is_refused_with_the_fix(tmp_path):
    torch.save(golden_model(MODEL, inputs=2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match="the file's network has several inputs"):
        load_pretrained(create_model(MODEL), tmp_path / "w.pth")


def test_one_decoder_goes_to_all_that_it_fits(published):
    source, path = published
    model = create_model(MODEL, outputs={"depth": 1, "segmentation": 19, "left": 19})
    before = copy_of(model)
    report = load_pretrained(model, path)
    assert report.mismatched == ("decoders.0.pred.1.0.weight",)
    assert report.notes[0] == "one decoder's weights copied to all 3 decoders"
    assert report.notes[1].startswith("19 channels in the file, 1 in depth: 1 tensors keep their initial values (decod")
    assert same(model.decoders[1], source.decoders[0])
    assert same(model.decoders[2], source.decoders[0])
    assert same(model.decoders[0].aspp, source.decoders[0].aspp)
    assert torch.equal(model.state_dict()[report.mismatched[0]], before[report.mismatched[0]])


def test_one_decoder_that_fits_none_is_refused(published):
    _, path = published
    model = create_model(MODEL, outputs={"depth": 1, "motion": 2})
    with pytest.raises(
        DataError, match="has 19 classes in depth, this network 1, 19 classes in motion, this network 2"
    ):
        load_pretrained(model, path)
    assert len(load_pretrained(model, path, allow_head_mismatch=True).mismatched) == 2


@pytest.mark.parametrize(
    "outputs",
    [{"segmentation": 25, "left": 19}, {"left": 19, "segmentation": 25}, {"depth": 1, "segmentation": 25, "left": 19}],
)
def test_segmentation_never_stays_random_in_silence(published, outputs):
    _, path = published
    model = create_model(MODEL, outputs=outputs)
    before = copy_of(model)
    with pytest.raises(DataError, match=r"has 19 classes in .*segmentation, this network 25.*--allow_head_mismatch"):
        load_pretrained(model, path)
    assert unchanged(model, before)
    assert "19 channels in the file, 25 in segmentation" in str(load_pretrained(model, path, allow_head_mismatch=True))


def test_without_segmentation_the_first_output_has_to_fit(published):
    _, path = published
    load_pretrained(create_model(MODEL, outputs={"left": 19, "depth": 1}), path)
    with pytest.raises(DataError, match="has 19 classes in depth, this network 1;"):
        load_pretrained(create_model(MODEL, outputs={"depth": 1, "left": 19}), path)


def test_decoder_of_another_task_is_refused(tmp_path):
    torch.save(golden_model(MODEL, outputs={"depth": 1}).state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match="has 1 classes in segmentation, this network 19;"):
        load_pretrained(create_model(MODEL, outputs={"segmentation": 19, "depth": 1}), tmp_path / "w.pth")


def test_other_number_of_decoders_is_refused(tmp_path):
    torch.save(golden_model(MODEL, outputs={"a": 2, "b": 2}).state_dict(), tmp_path / "w.pth")
    for outputs in ({"a": 2}, {"a": 2, "b": 2, "c": 2}):
        with pytest.raises(DataError, match="the same name, inputs and outputs"):
            load_pretrained(create_model(MODEL, outputs=outputs), tmp_path / "w.pth")
