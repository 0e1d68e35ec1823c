"""Who may call: names in every spelling, pages by Origin and Sec-Fetch-Site, tokens."""

from __future__ import annotations

import pytest

from edgeailite.serve.callers import Call, Callers, authority
from edgeailite.serve.errors import Problem

HERE = "127.0.0.1:8080"


def refusal(callers: Callers, check: str, **call) -> str | None:
    """The code of the problem that a check raises; None where it lets the call in."""
    try:
        getattr(callers, check)(Call(**{"version": "1.1", "host": HERE} | call))
    except Problem as problem:
        assert "\n" not in str(problem) and str(problem).isprintable()
        return problem.error
    return None


HOSTS = {
    "127.0.0.1": None, "127.0.0.1:8080": None, "192.168.1.7:80": None, "10.0.0.1.": None, "[::1]": None,
    "[::1]:8080": None, "[fe80::1%25eth0]": None, "[::ffff:127.0.0.1]": None, "localhost": None, "LOCALHOST:8080": None,
    "localhost.": None, "localhost:": None, "segmentation": None, "Label.Example.ORG.:443": None,
    "evil.com": "wrong_host", "EVIL.com:8080": "wrong_host", "evil.com.": "wrong_host", "x": "wrong_host",
    "127.0.0.1.evil.com": "wrong_host", "localhost.evil.com": "wrong_host", "evil.localhost": "wrong_host",
    "label.example.org.evil.com": "wrong_host", "sub.label.example.org": "wrong_host", "2130706433": "wrong_host",
    "0x7f.1": "wrong_host", "127.1": "wrong_host", "ü.de": "wrong_host", "localhost..": "wrong_host",
    "[bad]": "wrong_host", "evil.com%00": "wrong_host",
    "": "bad_request", "::1": "bad_request", "a b": "bad_request", "localhost, evil.com": "bad_request",
    "user@localhost": "bad_request", "localhost:99999": "bad_request", "localhost:8080:80": "bad_request",
    "http://localhost": "bad_request", "localhost/": "bad_request", "\x1b[2J localhost": "bad_request",
    ".": "bad_request",
}  # fmt: skip


@pytest.mark.parametrize("host, found", HOSTS.items(), ids=map(repr, HOSTS))
def test_hosts(host, found):
    callers = Callers(hosts=("segmentation", "label.example.org"))
    assert refusal(callers, "check_host", host=host) == found
    if host and "@" not in host:
        assert refusal(callers, "check_host", target=host) == found  # GET http://NAME/model HTTP/1.1


def test_only_old_clients_may_leave_the_host_out():
    assert refusal(Callers(), "check_host", host=None) == "bad_request"
    assert refusal(Callers(), "check_host", host=None, version="1.0") is None
    assert refusal(Callers(), "check_host", host=None, version="") is None
    assert refusal(Callers(), "check_host", host="evil.com", version="1.0") == "wrong_host"
    assert refusal(Callers(), "check_host", host=None, version="1.0", target="evil.com") == "wrong_host"


PAGES = {
    "a program": ({}, None),
    "own page": ({"origin": "http://127.0.0.1:8080", "site": "same-origin"}, None),
    "own page of an older browser": ({"origin": "http://127.0.0.1:8080"}, None),
    "own page, written otherwise": ({"host": "LocalHost", "origin": "http://localhost:80"}, None),
    "own page over https, by a proxy": ({"host": "label.example.org", "origin": "https://label.example.org"}, None),
    "own page by IPv6": ({"host": "[::1]:8080", "origin": "http://[::1]:8080"}, None),
    "typed by a person": ({"site": "none"}, None),
    "listed page": ({"origin": "https://good.org", "site": "cross-site"}, None),
    "another site": ({"origin": "https://evil.com", "site": "cross-site"}, "cross_site"),
    "another site, older browser": ({"origin": "http://evil.com"}, "cross_site"),
    "another site that says same-origin": ({"origin": "http://evil.com", "site": "same-origin"}, "cross_site"),
    "another site without Origin": ({"site": "cross-site"}, "cross_site"),
    "another port": ({"origin": "http://127.0.0.1:9999", "site": "same-site"}, "cross_site"),
    "another port, older browser": ({"origin": "http://127.0.0.1:9999"}, "cross_site"),
    "another port without Origin": ({"site": "same-site"}, "cross_site"),
    "another name of this machine": ({"origin": "http://localhost:8080"}, "cross_site"),
    "no port": ({"origin": "http://127.0.0.1"}, "cross_site"),
    "sandboxed page or file": ({"origin": "null"}, "cross_site"),
    "empty": ({"origin": ""}, "cross_site"),
    "another scheme": ({"origin": "ftp://127.0.0.1:8080"}, "cross_site"),
    "extension": ({"origin": "chrome-extension://127.0.0.1:8080"}, "cross_site"),
    "listed page with more": ({"origin": "https://good.org.evil.com"}, "cross_site"),
    "two": ({"origin": "http://127.0.0.1:8080, http://evil.com"}, "cross_site"),
    "unknown word": ({"site": "SAME-ORIGIN"}, "cross_site"),
    "own page with a wrong word": ({"origin": "http://127.0.0.1:8080", "site": "same-site"}, "cross_site"),
}


@pytest.mark.parametrize("call, found", PAGES.values(), ids=PAGES)
def test_pages(call, found):
    assert refusal(Callers(origins=("https://good.org",)), "check_page", **call) == found


@pytest.mark.parametrize(
    "given, found",
    [
        ("Bearer correct h\xc3\xb6rse", None),  # as WSGI hands on UTF-8
        ("bearer  correct h\xc3\xb6rse ", None),
        ("Bearer correct h\xf6rse", "unauthorized"),
        ("Bearer correct", "unauthorized"),
        ("Bearer ", "unauthorized"),
        ("Basic correct h\xc3\xb6rse", "unauthorized"),
        ("correct h\xc3\xb6rse", "unauthorized"),
        ("Bearer \u2028", "unauthorized"),
        ("", "unauthorized"),
    ],
)
def test_tokens(given, found):
    assert refusal(Callers(token="correct hörse"), "check_token", authorization=given) == found
    assert refusal(Callers(), "check_token", authorization=given) is None


def test_the_name_is_looked_at_before_the_token():
    callers = Callers(token="correct horse")
    assert refusal(callers, "check", host="evil.com") == "wrong_host"
    assert refusal(callers, "check", origin="http://evil.com") == "cross_site"
    assert refusal(callers, "check") == "unauthorized"


def test_authorities():
    assert authority("Example.org.:080") == ("example.org", 80)
    assert authority("[::1]") == ("[::1]", None)
    assert authority("a:b") is None
