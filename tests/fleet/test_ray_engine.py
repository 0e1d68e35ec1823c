"""Which cluster a job joins, and which error it ends with; a stand-in for ray, so that nothing is started."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from edgeailite.errors import DataError, UsageError
from edgeailite.fleet.ray_engine import Workers, _ours, start


@pytest.fixture
def joined(monkeypatch) -> list[tuple[str, bool]]:
    """The addresses that `ray.init` is called with, and whether more is asked of a new cluster."""
    seen: list[tuple[str, bool]] = []
    ray, data = ModuleType("ray"), ModuleType("ray.data")
    ray.data, ray.is_initialized = data, lambda: False

    def init(address: str, **more: object) -> None:
        seen.append((address, "include_dashboard" in more))
        if address.startswith("nobody"):
            raise ConnectionError("no cluster there\nat line 3")

    ray.init = init
    data.DataContext = SimpleNamespace(get_current=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return seen


def test_a_job_starts_a_cluster_of_its_own(joined):
    """Ray alone would join whatever cluster runs on this machine, and end with it."""
    start(Workers())
    assert joined == [("local", True)]


def test_an_address_is_that_of_the_options_or_of_the_environment(joined, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "host0:6379")
    start(Workers())
    start(Workers(address="auto"))
    assert joined == [("host0:6379", False), ("auto", False)]


def test_a_cluster_that_is_not_there(joined):
    with pytest.raises(UsageError, match=r"address nobody:1: ray did not start \(no cluster there\)"):
        start(Workers(address="nobody:1"))


def test_an_error_of_ours_comes_out_of_those_of_ray():
    inside = DataError("no model", path="a.onnx")
    outer = RuntimeError("actor died")
    outer.cause = RuntimeError("task failed")
    outer.cause.__cause__ = inside
    assert _ours(outer) is inside
    lost = _ours(RuntimeError("lost\n  the node  \n\n"))
    assert (lost.code, lost.problem) == ("lost-process", "ray: the node")
    outer.__cause__ = outer  # a circle ends
    outer.cause = None
    assert _ours(outer).problem == "ray: actor died"
