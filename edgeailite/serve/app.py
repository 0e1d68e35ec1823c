"""The service as a WSGI application: routes, admission, the token, and headers that every answer carries.

Pictures are read from the connection's buffer, decoded, labelled and encoded inside one slot of the gate, so that
memory is bounded by the number of workers, whatever clients send.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from edgeailite.serve.answers import ANSWERS, decode
from edgeailite.serve.asking import Wish, check_type, picture_bytes, read_model, read_wish
from edgeailite.serve.crew import Crew
from edgeailite.serve.gate import Gate
from edgeailite.serve.headers import add_headers
from edgeailite.serve.life import READY, Life
from edgeailite.serve.metrics import STAGES, TEXT_TYPE, Metrics, resident_bytes
from edgeailite.serve.openapi import document
from edgeailite.serve.page import PAGE, add_assets
from edgeailite.serve.problems import CODES, PROBLEM_TYPE, Problem, problem_body

LOG = logging.getLogger("edgeailite.serve")
ARRIVED = "edgeailite.arrived"  # environ: when the first byte of a request came, monotonic seconds


@dataclass(frozen=True)
class Service:
    """What the routes share. `names` of the models, the first is the default; `origins` may read answers (CORS)."""

    names: tuple[str, ...]
    gate: Gate
    max_body: int
    max_pixels: int
    alpha: float = 0.5
    token: str | None = None
    origins: tuple[str, ...] = ()
    life: Life = field(default_factory=Life)
    metrics: Metrics = field(default_factory=Metrics)


def create_app(service: Service) -> Flask:
    """The application; it answers `starting` until `service.life` has models."""
    app = Flask("edgeailite.serve", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.max_body
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    add_assets(app)
    _add_predict(app, service)
    _add_models(app, service)
    _add_states(app, service)
    _add_problems(app, service)
    app.before_request(lambda: _check_caller(service))

    @app.after_request
    def finish(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else "other"
        service.metrics.count("edgeailite_requests_total", rule, str(response.status_code))
        return add_headers(response, request, service.origins)

    return app


def _check_caller(service: Service) -> None:
    """Raises Problem for a missing token, or another web site's page that is not allowed to call."""
    open_to_all = request.url_rule is None or request.url_rule.rule in (*PAGE, "/healthz", "/readyz", "/openapi.json")
    if open_to_all or request.method == "OPTIONS":
        return
    origin = request.headers.get("Origin")
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and origin not in service.origins:
        raise Problem("cross_site", "calls from pages of other sites are not allowed here")
    if service.token is not None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), service.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Problem("unauthorized", "a token is needed: Authorization: Bearer TOKEN")


def _add_predict(app: Flask, service: Service) -> None:
    crew = Crew(service.gate.slots)

    @app.post("/predict")
    def predict() -> Response:
        wish = read_wish(request.args, service.names, alpha=service.alpha)
        check_type(request)
        if request.content_length == 0:
            raise Problem("bad_picture", "the body is empty, expected a picture")
        service.life.admit(request.environ.get(ARRIVED, time.monotonic()))
        gone = request.environ.get("waitress.client_disconnected", lambda: False)
        with service.gate.slot(gone) as waited:
            data = picture_bytes(request)
            body, seconds = crew.do(lambda: _labelled(service, wish, data))
        stages = {"queue": waited, **seconds}
        service.metrics.observe(stages)
        service.metrics.count("edgeailite_predictions_total", wish.model, wish.output)
        timing = ", ".join(f"{stage};dur={1000 * value:.1f}" for stage, value in stages.items())
        headers = {"Server-Timing": timing, "X-Model": wish.model}
        return Response(body, mimetype=ANSWERS[wish.output][0], headers=headers)


def _labelled(service: Service, wish: Wish, data: bytes) -> tuple[bytes, dict[str, float]]:
    """The body of an answer, and the seconds of each stage, which go into a header: bodies are the same every time."""
    model = service.life.models()[wish.model]
    times = [time.perf_counter()]
    image = decode(data, max_pixels=service.max_pixels)
    times.append(time.perf_counter())
    labels = model.labels(image)
    times.append(time.perf_counter())
    body = ANSWERS[wish.output][1](image, labels, model, wish.alpha)
    times.append(time.perf_counter())
    return body, dict(zip(STAGES[1:], (end - begin for begin, end in pairwise(times)), strict=True))


def _add_models(app: Flask, service: Service) -> None:
    @app.get("/models")
    def models() -> Response:
        known = service.life.models()
        limits = {"max_bytes": service.max_body, "max_pixels": service.max_pixels}
        return _json(
            {"default": service.names[0], "models": [known[name].description() for name in service.names]} | limits
        )

    @app.get("/model")
    def model() -> Response:
        return _json(service.life.models()[read_model(request.args, service.names)].description())

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _json(document(service.names, max_body=service.max_body, with_token=service.token is not None))


def _add_states(app: Flask, service: Service) -> None:
    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "alive"})

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        state = service.life.state
        return _json({"status": state}), 200 if state == READY else 503

    @app.get("/metrics")
    def metrics() -> Response:
        gate = service.gate
        gauges = {
            "edgeailite_running": ("Pictures being labelled now.", float(gate.running)),
            "edgeailite_waiting": ("Pictures waiting for a worker.", float(gate.waiting)),
            "edgeailite_workers": ("Pictures that can be labelled at once.", float(gate.slots)),
            "edgeailite_ready": ("1 if new pictures are taken.", float(service.life.state == READY)),
            "process_resident_memory_bytes": ("Memory of the process in RAM.", resident_bytes()),
        }
        known = service.life.models() if service.life.state == READY else {}
        info = [{"model": m.name, "sha256": str(m.facts.get("sha256", ""))} for m in known.values()]
        return Response(service.metrics.text(gauges, info), content_type=TEXT_TYPE)


def _add_problems(app: Flask, service: Service) -> None:
    def answer(problem: Problem, headers: dict[str, str] | None = None) -> Response:
        service.metrics.count("edgeailite_problems_total", problem.error)
        response = Response(problem_body(problem.error, str(problem)), problem.status, content_type=PROBLEM_TYPE)
        response.headers.update(headers or {})
        if problem.retry_after is not None:
            response.headers["Retry-After"] = str(problem.retry_after)
        if problem.error == "unauthorized":
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    @app.errorhandler(Problem)
    def known(problem: Problem) -> Response:
        return answer(problem)

    @app.errorhandler(HTTPException)
    def by_flask(error: HTTPException) -> Response:
        status = error.code or 500
        allowed = {k: v for k, v in error.get_headers() if k == "Allow"}
        return answer(
            Problem(CODES.get(status, "bad_request"), _SENTENCES.get(status, "the request is not valid")), allowed
        )

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        LOG.exception("bug while answering %s", request.path, exc_info=error)
        return answer(Problem("internal", "the service failed at this request; its log says why"))


_SENTENCES = {
    400: "the request is not valid",
    404: "there is nothing here; /openapi.json lists what there is",
    405: "this method does not work here",
    413: "the body is larger, or has more parts, than is taken",
    500: "the service failed at this request; its log says why",
}


def _json(values: Any) -> Response:
    return Response(json.dumps(values) + "\n", mimetype="application/json")
