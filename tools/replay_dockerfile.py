"""Goes through the Dockerfile without Docker: its RUN and COPY steps in a clean folder, then what the image is for.

    python tools/replay_dockerfile.py /tmp/image --build-arg DEMO_IMAGES=8 --build-arg DEMO_EPOCHS=1

Each stage gets a folder FOLDER/STAGE that stands for its root: the paths below `PLACES` are put there, everything else
is this machine's, and so is python3. Only the stages that the last one needs are made, as BuildKit does. Then the entry
point answers `ready`, labels a picture over HTTP and by `test --imgs`, and ends on SIGTERM. Prints seconds of steps and
megabytes of the result. No isolation: the steps run as you, with your network. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("/opt/edgeailite", "/models")
SILENT = ("EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "USER", "ENTRYPOINT", "CMD")  # nothing to do while building


@dataclass(frozen=True)
class Step:
    """One instruction, its continued lines joined."""

    word: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """FROM to the next FROM. `base` is an image or the name of an earlier stage."""

    name: str
    base: str
    steps: tuple[Step, ...]

    def last(self, word: str) -> str:
        """What the last instruction of this kind says, "" where there is none."""
        return next((step.rest for step in reversed(self.steps) if step.word == word), "")


@dataclass
class Built:
    """A stage that was replayed: where its root is, and its environment."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "/"


def read_steps(text: str) -> Iterator[Step]:
    """The instructions of a Dockerfile; comment lines may stand anywhere."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in lines:
        while line.endswith("\\"):
            line = line[:-1].rstrip() + " " + next(lines).strip()
        word, _, rest = line.partition(" ")
        yield Step(word.upper(), rest.strip())


def read_stages(text: str, arguments: Mapping[str, str]) -> list[Stage]:
    """All stages in order; names in FROM are filled in from `arguments` and the ARGs before the first FROM."""
    known: dict[str, str] = {}
    stages: list[tuple[str, str, list[Step]]] = []
    for step in read_steps(text):
        if step.word == "FROM":
            base, _, name = expanded(step.rest, known | arguments).partition(" AS ")
            stages.append((name or "image", base, []))
        elif stages:
            stages[-1][2].append(step)
        else:
            name, _, value = step.rest.partition("=")
            known[name] = value
    return [Stage(name, base, tuple(steps)) for name, base, steps in stages]


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """$NAME and ${NAME} filled in; what is not known is empty."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: variables.get(found[1] or found[2], ""), text)


def needed(stages: list[Stage]) -> list[Stage]:
    """The last stage and those it comes from, in order."""
    by_name = {stage.name: stage for stage in stages}
    wanted, todo = set(), [stages[-1]]
    while todo:
        stage = todo.pop()
        wanted.add(stage.name)
        sources = [stage.base, *re.findall(r"--from=(\S+)", " ".join(step.rest for step in stage.steps))]
        todo += [by_name[source] for source in sources if source in by_name]
    return [stage for stage in stages if stage.name in wanted]


def placed(text: str, root: Path) -> str:
    """Paths of the image as paths below this root."""
    return re.sub(rf"(?<![\w/.])(?=(?:{'|'.join(PLACES)})\b)", str(root), text)


def replay(stage: Stage, done: dict[str, Built], folder: Path, arguments: Mapping[str, str]) -> Built:
    """Go through a stage's steps. Raises CalledProcessError where one fails."""
    root = folder / stage.name
    base = done.get(stage.base)
    built = Built(root, dict(base.variables) if base else {}, base.folder if base else "/")
    if base:
        shutil.copytree(base.root, root, symlinks=True)
        built.variables = {name: value.replace(str(base.root), str(root)) for name, value in base.variables.items()}
    root.mkdir(parents=True, exist_ok=True)
    for step in stage.steps:
        begin = time.monotonic()
        if step.word == "ARG":
            name, equals, default = step.rest.partition("=")
            if equals or name in arguments:
                built.variables[name] = arguments.get(name, default)
        elif step.word == "ENV":
            for pair in shlex.split(step.rest):
                name, _, value = pair.partition("=")
                built.variables[name] = placed(expanded(value, os.environ | built.variables), root)
        elif step.word == "WORKDIR":
            built.folder = step.rest
            Path(placed(step.rest, root)).mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            copy(step.rest, built, done)
        elif step.word == "RUN":
            run(step.rest, built)
            print(f"{stage.name:<12} {time.monotonic() - begin:6.1f} s  RUN {step.rest[:90]}", flush=True)
        elif step.word not in SILENT:
            raise SystemExit(f"error: Dockerfile: {step.word} is not known to this replay; add it here")
    return built


def copy(words: str, built: Built, done: Mapping[str, Built]) -> None:
    """COPY of files and folders, from the checkout or from an earlier stage; owners stay yours."""
    names = shlex.split(words)
    flags = dict(name[2:].split("=") for name in names if name.startswith("--"))
    *sources, target = [name for name in names if not name.startswith("--")]
    to = Path(placed(str(Path(built.folder) / target), built.root))
    into = target.endswith("/") or len(sources) > 1
    for name in sources:
        source = Path(placed(name, done[flags["from"]].root)) if "from" in flags else ROOT / name
        end = to / source.name if into and source.is_file() else to
        end.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, end, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        else:
            shutil.copy2(source, end)


def run(command: str, built: Built) -> None:
    """RUN, by sh as in Docker; only root can give a folder away."""
    shell = placed(command, built.root)
    if os.geteuid() != 0:
        shell = f"chown() {{ :; }}; {shell}"
    subprocess.run(["sh", "-ec", shell], cwd=placed(built.folder, built.root), env=environment(built), check=True)


def environment(built: Built) -> dict[str, str]:
    """The stage's variables over the few of this machine that a fresh image would have, and pip's settings."""
    kept = ("PATH", "LANG", "HOME", "SSL_CERT_FILE", "TMPDIR", "OMP_NUM_THREADS")
    own = {name: value for name, value in os.environ.items() if name in kept or name.startswith("PIP_")}
    return own | built.variables


def entry(stage: Stage, built: Built, *words: str) -> list[str]:
    """The entry point with a command, or with CMD."""
    given = words or json.loads(stage.last("CMD"))
    return [placed(word, built.root) for word in json.loads(stage.last("ENTRYPOINT"))] + list(given)


def use(stage: Stage, built: Built, folder: Path, port: int) -> None:
    """Serve until ready, label over HTTP and by `test --imgs`, stop. Raises where anything is not as it should be."""
    root = built.root
    variables = environment(built) | {"PORT": str(port), "MODELS": f"{root}/models", "HOME": str(folder)}
    variables |= {"BUILT_IN": f"{root}/opt/edgeailite/model", "MPLCONFIGDIR": str(folder), "PYTHONNOUSERSITE": "1"}
    picture = root / "opt/edgeailite/model/test.png"
    if not picture.exists():
        picture = ROOT / "docs/serve_phone.png"
    begin = time.monotonic()
    server = subprocess.Popen(entry(stage, built), cwd=folder, env=variables)
    try:
        health = [placed(word, root) for word in json.loads(stage.last("HEALTHCHECK").partition("CMD ")[2])]
        while subprocess.run(health, cwd=folder, env=variables, capture_output=True, check=False).returncode:
            if server.poll() is not None or time.monotonic() - begin > 300:
                raise SystemExit("error: the service did not become ready")
            time.sleep(1)
        print(f"ready after {time.monotonic() - begin:.1f} s")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/predict?output=json", data=picture.read_bytes())
        with urllib.request.urlopen(request, timeout=60) as answer:
            print(f"POST /predict: {answer.status}, {len(answer.read())} bytes")
        server.send_signal(signal.SIGTERM)
        print(f"SIGTERM: exit code {server.wait(60)}")
    finally:
        server.kill()
    command = entry(stage, built, "test", "--imgs", str(picture), "--result", str(folder / "result"))
    subprocess.run(command, cwd=folder, env=variables, check=True)
    print("test --imgs:", *sorted(path.name for path in (folder / "result").iterdir()))
    if server.returncode:
        raise SystemExit(f"error: the service ended with {server.returncode} on SIGTERM")


def megabytes(folder: Path) -> float:
    """Size of all files below, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def main() -> int:
    """Replay, use, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--port", type=int, default=8099, help="where the service is tried")
    options = parser.parse_args()
    arguments = dict(pair.partition("=")[::2] for pair in options.build_arg)
    options.folder.mkdir(parents=True)
    folder = options.folder.resolve()
    stages = needed(read_stages((ROOT / "Dockerfile").read_text(), arguments))
    done: dict[str, Built] = {}
    begin = time.monotonic()
    for stage in stages:
        done[stage.name] = replay(stage, done, folder, arguments)
    image = done[stages[-1].name]
    print(f"steps took {time.monotonic() - begin:.0f} s; {megabytes(image.root):.0f} MB over the base image")
    if (image.root / "opt/edgeailite/model/model.onnx").exists():
        (folder / "tmp").mkdir()
        use(stages[-1], image, folder / "tmp", options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
