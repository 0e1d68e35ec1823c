"""The service as a WSGI application: routes, admission, the token, and headers that every answer carries.

Pictures are read from the connection's buffer, decoded, labelled and encoded inside one slot of the gate, so that
memory is bounded by the number of workers, whatever clients send.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from edgeailite.serve.admission import Gate
from edgeailite.serve.callers import Call, Callers
from edgeailite.serve.errors import CODES, PROBLEM_TYPE, Problem, problem_body, shortage
from edgeailite.serve.headers import add_headers
from edgeailite.serve.lifecycle import READY, Lifecycle
from edgeailite.serve.metrics import STAGES, TEXT_TYPE, Metrics, resident_bytes
from edgeailite.serve.openapi import document
from edgeailite.serve.page import PAGE, add_assets
from edgeailite.serve.request import LabelRequest, Upload, check_type, picture_bytes, read_label_request, read_model
from edgeailite.serve.responses import ANSWERS, decode
from edgeailite.serve.workers import WorkerPool
from edgeailite.untrusted import printable

LOG = logging.getLogger("edgeailite.serve")
ARRIVED = "edgeailite.arrived"  # environ: when the first byte of a request came, monotonic seconds
TARGET = "edgeailite.target"  # environ: the name in an address such as `GET http://NAME/model`, "" in the usual form
MAKE_ROOM = "edgeailite.make_room"  # environ: a function that ends connections which hold too much of their answers
PROBES = ("/healthz", "/readyz")  # say one word each, to whoever asks by whatever name
OPEN = (*PAGE, *PROBES, "/openapi.json")  # are given without a token, to pages of other sites too
TOTAL = 16  # bodies of the largest size that all connections together hold, unless told otherwise


@dataclass(frozen=True)
class Service:
    """State that the routes share. `names` of the models, the first is the default.

    `hosts` are names that the service answers to besides its addresses, `origins` the sites that may read answers
    (CORS). `max_total` bounds the bytes of bodies of all connections together, and those of answers.
    """

    names: tuple[str, ...]
    gate: Gate
    max_body: int
    max_pixels: int
    alpha: float = 0.5
    token: str | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_total: int | None = None
    life: Lifecycle = field(default_factory=Lifecycle)
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def callers(self) -> Callers:
        """Return the rules for who may call."""
        return Callers(tuple(name.lower() for name in self.hosts), self.origins, self.token)

    @property
    def total(self) -> int:
        """Return the bytes of bodies that all connections together hold."""
        return self.max_total or TOTAL * self.max_body


def create_app(service: Service) -> Flask:
    """Build the application; it answers `starting` until `service.life` has models."""
    app = Flask("edgeailite.serve", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = service.max_body
    app.request_class = Upload
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
    """Raises Problem for a wrong name of this service, another web site's page, or a missing token."""
    rule = request.url_rule.rule if request.url_rule else None
    if rule in PROBES:
        return
    environ, headers, callers = request.environ, request.headers, service.callers
    call = Call(
        environ.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        environ.get("HTTP_HOST"),
        environ.get(TARGET, ""),
        headers.get("Origin"),
        headers.get("Sec-Fetch-Site"),
        headers.get("Authorization", ""),
    )
    callers.check_host(call)
    if rule is None or rule in OPEN or request.method == "OPTIONS":
        return
    callers.check_page(call)
    callers.check_token(call)


def _add_predict(app: Flask, service: Service) -> None:
    crew = WorkerPool(service.gate.slots)

    @app.post("/predict")
    def predict() -> Response:
        """Label the picture of a request within a slot of the gate."""
        wish = read_label_request(request.args, service.names, alpha=service.alpha)
        check_type(request)
        if request.content_length == 0:
            raise Problem("bad_picture", "the body is empty, expected a picture")
        service.life.admit(request.environ.get(ARRIVED, time.monotonic()))
        gone = request.environ.get("waitress.client_disconnected", lambda: False)
        with service.gate.slot(gone) as waited:
            request.environ.get(MAKE_ROOM, int)()
            data = picture_bytes(request)
            body, seconds = crew.do(lambda: _labelled(service, wish, data))
        stages = {"queue": waited, **seconds}
        service.metrics.observe(stages)
        service.metrics.count("edgeailite_predictions_total", wish.model, wish.output)
        timing = ", ".join(f"{stage};dur={1000 * value:.1f}" for stage, value in stages.items())
        headers = {"Server-Timing": timing, "X-Model": wish.model}
        return Response(body, mimetype=ANSWERS[wish.output][0], headers=headers)


def _labelled(service: Service, wish: LabelRequest, data: bytes) -> tuple[bytes, dict[str, float]]:
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
        """List the models and the limits of requests."""
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
        """Return counters and gauges in Prometheus's text format."""
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
        """Count a problem and return it as the response."""
        service.metrics.count("edgeailite_problems_total", problem.error)
        response = Response(problem_body(problem.error, str(problem)), problem.status, content_type=PROBLEM_TYPE)
        response.headers.update((headers or {}) | problem.headers)
        return response

    @app.errorhandler(Problem)
    def known(problem: Problem) -> Response:
        return answer(problem)

    @app.errorhandler(HTTPException)
    def by_flask(error: HTTPException) -> Response:
        """Answer Flask's own errors in the form of our problems."""
        status = error.code or 500
        allowed = {k: v for k, v in error.get_headers() if k == "Allow"}
        return answer(
            Problem(CODES.get(status, "bad_request"), _SENTENCES.get(status, "the request is not valid")), allowed
        )

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        """Answer an unexpected error without its details, which go to the log."""
        path = printable(request.path[:200])
        if problem := shortage(error):
            LOG.error("%s while answering %s", problem.error, path)
            return answer(problem)
        LOG.exception("bug while answering %s", path, exc_info=error)
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
