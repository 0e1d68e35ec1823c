"""The rooms of the package and the direction of imports between them, read from the source with ast.

Imports go down only. A new top-level module gets a row in ROOMS; that is the moment to ask where it belongs.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeailite.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "edgeailite"

ROOMS = [
    {"config", "presets"},  # 0: what a person decides
    {"models", "foreign", "data", "metrics", "distributed", "drawing", "device"},  # 1: the parts
    {"pretrained", "quantization", "runtime"},  # 2: weights, the integer part, files where they run
    {"runs"},  # 3: run folders, opening what is in them
    {"export"},  # 4: from a run to a proven file
    {"evaluation", "cost"},  # 5: what a network gives, and what it takes
    {"training", "inference", "report"},  # 6
    {"serve", "fleet"},  # 7: label as inference does
    {"commands", "cli"},  # 8
    {"__main__"},  # 9
    {"compat"},  # 10: command lines of others, over the verbs
]
# Below all of it: errors, files, values of strangers; then records, and what people read on a terminal.
GROUND = [
    {"errors", "verbs", "lazy"},
    {"files", "environment"},
    {"untrusted", "tables", "progress_lines"},
    {"preprocessing", "modelcard", "onnxfile", "download", "console", "usage"},
]
LEVEL = {room: level for level, rooms in enumerate(GROUND + ROOMS, start=-len(GROUND)) for room in rooms}

# Neighbours do not know each other, but for these.
SIDEWAYS = {
    ("modelcard", "preprocessing"),  # a card holds one
    ("presets", "config"),  # a preset is a verb's options
}
# Leaves take values, never the config they came from.
NO_CONFIG = {*ROOMS[1], *ROOMS[2], "export", "evaluation"}
# But for their files that do what a verb does: one call takes all options of the verb.
FRONT_DOORS = {
    "edgeailite/evaluation/comparison.py",
    "edgeailite/evaluation/measure.py",
    "edgeailite/export/int8_files/verify.py",
    "edgeailite/export/run.py",
    "edgeailite/export/tflite_verification.py",
    "edgeailite/export/trace/forms.py",
    "edgeailite/export/verification.py",
}

# Verbs on exported files run without these packages (tests/test_without_torch.py runs them): neither the verb nor what
# it imports may import one at once; a function may.
TRAINING = {"torch", "torchvision", "onnxscript", "onnxsim", "safetensors", "matplotlib"}
VERBS_OF_FILES = {
    "verify", "infer", "bench", "serve", "validate", "compare", "complexity", "card", "doctor", "devices_list",
    "devices_fit", "data_check", "data_split", "data_stats", "data_show", "data_get", "presets",
}  # fmt: skip

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    """The top-level module a file belongs to: edgeailite/models/layers.py is in "models"."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of the package itself, those inside functions and `if TYPE_CHECKING` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "edgeailite" and len(parts) > 1 and parts[1] != "__version__":
                yield node.lineno, parts[1]


def fault(importer: str, imported: str, *, front_door: bool = False) -> str | None:
    """Why one room may not import another; None where it may. A front door may take the config."""
    for room in (importer, imported):
        if room not in LEVEL:
            return (
                f"'{room}' is not in the table: add it to ROOMS in tests/test_architecture.py, at the level it belongs"
            )
    if importer == imported or (importer, imported) in SIDEWAYS:
        return None
    if importer in NO_CONFIG and imported in ROOMS[0] and not front_door:
        return f"'{importer}' takes values, never the config: pass what it needs"
    if LEVEL[imported] < LEVEL[importer]:
        return None
    direction = "sideways" if LEVEL[imported] == LEVEL[importer] else "up"
    return f"'{importer}' (level {LEVEL[importer]}) imports {direction}: '{imported}' (level {LEVEL[imported]})"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path):
    room = room_of(path)
    if room == "__init__":
        assert list(imports_of(path)) == [], "edgeailite/__init__.py holds the version only"
        return
    assert room in LEVEL, fault(room, room)
    door = name_of(path) in FRONT_DOORS
    faults = [(line, fault(room, imported, front_door=door)) for line, imported in imports_of(path)]
    assert not [f"{name_of(path)}:{line}: {reason}" for line, reason in faults if reason]


def names_of(path: Path) -> Iterator[str]:
    """Every module and name of the package that a file imports, with dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


VERB_FILES = sorted(path for path in (PACKAGE / "commands").glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", VERB_FILES, ids=name_of)
def test_no_verb_imports_a_verb(path):
    """And each file of `commands` is a verb: what several verbs need has a room below them."""
    assert not [name for name in names_of(path) if name.startswith("edgeailite.commands")]
    functions = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if hasattr(node, "name")]
    assert "run" in functions


def modules_at_once(path: Path) -> Iterator[str]:
    """Names with dots that a file imports when it is imported: not in functions, not `if TYPE_CHECKING`."""
    waiting: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    for node in waiting:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If):
            waiting += node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else [*node.body, *node.orelse]
        elif isinstance(node, ast.Try | ast.With):
            waiting += node.body


def files_at_once(name: str) -> Iterator[Path]:
    """The package's files that are imported with a name with dots: its packages, and itself if it is a module."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:end])
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def users_of(packages: set[str], start: Path) -> list[str]:
    """Which files, of those imported at once from `start` on, import one of these packages."""
    waiting, found = [start], []
    for path in waiting:
        names = [*modules_at_once(path)]
        found += [f"{name_of(path)}: {name}" for name in names if name.partition(".")[0] in packages]
        waiting += {file for name in names for file in files_at_once(name)} - set(waiting)
    return found


@pytest.mark.parametrize("verb", sorted(VERBS_OF_FILES))
def test_verbs_of_files_import_nothing_of_training(verb):
    assert users_of(TRAINING, PACKAGE / "commands" / f"{verb}.py") == []


# What runs on a device runs on any system: these modules and names are POSIX's. Fetching data sets locks its folder.
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "posix"}
POSIX_NAMES = {
    "fork", "getuid", "geteuid", "setsid", "killpg", "sysconf", "uname", "mkfifo", "nice", "statvfs", "fchmod",
    "sched_getaffinity", "O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "SIGKILL", "SIGHUP", "SIGUSR1",
    "SIGALRM", "setitimer", "pthread_sigmask",
}  # fmt: skip
ASKED_BEFORE = {  # by `hasattr` in the same expression, or in a `try` that takes the name's absence
    "edgeailite/data/samples.py: os.sched_getaffinity",
    "edgeailite/environment.py: os.sched_getaffinity",
    "edgeailite/serve/metrics.py: os.sysconf",
}


def posix_in(path: Path) -> set[str]:
    """What a file uses of POSIX alone when it is imported, or as `os.NAME` or `signal.NAME` anywhere."""
    found = {f"import {name}" for name in modules_at_once(path) if name.partition(".")[0] in POSIX_MODULES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in POSIX_NAMES and ast.unparse(node.value) in ("os", "signal"):
            found.add(ast.unparse(node))
    return {f"{name_of(path)}: {name}" for name in found}


def test_what_runs_on_a_device_is_not_of_posix_alone():
    waiting = [PACKAGE / "commands" / f"{verb}.py" for verb in sorted(VERBS_OF_FILES - {"data_get"})]
    waiting += [PACKAGE / "serve/server.py", PACKAGE / "export/camera.py"]  # imported when it starts; a program
    for path in waiting:
        waiting += {file for name in modules_at_once(path) for file in files_at_once(name)} - set(waiting)
    assert set().union(*map(posix_in, waiting)) == ASKED_BEFORE
    assert posix_in(PACKAGE / "download.py") == {"edgeailite/download.py: import fcntl"}


def test_the_rule_about_training_itself():
    assert any(row.endswith(": torch") for row in users_of(TRAINING, PACKAGE / "commands/train.py"))
    assert {row.module for row in VERBS.values()} >= VERBS_OF_FILES


def test_verbs_stay_thin():
    """Parse, call, print."""
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in VERB_FILES]
    assert sum(lines) <= 3500 and len(lines) <= 28 and max(lines) <= 300


def test_the_rule_itself():
    assert fault("training", "models") is None
    assert fault("export", "quantization") is None
    assert "sideways" in str(fault("models", "data"))
    assert "up" in str(fault("quantization", "export"))
    assert "takes values" in str(fault("data", "config"))
    assert fault("export", "config", front_door=True) is None
    assert "add it to ROOMS" in str(fault("novelty", "models"))


def test_importing_the_package_is_only_the_version():
    """And `os`, for a variable that must be set before onnxruntime is loaded."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import os"]


def test_files_say_what_they_are():
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py"}
    assert not [name_of(path) for path in FILES if path.name in vague]


def test_files_stay_readable():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES}


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_stay_readable():
    lengths = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in FILES
        for node in functions_of(path)
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}


def test_sha256_and_temporary_files_have_one_place():
    for pattern in (r"hashlib\.(sha256|new)", r"file_digest\([^)]*sha256", r"\"\.partial\"", r"os\.replace\("):
        found = [name_of(path) for path in FILES if re.search(pattern, path.read_text(encoding="utf-8"))]
        assert set(found) <= {"edgeailite/files.py"}, pattern


# --- an option in a message is written with `errors.option`, for Python has no flags

# What parses or explains a command line, or is one. Texts of options in config may name others; its messages may not.
SPEAKS_FLAGS = {"__main__", "cli", "usage", "verbs", "commands", "compat", "presets"}
WRITES_COMMANDS = {
    "edgeailite/export/bundle.py",
    "edgeailite/export/camera.py",
    "edgeailite/errors.py",
    "edgeailite/report/reproduce.py",
}
OF_OTHERS = {
    "git": {"--abbrev", "--always", "--dirty", "--exclude"},
    "torchrun": {"--max-restarts", "--nproc-per-node", "--rdzv-id", "--standalone"},
    "curl": {"--data-binary"},
    "vela": {"--accelerator-config", "--config", "--memory-mode", "--output-dir", "--system-config"},
}
FLAG = re.compile(r"(?<![\w-])--[A-Za-z][\w-]*")
QUOTED_COMMAND = re.compile(r"\bedgeailite [a-z][^`]*")  # as it is typed, whoever reads it


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every string, docstrings included, but for the help of a config's fields and its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    if room_of(path) == "config":
        inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "help"]
        inside |= {id(part) for node in calls for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def flags_in(text: str) -> set[str]:
    return set(FLAG.findall(QUOTED_COMMAND.sub("", text))) - set().union(*OF_OTHERS.values())


def test_below_the_verbs_nobody_names_a_flag():
    paths = [path for path in FILES if room_of(path) not in SPEAKS_FLAGS and name_of(path) not in WRITES_COMMANDS]
    found = [f"{name_of(path)}:{line}: {flags_in(text)}" for path in paths for line, text in texts_of(path)]
    assert not [row for row in found if not row.endswith("set()")], "write errors.option(name) in messages"


def test_the_rule_about_flags_itself():
    assert flags_in("opset 3; give --opset 17") == {"--opset"}
    assert flags_in("lower --nproc-per-node, or run `edgeailite export RUN --opset 17`, not --x") == {"--x"}
    assert flags_in("a -- b --- c") == set()


def written_files() -> list[Path]:
    """What people write and read here; environments, data and results are not."""
    folders = ["edgeailite", "tests", "tools", "docs", "references", "examples", "benchmarks", ".ci", "data"]
    suffixes = {".py", ".sh", ".md", ".toml", ".yaml", ".yml", ".html", ""}
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*") if "datasets" not in path.parts]
    return [path for path in [*ROOT.glob("*.*"), *inside] if path.is_file() and path.suffix in suffixes]


def test_no_path_of_somebodys_machine():
    homes = r"(?<![\w./~])/(?:home|Users)/\w+|[A-Z]:\\Users\\"
    here = {str(Path(sys.prefix)), str(ROOT), f"{ROOT.parent}/"} - {"/", "//", "/tmp/", "/usr", "/usr/local"}
    pattern = re.compile("|".join([homes, *(rf"(?<![\w.]){re.escape(path)}" for path in here)]))
    found = [
        f"{name_of(path)}: {match.group()}"
        for path in written_files()
        if path != Path(__file__).resolve()
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found
