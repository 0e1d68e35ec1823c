"""The web page: three files that ask nobody else for anything, read once when the service starts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from flask import Flask, Response, request

from edgeailite.files import sha256_of

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/picture.js": ("picture.js", "text/javascript"),
    "/camera.js": ("camera.js", "text/javascript"),
}
PAGE = tuple(FILES)


def add_assets(app: Flask) -> None:
    """Add a route for each file; a browser asks whether it changed (ETag)."""
    for path, (name, kind) in FILES.items():
        content = resources.files(__name__).joinpath(name).read_bytes()
        app.add_url_rule(path, endpoint=name, view_func=_view(content, kind), methods=["GET"])


def _view(content: bytes, kind: str) -> Callable[[], Response]:
    tag = sha256_of(content)[:20]

    def view() -> Response:
        """Return the file, or 304 if the browser has it."""
        response = Response(content, mimetype=kind, headers={"Cache-Control": "no-cache"})
        response.set_etag(tag)
        response.make_conditional(request)
        return response

    return view
