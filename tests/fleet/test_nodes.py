"""A cluster of several nodes, one of which is killed while it works. Needs the extra `ray`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fleet.test_job import packed
from tests.small_file import small_file

pytestmark = pytest.mark.ray
PICTURES, SHARDS = 3000, 30
STORE = 80 << 20  # bytes of a node's object store


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_health_check_timeout_ms", "60000")  # a busy machine has slow nodes, no dead ones
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_prestart_worker_first_driver", "0")
    made = Cluster(True, head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture
def many(tmp_path) -> Path:
    """Pictures that one worker labels for some seconds."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for index in range(PICTURES):
        data = cv2.imencode(".png", rng.integers(0, 256, (8, 8, 3), np.uint8))[1].tobytes()
        (folder / f"{index:05d}.png").write_bytes(data)
    return folder


def test_a_killed_node_changes_nothing(cluster, many, tmp_path):
    model, shards = small_file(tmp_path), packed(many, tmp_path / "shards", shards=SHARDS)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    infer = [sys.executable, "-m", "edgeailite", "infer", model]
    options = ["--write", "labels", "manifest", "--threads", 1, "--save_path"]
    subprocess.run([*map(str, [*infer, many, *options, tmp_path / "plain"])], check=True)
    more = ["--engine", "ray", "--address", cluster.address, "--concurrency", 2]
    process = subprocess.Popen([*map(str, [*infer, *shards, *options, tmp_path / "ray", *more])])
    journal = tmp_path / "ray/manifest.journal"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.05)
    cluster.remove_node(nodes[0], allow_graceful=False)
    assert process.poll() is None, "it ended before a node was killed"
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    assert process.wait() == 0
    assert (tmp_path / "ray/manifest.jsonl").read_bytes() == (tmp_path / "plain/manifest.jsonl").read_bytes()
