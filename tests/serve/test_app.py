"""The application without a network: routes, parameters, headers, token, other sites, metrics, the page."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from edgeailite.data.files.images import encode_png
from edgeailite.drawing.plots import colorize, overlay
from edgeailite.serve.admission import Gate
from edgeailite.serve.app import Service, create_app
from edgeailite.serve.errors import STATUS
from edgeailite.serve.openapi import document
from edgeailite.serve.page import FILES
from edgeailite.serve.served_model import Image, ServedModel
from tests.serve.running import CLASSES, PALETTE, picture, pixels

TOKEN = "correct horse"


def brightness(image: Image) -> Image:
    """Classes 0 to 3 by the red channel."""
    return image[..., 0] // 64


def inverse(image: Image) -> Image:
    return 3 - brightness(image)


def broken(image: Image) -> Image:
    raise RuntimeError("secret detail of model.py")


MODELS = {
    name: ServedModel(name, tuple(zip(CLASSES, PALETTE, strict=True)), labels, {"sha256": name * 4})
    for name, labels in (("bright", brightness), ("dark", inverse), ("broken", broken))
}


def client(**options):
    """A client of a service that is ready."""
    gate = Gate(2, queue=2, patience=1.0)
    service = Service(tuple(MODELS), gate, max_body=1_000_000, max_pixels=100_000, **options)
    service.life.loaded(MODELS)
    return create_app(service).test_client()


@pytest.fixture(scope="module")
def here():
    return client()


PICTURE = picture()
IMAGE = pixels(PICTURE)[..., ::-1]
LABELS = IMAGE[..., 0] // 64


def test_labels_overlay_and_arrays(here):
    assert here.post("/predict?output=labels", data=PICTURE).data == encode_png(LABELS)
    mixed = overlay(IMAGE, colorize(LABELS, PALETTE), 0.5)
    for query in ("", "?output=overlay", "?alpha=0.5"):
        assert here.post(f"/predict{query}", data=PICTURE).data == encode_png(mixed)
    assert (pixels(here.post("/predict?alpha=0", data=PICTURE).data)[..., ::-1] == IMAGE).all()
    assert (np.load(io.BytesIO(here.post("/predict?output=npy", data=PICTURE).data)) == LABELS).all()


def test_shares(here):
    found = here.post("/predict?output=json", data=PICTURE).json
    assert (found["width"], found["height"], found["model"]) == (80, 48, "bright")
    assert [row["name"] for row in found["classes"]] == list(CLASSES)
    assert [row["pixels"] for row in found["classes"]] == [*np.bincount(LABELS.ravel(), minlength=4).tolist()]
    assert sum(row["share"] for row in found["classes"]) == pytest.approx(1)


def test_models_by_name(here):
    dark = here.post("/predict?output=labels&model=dark", data=PICTURE)
    assert (pixels(dark.data) == 3 - LABELS).all()
    assert dark.headers["X-Model"] == "dark"
    assert here.get("/model").json["name"] == "bright"
    assert here.get("/model?model=dark").json["sha256"] == "dark" * 4
    assert [model["name"] for model in here.get("/models").json["models"]] == list(MODELS)
    assert here.get("/model?model=blue").status_code == 400


def test_a_form_and_a_raw_body_give_the_same(here):
    form = {"image": (io.BytesIO(PICTURE), "a.png")}
    assert here.post("/predict", data=form).data == here.post("/predict", data=PICTURE).data


def test_times_are_in_a_header_and_bodies_are_equal(here):
    answers = [here.post("/predict?output=json", data=PICTURE) for _ in range(3)]
    assert len({answer.data for answer in answers}) == 1
    timing = answers[0].headers["Server-Timing"]
    assert re.fullmatch(r"queue;dur=[\d.]+, decode;dur=[\d.]+, network;dur=[\d.]+, encode;dur=[\d.]+", timing)


def test_a_bug_is_logged_and_not_told(here, caplog):
    answer = here.post("/predict?model=broken", data=PICTURE)
    assert (answer.status_code, answer.json["error"]) == (500, "internal")
    assert b"secret" not in answer.data
    assert "secret detail" in caplog.text
    assert here.post("/predict", data=PICTURE).status_code == 200


NASTY = (
    'say "hi"',
    "two\nlines",
    "\x1b[2Jred",
    "</script><img src=x onerror=alert(1)>",
    "back\\slash",
    "{x}%s\r",
    "\u202eevil",
)


def test_background_is_told_and_not_tinted():
    classes = (("background", (9, 9, 9)), *zip(CLASSES[1:], PALETTE[1:], strict=True))
    service = Service(("one",), Gate(1, queue=0, patience=1), max_body=1_000_000, max_pixels=100_000)
    service.life.loaded({"one": ServedModel("one", classes, brightness, {"sha256": "one"})})
    there = create_app(service).test_client()
    assert [row["background"] for row in there.get("/model").json["classes"]] == [True, False, False, False]
    mixed = pixels(there.post("/predict?alpha=1", data=PICTURE).data)[..., ::-1]
    assert (LABELS == 0).any() and (mixed[LABELS == 0] == IMAGE[LABELS == 0]).all()
    assert (mixed[LABELS == 1] == PALETTE[1]).all()


def test_names_of_classes_and_models_are_data_everywhere():
    """In JSON, Prometheus' labels and the page's policy: nothing of a name becomes anything but text."""
    classes = tuple((name, (1, 2, 3)) for name in NASTY)
    for name in NASTY:
        service = Service((name,), Gate(1, queue=0, patience=1), max_body=1_000_000, max_pixels=100_000)
        service.life.loaded({name: ServedModel(name, classes, lambda image: image[..., 0] // 64, {"sha256": name})})
        there = create_app(service).test_client()
        assert [row["name"] for row in there.get("/model").json["classes"]] == list(NASTY)
        for path in ("/model", "/models", "/openapi.json"):
            answer = there.get(path)
            assert answer.data.rstrip(b"\n").decode("ascii").isprintable()
            assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.mimetype == "application/json"
        [line] = [line for line in there.get("/metrics").text.split("\n") if line.startswith("edgeailite_model_info{")]
        assert re.fullmatch(r'[a-z_]+\{model="(?:[^"\\\n]|\\["\\n])*",sha256="(?:[^"\\\n]|\\["\\n])*"\} 1', line)
        refused = there.get("/model", query_string={"model": "x" + name})
        assert refused.status_code == 400 and refused.json["message"].isprintable()


# --- headers


@pytest.mark.parametrize("path", [*FILES, "/healthz", "/metrics", "/nothing", "/predict"])
def test_every_answer_protects_itself(here, path):
    headers = here.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not [name for name in headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118 - not a dict


def test_other_sites_may_not_call(here):
    answer = here.post("/predict", data=PICTURE, headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.org"})
    assert (answer.status_code, answer.json["error"]) == (403, "cross_site")


def test_sites_that_were_named_may_call():
    site = "https://good.org"
    there = client(origins=(site,), token=TOKEN)
    asked = there.options("/predict", headers={"Origin": site, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == site
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    headers = {"Origin": site, "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {TOKEN}"}
    answer = there.post("/predict", data=PICTURE, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == site
    other = there.post("/predict", data=PICTURE, headers=headers | {"Origin": "https://evil.org"})
    assert other.status_code == 403
    assert "Access-Control-Allow-Origin" not in other.headers


# --- token


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"]
)
@pytest.mark.parametrize("path", ["/model", "/models", "/metrics"])
def test_without_the_token(path, given):
    answer = client(token=TOKEN).get(path, headers={} if given is None else {"Authorization": given})
    assert (answer.status_code, answer.json["error"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_with_the_token():
    there = client(token=TOKEN)
    headers = {"Authorization": f"bearer {TOKEN}"}
    assert there.post("/predict", data=PICTURE).status_code == 401
    assert there.post("/predict", data=PICTURE, headers=headers).status_code == 200
    for path in ("/", "/healthz", "/readyz", "/openapi.json"):
        assert there.get(path).status_code == 200


# --- metrics

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z0-9_]+="(?:[^"\\]|\\.)*",?)*)\})? ([-+]?[\d.]+(?:e[-+]?\d+)?)')


def parsed(text: str) -> dict[tuple[str, str], float]:
    """(name, labels) -> value of Prometheus' text format; every sample must follow the TYPE of its family."""
    kinds: dict[str, str] = {}
    values = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds, "a family is declared once"
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            family = re.sub(r"_(bucket|sum|count)$", "", match[1]) if match[1] not in kinds else match[1]
            assert family in kinds
            assert (match[1], match[2]) not in values
            values[match[1], match[2] or ""] = float(match[3])
    return values


def test_metrics_count():
    there = client()
    for _ in range(3):
        there.post("/predict?output=labels", data=PICTURE)
    there.post("/predict", data=b"nothing")
    there.get("/secret/path")
    answer = there.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    values = parsed(answer.text)
    assert values["edgeailite_predictions_total", 'model="bright",output="labels"'] == 3
    assert values["edgeailite_requests_total", 'route="/predict",status="200"'] == 3
    assert values["edgeailite_requests_total", 'route="/predict",status="415"'] == 1
    assert values["edgeailite_requests_total", 'route="other",status="404"'] == 1
    assert values["edgeailite_problems_total", 'error="unsupported"'] == 1
    assert values["edgeailite_stage_seconds_count", 'stage="network"'] == 3
    assert values["edgeailite_ready", ""] == 1
    assert values["process_resident_memory_bytes", ""] > 1e6
    edges = [value for (name, labels), value in values.items() if "bucket" in name and "network" in labels]
    assert edges == sorted(edges) and edges[-1] == 3


# --- states


def test_starting_and_draining():
    service = Service(("bright",), Gate(1, queue=0, patience=1.0), max_body=1000, max_pixels=1000)
    there = create_app(service).test_client()
    assert there.get("/healthz").status_code == 200
    assert (there.get("/readyz").status_code, there.get("/readyz").json["status"]) == (503, "starting")
    refused = there.post("/predict", data=b"x")
    assert (refused.status_code, refused.json["error"], refused.headers["Retry-After"]) == (503, "starting", "2")
    assert there.get("/metrics").status_code == 200
    service.life.loaded(MODELS)
    assert there.get("/readyz").status_code == 200
    service.life.drain()
    assert (there.get("/readyz").status_code, there.get("/readyz").json["status"]) == (503, "draining")
    assert there.get("/healthz").status_code == 200
    assert there.post("/predict", data=b"x").json["error"] == "draining"


# --- the page and the document


class Reader(HTMLParser):
    """Addresses, inline code and unlabelled fields of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.fields: set[str] = set()
        self.labelled: set[str] = set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href") if values.get(name)]
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in values) else []
        if tag in ("input", "select") and "hidden" not in values:
            self.fields.add(values["id"])
        if tag == "label":
            self.labelled.add(values["for"])


def test_the_page_asks_nobody_else(here):
    reader = Reader()
    reader.feed(here.get("/").text)
    assert not reader.inline
    assert reader.fields <= reader.labelled
    for address in reader.addresses:
        assert address.startswith(("#", "data:image/svg+xml")) or here.get(f"/{address}").status_code == 200
    for path in FILES:
        content = here.get(path).text
        assert not re.search(r"https?://(?!www\.w3\.org)", content)
        assert "innerHTML" not in content and "eval(" not in content


def test_the_page_is_asked_for_again_only_if_it_changed(here):
    first = here.get("/page.js")
    again = here.get("/page.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_document_has_every_route(here):
    found = here.get("/openapi.json").json
    routes = {
        rule.rule for rule in create_app(Service(("a",), Gate(1, queue=0, patience=1), 1, 1)).url_map.iter_rules()
    }
    assert set(found["paths"]) == routes - set(FILES) | {"/"}
    text = json.dumps(found)
    references = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert references == set(found["components"]["schemas"])
    assert set(found["components"]["schemas"]["Problem"]["properties"]["error"]["enum"]) == set(STATUS)
    assert document(["a"], max_body=1, with_token=True)["paths"]["/predict"]["post"]["security"] == [{"token": []}]
