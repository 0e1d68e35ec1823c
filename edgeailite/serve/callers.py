"""Rules for who may call: the name that a request asks for, the web page that it comes from, and the token.

A web page can make its visitor's browser send requests here, to 127.0.0.1 too. What keeps pages of others out:

1. Host: an address, `localhost` or a name of `hosts`. A page that lets its own name point to this machine (DNS
   rebinding) is "same-origin" to the browser, but its requests carry that name.
2. Origin: what a browser says of the page that asks. It must be this service itself, name and port, or one of
   `origins`, whatever Sec-Fetch-Site says, which older browsers do not send.
3. Sec-Fetch-Site: only `same-origin` and `none` (typed by a person), unless the origin is one of `origins`: a page
   on another port of localhost is `same-site`.

Programs that are no browsers send neither header. X-Forwarded-* is not read: anybody can send it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass

from edgeailite.config import HOST_NAME
from edgeailite.errors import option
from edgeailite.serve.errors import Problem
from edgeailite.untrusted import printable

AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\s:/?#@,\[\]]+)(?::(\d{0,5}))?")
DEFAULT_PORTS = {"http": 80, "https": 443}
OWN_PAGE = (None, "same-origin", "none")  # values of Sec-Fetch-Site; None for a header that is not there


@dataclass(frozen=True)
class Call:
    """A caller, as the request's header describes it; None for a header that it does not have. `target` is the name in
    an address such as `GET http://NAME/model`, "" in the usual form.
    """

    version: str
    host: str | None
    target: str = ""
    origin: str | None = None
    site: str | None = None
    authorization: str = ""


@dataclass(frozen=True)
class Callers:
    """The rules; `hosts` are names in lower case, `origins` sites such as https://example.org."""

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str | None = None

    def check_host(self, call: Call) -> None:
        """Raise Problem `bad_request` or `wrong_host`. Only HTTP/1.0, which no browser speaks, may leave Host out."""
        if call.host is None and call.version not in ("1.0", ""):
            raise Problem("bad_request", "the header Host is missing")
        for given in (call.host, call.target or None):
            if given is not None:
                self._check_name(given)

    def _check_name(self, given: str) -> None:
        found = authority(given)
        if found is None:
            raise Problem("bad_request", f"Host {_shown(given)}: expected NAME or NAME:PORT")
        name = found[0]
        if name != "localhost" and name not in self.hosts and not _is_address(name):
            shown = _shown(name)
            hint = f"; {option('hosts')} {shown} makes it one" if HOST_NAME.fullmatch(name) else ""
            raise Problem("wrong_host", f"{shown} is no name of this service{hint}")

    def check_page(self, call: Call) -> None:
        """Raise Problem `cross_site` for a page that is neither this service's own nor one of `origins`."""
        if call.origin in self.origins:
            return
        foreign = call.origin is not None and not _is_own(call.origin, call.host)
        if foreign or call.site not in OWN_PAGE:
            where = f" ({_shown(call.origin)})" if call.origin else ""
            raise Problem(
                "cross_site", f"calls from pages of other sites{where} are not allowed here; see {option('origins')}"
            )

    def check_token(self, call: Call) -> None:
        """Raise Problem `unauthorized` unless the token is given, if one is asked for."""
        if self.token is None:
            return
        scheme, _, given = call.authorization.partition(" ")
        # A header arrives as bytes; WSGI hands each of them on as the character of that number.
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Problem("unauthorized", "a token is needed: Authorization: Bearer TOKEN")

    def check(self, call: Call) -> None:
        """Check host, page and token, in this order."""
        self.check_host(call)
        self.check_page(call)
        self.check_token(call)


def authority(text: str) -> tuple[str, int | None] | None:
    """Name, in lower case and without a last dot, and port of `NAME[:PORT]`; None for anything else."""
    found = AUTHORITY.fullmatch(text)
    if found is None or (found[2] and int(found[2]) > 65_535):
        return None
    name = found[1].lower().removesuffix(".")
    return (name, int(found[2]) if found[2] else None) if name else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return ":" not in name or name.startswith("[")


def _is_own(origin: str, host: str | None) -> bool:
    """Return True if an Origin names the host and port of the request, over http or, by a proxy, https."""
    scheme, _, rest = origin.partition("://")
    default = DEFAULT_PORTS.get(scheme.lower())
    page, here = authority(rest), authority(host or "")
    if default is None or page is None or here is None:
        return False
    return page[0] == here[0] and (page[1] or default) == (here[1] or default)


def _shown(text: str) -> str:
    """A client's words inside a message: short, on one line, printable."""
    return printable(text[:60] + ("..." if len(text) > 60 else ""))
