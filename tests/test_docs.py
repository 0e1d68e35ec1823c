"""Every page: its commands parse, its links and anchors lead somewhere, the files it names are there."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import re

import pytest

from edgeailite import config as configs
from edgeailite.cli import parse
from edgeailite.compat import ade20k_reading, pixel2pixel
from edgeailite.compat.running import check_known
from edgeailite.presets import PRESETS, expand
from edgeailite.verbs import VERBS
from tests.markdown import PAGES, ROOT, anchors, blocks, commands, inline, links

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
RUN_SCRIPT = "./run_edgeailite_segmentation.sh"


def verb_of(words: list[str]) -> tuple[str, list[str]]:
    """`data check --x 1` -> ("data check", ["--x", "1"])."""
    both = " ".join(words[:2])
    return (both, words[2:]) if both in VERBS else (words[0], words[1:])


def ours(words: list[str]) -> list[str] | None:
    """The words behind `edgeailite` of a command that starts this package, else None."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    for head in (["edgeailite"], ["python", "-m", "edgeailite"], ["$", "edgeailite"]):
        if words[: len(head)] == head:
            return words[len(head) :]
    if words and words[0] == "torchrun" and "edgeailite" in words:
        return words[words.index("edgeailite") + 1 :]
    if words and words[0] == RUN_SCRIPT:
        rest = [word for word in words[1:] if word not in ("--cpu", "--list")]
        return ["preset", *rest] if rest and rest != ["PRESET"] else ["demo"]
    return None


SHOWN = [(name, words) for name, page in zip(NAMES, PAGES, strict=True) for words in commands(page)]
OURS = [(name, found) for name, words in SHOWN if (found := ours(words))]
SCRIPTS = [(name, words) for name, words in SHOWN if words[0] in ("python", "bash") or words[0].startswith("tools/")]


@pytest.mark.parametrize("name, words", OURS, ids=[f"{name}: {' '.join(words)}" for name, words in OURS])
def test_command_parses(name, words):
    if words[0] == "preset":
        verb, rest = expand([word for word in words[1:] if word not in ("[flags]",)])
    else:
        verb, rest = verb_of(words)
    group = [known for known in VERBS if known.startswith(f"{verb} ")]
    if (group and not rest) or verb in ("--help", "--version") or "--help" in rest:
        assert group or verb.startswith("--") or verb in VERBS
        return
    parse(verb, [word for word in rest if word != "VERB"])


def test_commands_were_found_on_the_pages_that_live_by_them():
    shown = {name for name, _ in OURS}
    assert {"README.md", "docs/first_model.md", "docs/own_data.md", "docs/deploy.md", "docs/parity.md"} <= shown


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_the_text_name_verbs_and_flags_that_exist(name):
    for words in (code.split() for code in inline(ROOT / name) if code.startswith("edgeailite ")):
        verb, rest = verb_of(words[1:])
        if verb in ("VERB", "preset") or verb.startswith("--") or any(v.startswith(f"{verb} ") for v in VERBS):
            continue
        assert verb in VERBS, words
        known = {field.name for field in dataclasses.fields(getattr(configs, VERBS[verb].config))} | {"help", "config"}
        flags = {word[2:].split("=")[0] for word in rest if word.startswith("--")}
        assert flags <= known, words


@pytest.mark.parametrize("name, words", SCRIPTS, ids=[f"{name}: {' '.join(words)}" for name, words in SCRIPTS])
def test_script_exists_and_knows_its_flags(name, words):
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), words
        return
    script = next((word for word in words if word.endswith((".py", ".sh"))), None)
    if script is None or not script.startswith(("tools/", "benchmarks/", "references/")):
        return
    assert (ROOT / script).is_file(), words
    published = script.startswith("references/")
    if published and "ade20k" in script:
        ade20k_reading.read(script.split("/")[-1][:-3], [word for word in words[2:] if "--cfg" not in word])
    elif published:
        check_known(pixel2pixel.read(script.split("/")[-1][:-3], words[2:]))
    elif script.endswith(".py"):
        text = (ROOT / script).read_text(encoding="utf-8")
        flags = [word[2:] for word in words[2:] if word.startswith("--")]
        assert [flag for flag in flags if flag not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    lost = []
    for link in links(ROOT / name):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("name", NAMES)
def test_files_named_in_the_text_exist(name):
    pattern = re.compile(
        r"(?:docs|data|tools|benchmarks|references|tests|edgeailite)/[\w./]+\.(?:md|py|sh|json)|[A-Z]+\.md"
    )
    named = {code for code in inline(ROOT / name) if pattern.fullmatch(code) and "/x/" not in code}  # x: any name
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("docs/")])
def test_every_page_is_in_the_index(name):
    if name != "docs/README.md":
        assert name.removeprefix("docs/") in {link.split("#")[0] for link in links(ROOT / "docs/README.md")}


@pytest.mark.parametrize("name", NAMES)
def test_python_in_the_pages_compiles(name):
    for block in blocks(ROOT / name):
        if block.language == "python" and name != "docs/api.md":
            compile(block.text, f"{name}:{block.line}", "exec")


def test_presets_named_in_the_text_exist():
    for name in NAMES:
        for words in (code.split() for code in inline(ROOT / name)):
            if words[:2] == ["edgeailite", "preset"] and len(words) > 2 and not words[2].isupper():
                assert words[2] in PRESETS, (name, words)


# --- troubleshooting


@functools.cache
def nodes() -> tuple[ast.AST, ...]:
    """Every string, error and `raise` of the package."""
    paths = sorted((ROOT / "edgeailite").rglob("*.py"))
    found = (node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(node for node in found if isinstance(node, (ast.JoinedStr, ast.Constant, ast.Raise)) or is_error(node))


def is_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error") and bool(node.args)


def sentence(error: ast.Call) -> str:
    """The sentence that an error makes of its fields, with a mark for each value."""
    fields = {word.arg: word.value for word in error.keywords}
    start = "\0: " if "path" in fields else ""
    if "about" in fields:
        start = f"--{template(fields['about'])} \0: "
    line = "line \0: " if "line" in fields else ""
    fix = f"; {template(fields['fix']) or chr(0)}" if "fix" in fields else ""
    return start + line + template(error.args[0]) + fix


def template(node: ast.AST) -> str:
    """A string as it is written, with a mark where a value is put in; "" for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else put_in(v) for v in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def put_in(value: ast.expr) -> str:
    """A value in a string: an option as the command line writes it, else a mark."""
    match value:
        case ast.FormattedValue(ast.Call(ast.Name("option"), [ast.Constant(name)])):
            return f"--{name}"
    return "\0"


TROUBLE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `(.+?)`(?: \(from the shell\))? \| ", TROUBLE, re.MULTILINE)
OF_THE_SHELL = "command not found: edgeailite"


@pytest.fixture(scope="module")
def strings() -> list[str]:
    texts = [template(node) for node in nodes() if isinstance(node, (ast.JoinedStr, ast.Constant))]
    return texts + [sentence(node) for node in nodes() if isinstance(node, ast.Call)]


def is_written(message: str, text: str) -> bool:
    """Are the message's fixed parts in the text, in this order, with values or nothing else between them?"""
    parts = [part for part in message.replace("……", "…\\…").split("…") if part.strip(" :;,()\\.")]
    at = 0
    for part in parts:
        at = text.find(part.replace("\\", "").strip(), at)
        if at < 0:
            return False
        at += len(part.strip())
    return bool(parts)


@pytest.mark.parametrize("message", [m for m in QUOTED if m != OF_THE_SHELL])
def test_message_is_one_of_ours(message, strings):
    """Whole, or clause by clause: an error's sentence is made of its file, its problem and its fix."""
    whole = any(is_written(message, text) for text in strings)
    assert whole or all(any(is_written(clause, text) for text in strings) for clause in clauses(message))


def clauses(message: str) -> list[str]:
    """What stands between semicolons, without file, line and dashes of options, which are put in elsewhere."""
    start = re.sub(r"^((… and )?…: )?(line …: )?", "", message)
    parts = [re.sub(r"--[\w…]+", "…", part) for part in start.split("; ")]
    return [part for part in parts if part.strip(" :;,()\\.…")]


def test_many_messages_are_explained_and_an_invented_one_would_be_found(strings):
    assert len(QUOTED) > 80 and len(set(QUOTED)) == len(QUOTED)
    invented = "…: the moon is full; wait for …"
    assert not any(is_written(invented, text) for text in strings)
    assert not any(is_written(clauses(invented)[0], text) for text in strings)


def raised(kind: str) -> list[str]:
    """The messages of `raise kind(...)`, with a mark for each value."""
    calls = [node.exc for node in nodes() if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return [sentence(call) for call in calls if ast.unparse(call.func) == kind]


@pytest.mark.parametrize("kind", ["ParityError", "NonFiniteError", "LostProcessError"])
def test_every_message_of_the_rare_kinds_is_explained(kind):
    messages = [text for text in raised(kind) if text.strip("\0: ")]
    assert messages
    assert [text for text in messages if not any(is_written(quoted, text) for quoted in QUOTED)] == []
