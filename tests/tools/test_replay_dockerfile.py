"""The Dockerfile as it is read by the replay: what a reviewer would look for; and the replay itself, on a small one."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import importlib.util
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgeailite.environment import TRAIN, release, requirements
from tests.serve.running import picture, tiny_model

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("replay_dockerfile", ROOT / "tools/replay_dockerfile.py")
assert SPEC is not None and SPEC.loader is not None
replay = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = replay
SPEC.loader.exec_module(replay)

TEXT = (ROOT / "Dockerfile").read_text()
STAGES = replay.read_stages(TEXT, {})
IMAGE = STAGES[-1]
NOT_RUNNING = {
    "onnx"
}  # of the base dependencies: `complexity` and `card` of a file need it, which the image is not for
RUN_ALONE = """
import importlib.metadata as metadata, sys
allowed = set(sys.argv.pop(1).split(","))
owners = metadata.packages_distributions()
norm = lambda name: name.lower().replace("_", "-").replace(".", "-")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        owned = {norm(owner) for owner in owners.get(name.partition(".")[0], ())}
        if owned and not owned & allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import edgeailite.commands.serve, edgeailite.serve.server
from edgeailite.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def copied() -> list[str]:
    """What COPY takes from the checkout."""
    found = []
    for stage in STAGES:
        for step in stage.steps:
            if step.word == "COPY" and "--from=" not in step.rest:
                found += shlex.split(step.rest)[:-1]
    return found


def normal(name: str) -> str:
    """The one spelling of a distribution's name."""
    return name.lower().replace("_", "-").replace(".", "-")


def pinned(*names: str) -> dict[str, str]:
    """Distributions that pip installs in these stages, by normal name, with what stands behind the name."""
    found = {}
    for stage in STAGES:
        arguments = dict(step.rest.split("=", 1) for step in stage.steps if step.word == "ARG" and "=" in step.rest)
        for step in stage.steps if stage.name in names else ():
            for line in re.findall(r"pip --python \S+ install ([^&]+)", step.rest) if step.word == "RUN" else []:
                words = shlex.split(replay.expanded(line, arguments).replace(arguments.get("TORCH_INDEX", "\0"), ""))
                for word in words:
                    if word and not word.startswith(("-", ".")):
                        name = re.split("[<>=]", word)[0]
                        found[normal(name)] = word.removeprefix(name)
    return found


def installed() -> set[str]:
    """Distributions of the stage `runtime`, by normal name."""
    return set(pinned("runtime"))


def test_sources_exist_and_are_not_ignored():
    patterns = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied()
    for name in copied():
        assert (ROOT / name).exists(), name
        assert any(fnmatch.fnmatch(name.removeprefix("./"), pattern) for pattern in patterns), f"{name} is ignored"


def bases(**arguments: str) -> set[str]:
    """The images that stages start from."""
    stages = replay.read_stages(TEXT, arguments)
    return {stage.base for stage in stages} - {stage.name for stage in stages}


def test_bases_are_pinned_by_a_whole_version_and_may_be_by_digest():
    (base,) = bases()
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm", base)
    # the first of 3.11 that refuses ZIP files whose entries overlap (CVE-2024-0450)
    assert release(base.partition(":")[2].partition("-")[0]) >= (3, 11, 8)
    assert bases(PYTHON_DIGEST="@sha256:0123") == {f"{base}@sha256:0123"}


@pytest.mark.parametrize("model, made", [("demo", "model-demo"), ("url", "model-url"), ("none", "model-none")])
def test_only_the_stages_of_the_chosen_model_are_needed(model, made):
    stages = replay.needed(replay.read_stages(TEXT, {"MODEL": model}))
    assert [stage.name for stage in stages] == ["runtime", made, "model", "image"]


def test_the_image_runs_as_nobody_and_says_how_it_is():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", IMAGE.last("USER"))
    assert (IMAGE.last("EXPOSE"), IMAGE.last("STOPSIGNAL")) == ("80", "SIGTERM")
    assert json.loads(IMAGE.last("CMD")) == ["serve"]
    entry = json.loads(IMAGE.last("ENTRYPOINT"))
    health = json.loads(IMAGE.last("HEALTHCHECK").partition("CMD ")[2])
    assert health == [*entry, "ready"]
    assert "ORT_DISABLE_TELEMETRY=1" in IMAGE.last("ENV").split()
    assert any(step.rest.endswith(entry[-1]) for step in IMAGE.steps if step.word == "COPY")
    after = [step.word for step in IMAGE.steps][[step.word for step in IMAGE.steps].index("USER") :]
    assert "RUN" not in after and "COPY" not in after


def test_pip_installs_exact_versions_of_what_pyproject_asks_for():
    pins = pinned("runtime", "model-demo")
    assert all(re.fullmatch(r"==\d[\w.]*", pin) for pin in pins.values()), pins
    assert set(pins) >= {normal(asked.name) for asked in requirements([TRAIN])} - {"torchvision"}
    files = {normal(asked.name) for asked in requirements()}
    assert installed() >= files - NOT_RUNNING
    assert not installed() & ({normal(asked.name) for asked in requirements([TRAIN])} - files - {"flatbuffers"})
    for asked in requirements([TRAIN]):
        if normal(asked.name) in pins:
            assert release(pins[normal(asked.name)]) >= release(asked.minimum), asked


def test_exact_versions_fit_each_other():
    """By what the installed packages of these versions ask for; the torch for the CPU asks for less than this one."""
    pins = pinned("runtime", "model-demo")
    for name, pin in pins.items():
        if name == "torch" or importlib.metadata.version(name) != pin.removeprefix("=="):
            continue
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                found = pins.get(normal(needed.name))
                assert found, f"{name} needs {line}"
                assert found.removeprefix("==") in needed.specifier, f"{name} needs {line}, found {found}"


def test_every_bound_has_its_reason():
    """In pyproject.toml: behind it on its line, or in the comment above it."""
    lines = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("\n]")[0].splitlines()
    for before, line in itertools.pairwise(lines):
        assert not line.strip() or "#" in line or before.strip().startswith("#"), line


def test_nothing_but_what_is_installed_there_is_needed(tmp_path):
    model = tiny_model(tmp_path / "tiny.onnx")
    (tmp_path / "a.png").write_bytes(picture())
    allowed = ",".join({*installed(), "edgeailite"})
    words = ["infer", str(model), str(tmp_path / "a.png"), "--save_path", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-c", RUN_ALONE, allowed, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out/a_label.png").exists()


def test_every_package_is_known_here():
    for name in installed():
        importlib.metadata.version(name)


def test_docs_name_what_there_is():
    page = (ROOT / "docs/docker.md").read_text()
    arguments = set(re.findall(r"^ARG (\w+)", TEXT, re.MULTILINE))
    named = set(re.findall(r"--build-arg (\w+)=", page))
    assert named and named <= arguments
    assert f"`DEMO_IMAGES` ({re.search(r'DEMO_IMAGES=(.+)', TEXT)[1]})" in page
    assert f"`DEMO_EPOCHS` ({re.search(r'DEMO_EPOCHS=(.+)', TEXT)[1]})" in page
    assert f"user {IMAGE.last('USER').partition(':')[0]}" in page
    commands = set(re.findall(r"image_semantic_segmentation ([a-z]\w*)", page))
    assert commands == {"init", "test", "serve", "verify"}
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / link).exists(), link


SMALL = """
# a comment
ARG WHO=world
FROM scratch-${WHO} AS first
ARG GREETING=hello
ENV NAME=$WHO-x PATH=/opt/edgeailite/bin:$PATH
WORKDIR /opt/edgeailite/here
RUN printf "%s" "$GREETING" > said && \\
    # between
    test "$(pwd)" = /opt/edgeailite/here
COPY LICENSE README.md ./
FROM unused AS other
RUN exit 1
FROM first
COPY --from=first --chown=1:1 /opt/edgeailite/here/said /models/said
RUN test -f /opt/edgeailite/here/LICENSE && test "${PATH#*/opt/edgeailite/bin}" != "$PATH"
USER 1:1
"""


def test_a_small_one_is_replayed(tmp_path):
    arguments = {"GREETING": "good day"}
    stages = replay.needed(replay.read_stages(SMALL, arguments))
    assert [(stage.name, stage.base) for stage in stages] == [("first", "scratch-world"), ("image", "first")]
    done: dict = {}
    for stage in stages:
        done[stage.name] = replay.replay(stage, done, tmp_path, arguments)
    assert (tmp_path / "image/models/said").read_text() == "good day"
    assert str(tmp_path / "image") in done["image"].variables["PATH"]
    assert not (tmp_path / "other").exists()


def test_a_step_that_fails_or_is_not_known_ends_it(tmp_path):
    (failing,) = replay.read_stages("FROM a\nRUN exit 7", {})
    with pytest.raises(subprocess.CalledProcessError):
        replay.replay(failing, {}, tmp_path, {})
    (unknown,) = replay.read_stages("FROM a\nADD x y", {})
    with pytest.raises(SystemExit, match="ADD is not known"):
        replay.replay(unknown, {}, tmp_path, {})
