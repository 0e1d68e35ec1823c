"""From the words of `edgeailite serve` to models by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeailite import cli
from edgeailite.commands import serve
from edgeailite.config import ServeConfig
from edgeailite.errors import UsageError
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.serve import models
from edgeailite.serve.app import Service
from tests.serve.running import CLASSES, picture, pixels, tiny_model


class Standing(Service):
    """A service whose attributes can be set."""

    __setattr__ = object.__setattr__


def test_names():
    words = ("runs/first", "a/model_int8.onnx", "best=runs/x.onnx", "b/model.v2.onnx")
    assert models.named(words) == {
        "first": Path("runs/first"),
        "model_int8": Path("a/model_int8.onnx"),
        "best": Path("runs/x.onnx"),
        "model.v2": Path("b/model.v2.onnx"),
    }


@pytest.mark.parametrize(
    "words, reason",
    [
        (("a/model.onnx", "b/model.onnx"), r"model is the name of a/model\.onnx already; write OTHER=b/model\.onnx"),
        (("=x.onnx",), "'' is no name"),
        (("a b=x.onnx",), "'a b' is no name for a model"),
        (("x/<b>.onnx",), r"NAME=x/<b>\.onnx"),
        (("x\x1b[2J=y",), r"--models x\\x1b\[2J=y"),
    ],
)
def test_names_that_cannot_be(words, reason):
    with pytest.raises(UsageError, match=reason):
        models.named(words)


def test_token_from_the_command_line_or_the_environment():
    assert serve.token(None, {}) is None
    assert serve.token(None, {serve.TOKEN: ""}) is None
    assert serve.token(None, {serve.TOKEN: "from outside"}) == "from outside"
    assert serve.token("from a flag", {serve.TOKEN: "from outside"}) == "from a flag"
    with pytest.raises(UsageError, match="at least 8 characters"):
        serve.token(None, {serve.TOKEN: "short"})


def test_token_from_a_file(tmp_path, capsys):
    file = tmp_path / "token"
    for text in ("correct horse", "correct horse\n", "correct horse\r\n"):
        file.write_text(text)
        assert serve.token(None, {serve.TOKEN: "from outside"}, file) == "correct horse"
    link = tmp_path / "link"  # as orchestrators mount secrets
    link.symlink_to(file)
    assert serve.token(None, {}, link) == "correct horse"
    assert capsys.readouterr().err == ""
    serve.token("from a flag", {})
    assert "other users of this machine can see --token" in capsys.readouterr().err


TOKENS = {
    "missing": (None, "cannot be read"),
    "folder": (None, "a folder, not a file"),
    "pipe": (None, "a named pipe, not a file"),
    "long": (b"x" * 5000, "cannot be read"),
    "binary": (b"\xff" * 20, "expected text in UTF-8"),
    "short": (b"abc", "at least 8 characters"),
    "empty": (b"", "at least 8 characters"),
    "two lines": (b"correct horse\nbattery", "no control characters"),
    "space": (b"correct horse \n", "no space at the ends"),
    "escape": (b"correct\x1b[2Jhorse", "no control characters"),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_tokens_that_cannot_be(tmp_path, kind):
    content, reason = TOKENS[kind]
    file = tmp_path / "token"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=reason) as caught:
        serve.token(None, {}, file)
    assert str(caught.value).isprintable()
    if content and kind not in ("long", "binary"):
        with pytest.raises(UsageError, match=reason):
            serve.token(None, {serve.TOKEN: content.decode()})
    with pytest.raises(UsageError, match="both given"):
        serve.token("correct horse", {}, file)


@pytest.mark.parametrize("running", [0, 1])
def test_the_process_ends_although_a_decoder_does_not(monkeypatch, running):
    """The interpreter would wait for nobody and abort under a decoder's feet."""
    ended = []

    def served(server, load, **more):
        server.gate.running = running
        return 0

    def listened(service, **more):
        assert service.hosts == ("label.example.org", "127.0.0.1") and service.total == 32_000_000
        service.effective_host, service.effective_port = "127.0.0.1", 1  # stands for the server, too
        return service

    monkeypatch.setattr("edgeailite.serve.server.serve", served)
    monkeypatch.setattr("edgeailite.serve.server.listen", listened)
    monkeypatch.setattr("edgeailite.serve.app.Service", Standing)
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("sys.setswitchinterval", lambda seconds: None)
    options = {"hosts": ("label.example.org",), "max_total_megabytes": 32.0}
    assert serve.run(ServeConfig(("a.onnx",), **options)) == 0
    assert ended == [0] * running


def test_options(tmp_path):
    config = cli.parse("serve", ["a.onnx", "b=c.onnx", "--port", "0"], prog="edgeailite serve")
    assert config == ServeConfig(("a.onnx", "b=c.onnx"), port=0)
    assert config.host == "127.0.0.1"


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"models": ()}, "--models"),
        ({"port": 70_000}, "--port 70000: expected 0 to 65535"),
        ({"workers": 0}, "--workers 0"),
        ({"queue": -1}, "--queue -1"),
        ({"queue_timeout": 0}, "--queue_timeout 0"),
        ({"max_megapixels": float("nan")}, "--max_megapixels nan"),
        ({"token": "short"}, r"--token \.\.\.: expected at least 8 characters"),
        ({"origins": ("example.org",)}, "--origins example.org"),
        ({"hosts": ("https://example.org",)}, "--hosts https://example.org: expected a name such as example.org"),
        ({"hosts": ("example.org:80",)}, "--hosts example.org:80"),
        ({"hosts": ("*",)}, r"--hosts \*"),
        ({"hosts": ("a\nb",)}, "--hosts a"),
        ({"max_total_megabytes": 8.0}, "--max_total_megabytes 8.0: expected at least --max_megabytes"),
        ({"max_total_megabytes": float("nan")}, "--max_total_megabytes nan"),
    ],
)
def test_options_that_cannot_be(options, reason):
    with pytest.raises(UsageError, match=reason):
        ServeConfig(**({"models": ("a.onnx",)} | options))


def test_a_served_model_says_what_it_is_and_no_path(tmp_path):
    model = serve.served("tiny", tiny_model(tmp_path / "tiny.onnx"), threads=1)
    found = model.description()
    assert [row["name"] for row in found["classes"]] == list(CLASSES)
    assert found["input"]["height"] == 64
    assert len(found["sha256"]) == 64
    assert str(tmp_path) not in str(found) and "/secret" not in str(found)
    assert model.labels(np.ascontiguousarray(pixels(picture())[..., ::-1])).shape == (48, 80)


def test_classes_without_name_or_colour_get_one():
    pre = Preprocessing(64, 64)
    card = ModelCard("x", {"segmentation": 3}, ("a",), ((1, 2, 3),), pre, dataset_name="none")
    named = (("a", (1, 2, 3)), ("class 1", models.NEW_COLOR), ("class 2", models.NEW_COLOR))
    assert models.classes(card, "segmentation") == named


@pytest.mark.parametrize(
    "outputs, options, reason",
    [
        ({"segmentation": 3}, {"inputs": 2}, "takes 2 pictures at a time"),
        ({"depth": 1}, {}, "no map of classes, only depth"),
    ],
)
def test_networks_that_cannot_be_served(outputs, options, reason):
    card = ModelCard("x", outputs, (), (), Preprocessing(64, 64), dataset_name="none", options=options)
    with pytest.raises(UsageError, match=reason):
        models._check_takes_pictures(card, Path("run"))
