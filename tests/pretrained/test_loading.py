"""Whole networks: however a file names and nests them, and what is said when they do not fit."""

import http.server
import threading
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeailite.errors import DataError, UsageError
from edgeailite.models import create_model
from edgeailite.pretrained import describe, load_pretrained
from tests.golden import MODEL, golden_model

UNET, FPN = "unet_aspp_mobilenetv2_tv_edgeailite", "fpn_aspp_regnetx400mf_edgeailite"
RESNET18, MOBILE = "resnet18dilated_ppm_deepsup", "mobilenetv2dilated_c1_deepsup"


def same(first: nn.Module, second: nn.Module) -> bool:
    """All tensors equal, `num_batches_tracked`, which old files lack, aside."""
    ours, theirs = first.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    return all(torch.equal(ours[k], theirs[k]) for k in ours if not k.endswith("num_batches_tracked"))


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as TI's training writes it, and the network in it; to read only."""
    model, path = golden_model(), tmp_path_factory.mktemp("published") / "checkpoint.pth"
    torch.save({"epoch": 3, "model_name": MODEL, "state_dict": model.state_dict(), "quantize": False}, path)
    return model, path


NESTINGS = {
    "bare": lambda weights: weights,
    "state_dict": lambda weights: {"epoch": 3, "state_dict": weights},
    "model": lambda weights: {"model": weights, "optimizer": {}},
    "two levels": lambda weights: {"state_dict": {"model_state": weights, "note": "text"}},
    "of several devices": lambda weights: {f"module.{key}": value for key, value in weights.items()},
    "wrapped twice": lambda weights: {"state_dict": {f"module.module.{key}": value for key, value in weights.items()}},
    "wrapped inside": lambda weights: {key.replace(".features.", ".module.features."): v for key, v in weights.items()},
    "compiled": lambda weights: {f"_orig_mod.{key}": value for key, value in weights.items()},
    "under one name": lambda weights: {"state_dict": {f"model.net.{key}": value for key, value in weights.items()}},
    "without step counters": lambda weights: {k: v for k, v in weights.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_weights_load_however_nested(published, tmp_path, nesting):
    source, _ = published
    torch.save(NESTINGS[nesting](source.state_dict()), tmp_path / "w.pt")
    model = create_model(MODEL)
    report = load_pretrained(model, tmp_path / "w.pt")
    assert same(model, source)
    assert report.missing == report.unexpected == report.mismatched == report.notes == ()
    assert report.kind == "edgeailite network"
    assert "encoder.features.0.0.weight" in report.loaded
    assert describe(report).endswith("tensors loaded; everything fits")
    assert str(report) == describe(report)


def test_what_stands_beside_the_tensors_is_said(published, tmp_path):
    source, _ = published
    torch.save({**source.state_dict(), "epoch": 3, "state_dict": None}, tmp_path / "w.pt")
    model = create_model(MODEL)
    report = load_pretrained(model, tmp_path / "w.pt")
    assert same(model, source)
    assert report.notes == ("not tensors of the network, left out: epoch, state_dict",)
    assert str(report).endswith("\n  not tensors of the network, left out: epoch, state_dict")


def test_path_as_text_and_safetensors_and_old_format(published, tmp_path):
    source, path = published
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "w.safetensors")
    torch.save(source.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in (str(path), str(tmp_path / "w.safetensors"), (tmp_path / "old.pth",)):
        model = create_model(MODEL)
        load_pretrained(model, file)
        assert same(model, source)


def test_tensors_twice_are_refused(published, tmp_path):
    source, _ = published
    weights = source.state_dict()
    torch.save(weights | {f"module.{key}": value for key, value in weights.items()}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="holds tensors twice"):
        load_pretrained(create_model(MODEL), tmp_path / "w.pt")


def test_ranges_of_quantization_aware_training_are_left_out(published, tmp_path):
    """Names as in TI's checkpoints: of activations, of what follows a BatchNorm, of the input."""
    source, _ = published
    places = ["0.0.activation_in", "0.2", "1.conv.2.activation_q", "2.conv.0.2"]
    places = [f"encoder.features.{place}" for place in places] + [
        "decoders.0.pred.1.0.activation_q",
        "decoders.0.cat.activation_q",
    ]
    ranges = {f"{place}.clips_act": torch.ones(2) for place in places}
    ranges |= {f"{place}.num_batches_tracked": torch.tensor(-1) for place in places}
    torch.save({"state_dict": source.state_dict() | ranges, "quantize": True}, tmp_path / "w.pt")
    model = create_model(MODEL)
    report = load_pretrained(model, tmp_path / "w.pt")
    assert same(model, source)
    assert report.kind == "edgeailite network after quantization-aware training"
    assert report.notes == ("12 buffers of activation ranges left out",)


def test_our_own_checkpoint_is_called_so(published, tmp_path):
    source, _ = published
    values = {"format": 1, "card": {}, "state_dict": source.state_dict() | {"ranges.input.low": torch.zeros(1)}}
    torch.save(values, tmp_path / "best.pt")
    report = load_pretrained(create_model(MODEL), tmp_path / "best.pt")
    assert report.kind == "edgeailite checkpoint after quantization-aware training"


def test_plain_modules_load_by_name(tmp_path):
    source, model = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "w.pt")
    report = load_pretrained(model, tmp_path / "w.pt")
    assert (report.kind, same(model, source)) == ("weights by name", True)


def test_plain_modules_keep_a_name_that_all_keys_share(tmp_path):
    source, model = (nn.ModuleDict({"model": nn.Conv2d(3, 4, 1)}) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_pretrained(model, tmp_path / "w.pt")
    assert same(model, source)


@pytest.mark.parametrize("name", [MODEL, RESNET18])
def test_encoder_alone_by_our_names(tmp_path, name):
    """No flip to RGB, no renumbering: the names are this package's."""
    source = golden_model(name)
    torch.save(source.encoder.state_dict(prefix="encoder."), tmp_path / "w.pth")
    model = create_model(name)
    report = load_pretrained(model, tmp_path / "w.pth")
    assert same(model.encoder, source.encoder)
    assert report.kind == "backbone by this package's names"
    assert report.notes[0].startswith("the file holds a backbone only: ")


# --- what does not fit


@pytest.mark.parametrize("name", [MODEL, UNET, FPN, MOBILE])
def test_other_class_count_is_refused_and_nothing_is_loaded(tmp_path, name):
    torch.save(golden_model(name, 21).state_dict(), tmp_path / "w.pt")
    model = create_model(name, 25)
    before = copy_of(model)
    expected = r"w\.pt: has 21 classes in segmentation, this network 25; .*--allow_head_mismatch.*decoders\.0\."
    with pytest.raises(DataError, match=expected):
        load_pretrained(model, tmp_path / "w.pt")
    assert unchanged(model, before)


@pytest.mark.parametrize(
    ("name", "layers"),
    [(MODEL, 1), (UNET, 41), (MOBILE, 4)],  # UNet: 5 + 3 x 10 of four levels, 6 of the prediction; MOBILE: two heads
)
def test_head_keeps_its_initial_values_when_asked(tmp_path, name, layers):
    source = golden_model(name, 40)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    model = create_model(name, 60)
    before = copy_of(model)
    report = load_pretrained(model, tmp_path / "w.pt", allow_head_mismatch=True)
    assert report.missing == report.unexpected == ()
    assert len(report.mismatched) == layers
    assert all(key.startswith("decoders.0.") for key in report.mismatched)
    (note,) = report.notes
    assert note.startswith(f"40 channels in the file, 60 in segmentation: {layers} tensors keep their initial values (")
    state = model.state_dict()
    assert all(torch.equal(state[key], before[key]) for key in report.mismatched)
    assert all(torch.equal(state[key], source.state_dict()[key]) for key in report.loaded)
    assert {*report.loaded, *report.mismatched} == {k for k in state if k in report.loaded or "num_batches" not in k}


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    ("file", "network"),
    [
        ("fpn_aspp_regnetx800mf_edgeailite", FPN),
        ("deeplabv3plus_mobilenetv2_tv_1p4_edgeailite", MODEL),
        ("deeplabv3plus_resnet50_p5_edgeailite", MODEL),
        (UNET, MODEL),
        ("mobilenetv2dilated_ppm_deepsup", MOBILE),
    ],
)
def test_another_network_is_refused_with_or_without_its_head(tmp_path, file, network, allow):
    with torch.device("meta"):
        shapes = create_model(file, 21).state_dict()
    torch.save({key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}, tmp_path / "w.pt")
    model = create_model(network, 19)
    before = copy_of(model)
    with pytest.raises(DataError, match=rf"w\.pt: .*does not fit {network}: .*use the file's own network"):
        load_pretrained(model, tmp_path / "w.pt", allow_head_mismatch=allow)
    assert unchanged(model, before)


def test_missing_and_extra_and_misshaped_tensors_are_named(published, tmp_path):
    source, _ = published
    weights = copy_of(source)
    weights["encoder.features.19.0.weight"] = weights.pop("encoder.features.0.1.bias")
    weights["encoder.features.3.conv.2.weight"] = torch.zeros(24, 5, 1, 1)
    torch.save(weights, tmp_path / "w.pt")
    model = create_model(MODEL)
    expected = (
        r"1 missing \(encoder\.features\.0\.1\.bias\), 1 unexpected \(encoder\.features\.19\.0\.weight\), "
        r"1 of another shape \(encoder\.features\.3\.conv\.2\.weight: file 24x5x1x1, network 24x144x1x1\)"
    )
    with pytest.raises(DataError, match=expected):
        load_pretrained(model, tmp_path / "w.pt", allow_head_mismatch=True)
    report = load_pretrained(model, tmp_path / "w.pt", strict=False)
    assert report.missing == ("encoder.features.0.1.bias",)
    assert report.unexpected == ("encoder.features.19.0.weight",)
    assert report.mismatched == ("encoder.features.3.conv.2.weight",)
    assert torch.equal(model.encoder.get_parameter("features.0.0.weight"), weights["encoder.features.0.0.weight"])
    assert "1 missing (encoder.features.0.1.bias)" in describe(report)


def test_sha256_of_a_file(published):
    _, path = published
    with pytest.raises(DataError, match=r"checkpoint\.pth: sha256 [0-9a-f]{64} instead of deadbeef"):
        load_pretrained(create_model(MODEL), path, sha256="deadbeef")


def test_number_of_files(published):
    _, path = published
    with pytest.raises(UsageError, match="3 files of weights"):
        load_pretrained(create_model(MODEL), (path, path, path))
    with pytest.raises(UsageError, match="0 files of weights"):
        load_pretrained(create_model(MODEL), ())
    for source in (None, 3, (path, None), b"w.pt"):
        with pytest.raises(UsageError, match="as source of weights; give a path, a URL, or two of them"):
            load_pretrained(create_model(MODEL), source)
    with pytest.raises(UsageError, match="single file"):
        load_pretrained(create_model(MODEL), (path, path), sha256="deadbeef")


# --- addresses


def test_address_is_downloaded_once(published, tmp_path, monkeypatch, capfd):
    source, path = published
    monkeypatch.setenv("EDGEAILITE_HOME", str(tmp_path))
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = partial(Handler, directory=path.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/checkpoint.pth"
        for _ in range(2):
            model = create_model(MODEL)
            assert load_pretrained(model, url).source == url
            assert same(model, source)
        server.shutdown()
        thread.join()
    assert asked == ["/checkpoint.pth"]
    assert capfd.readouterr().err.startswith(f"downloading {url} to ")


def test_other_addresses_are_refused():
    with pytest.raises(DataError, match="only http"):
        load_pretrained(create_model(MODEL), "s3://bucket/w.pth")
