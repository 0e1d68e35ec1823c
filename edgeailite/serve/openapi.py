"""The OpenAPI document of the service, which tools read to call it and to test it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeailite import __version__
from edgeailite.serve.errors import PROBLEM_TYPE, STATUS
from edgeailite.serve.proof import STATES
from edgeailite.serve.responses import ANSWERS

BINARY = {"type": "string", "format": "binary"}
COLOR = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 3, "maxItems": 3}
CLASS = {"index": {"type": "integer"}, "name": {"type": "string"}, "color": COLOR}
PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def document(names: Sequence[str], *, max_body: int, with_token: bool) -> dict[str, Any]:
    """Return the OpenAPI document for models of these names."""
    model = {"name": "model", "in": "query", "schema": {"type": "string", "enum": list(names), "default": names[0]}}
    schemes = {"token": {"type": "http", "scheme": "bearer"}} if with_token else {}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "edgeailite serve",
            "version": __version__,
            "description": "Labels pictures: class per pixel, as `edgeailite infer` does, byte for byte.",
        },
        "paths": {
            "/predict": {"post": _predict(model, max_body) | _secured(with_token)},
            "/model": {"get": _get("Classes, colours, size and hashes", _ref("Model"), model) | _secured(with_token)},
            "/models": {"get": _get("All models, and the limits", _ref("Models")) | _secured(with_token)},
            "/healthz": {"get": _get("Whether the process lives", _ref("State"))},
            "/readyz": {"get": _ready()},
            "/metrics": {"get": _text("Counters in Prometheus' text format", "text/plain") | _secured(with_token)},
            "/openapi.json": {"get": _get("This document", {"type": "object"})},
            "/": {"get": _text("The web page", "text/html")},
        },
        "components": {"schemas": _schemas(), **({"securitySchemes": schemes} if schemes else {})},
    }


def _predict(model: Mapping[str, Any], max_body: int) -> dict[str, Any]:
    picture = {"schema": BINARY}
    form = {"type": "object", "required": ["image"], "properties": {"image": BINARY}}
    return {
        "operationId": "predict",
        "summary": "Label one picture",
        "description": f"The picture is the body, or the one file of a form; at most {max_body} bytes.",
        "parameters": [
            {"name": "output", "in": "query", "schema": {"type": "string", "enum": [*ANSWERS], "default": "overlay"}},
            model,
            {
                "name": "alpha",
                "in": "query",
                "description": "Weight of the colours in the overlay",
                "schema": {"type": "number", "minimum": 0, "maximum": 1},
            },
        ],
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(PICTURE_TYPES, picture) | {"multipart/form-data": {"schema": form}},
        },
        "responses": {
            "200": {
                "description": "overlay and labels are PNG, json has pixels and shares by class, npy a uint8 array",
                "headers": {"Server-Timing": {"schema": {"type": "string"}}, "X-Model": {"schema": {"type": "string"}}},
                "content": {
                    "image/png": {"schema": BINARY},
                    "application/json": {"schema": _ref("Shares")},
                    "application/octet-stream": {"schema": BINARY},
                },
            },
            **_problems(400, 401, 403, 408, 413, 415, 503, 507),
        },
    }


def _get(summary: str, schema: Mapping[str, Any], *parameters: Mapping[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": {"description": summary, "content": content}, **_problems(400, 401, 403, 503)},
    }


def _ready() -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("State")}}
    responses = {
        "200": {"description": "New pictures are taken", "content": content},
        "503": {"description": "Starting or draining", "content": content},
    }
    return {"summary": "Whether new pictures are taken", "responses": responses}


def _text(summary: str, kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}}}
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, **_problems(401, 403)},
    }


def _problems(*statuses: int) -> dict[str, Any]:
    content = {PROBLEM_TYPE: {"schema": _ref("Problem")}}
    return {
        str(status): {
            "description": " or ".join(code for code, value in STATUS.items() if value == status),
            "content": content,
        }
        for status in statuses
    }


def _secured(with_token: bool) -> dict[str, Any]:
    return {"security": [{"token": []}]} if with_token else {}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": dict(properties)}


def _described(kind: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a model; a run folder has no `proof`, because it is what files are compared with."""
    text = {"type": "string"}
    model = _object({"name": text, "sha256": text, "classes": {"type": "array", "items": _object(kind)}})
    proof = {
        "description": "whether the file gives the answers of the contract beside it, checked when the service started",
        **_object({"state": {"type": "string", "enum": list(STATES)}, "text": text}),
    }
    return {**model, "properties": {**model["properties"], "proof": proof}}


def _schemas() -> dict[str, Any]:
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    described = CLASS | {"background": {"type": "boolean", "description": "overlays are not tinted with it"}}
    shares = CLASS | {"pixels": count, "share": {"type": "number", "minimum": 0, "maximum": 1}}
    return {
        "Problem": _object({"error": {"type": "string", "enum": list(STATUS)}, "message": text, "status": count}),
        "State": _object({"status": {"type": "string", "enum": ["alive", "starting", "ready", "draining"]}}),
        "Model": _described(described),
        "Models": _object(
            {
                "default": text,
                "models": {"type": "array", "items": _ref("Model")},
                "max_bytes": count,
                "max_pixels": count,
            }
        ),
        "Shares": _object(
            {"model": text, "width": count, "height": count, "classes": {"type": "array", "items": _object(shares)}}
        ),
    }
