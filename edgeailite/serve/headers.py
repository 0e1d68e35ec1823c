"""Headers of every answer: what a browser may do with it, and which other sites may read it (none by default)."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Request, Response

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
FIXED = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def sharing(origin: str, origins: Sequence[str]) -> dict[str, str]:
    """Return headers that let the page of `origin` read an answer if it is one of `origins`, and no other page."""
    vary = {"Vary": "Origin"} if origins else {}
    if origin not in origins:
        return vary | {"Cross-Origin-Resource-Policy": "same-origin"}
    exposed = {"Access-Control-Expose-Headers": "Server-Timing, X-Model, Retry-After"}
    return vary | {"Access-Control-Allow-Origin": origin} | exposed


def add_headers(response: Response, request: Request, origins: Sequence[str]) -> Response:
    """Add the headers to a response; answers are not stored by caches unless a route said otherwise."""
    response.headers.update(FIXED)
    response.headers.setdefault("Cache-Control", "no-store")
    shared = sharing(request.headers.get("Origin", ""), origins)
    if "Vary" in shared:
        response.headers.add("Vary", shared.pop("Vary"))
    response.headers.update(shared)
    if "Access-Control-Allow-Origin" in shared and request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "GET, POST")
        response.headers["Access-Control-Max-Age"] = "600"
    return response
