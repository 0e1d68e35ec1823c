"""Every page: its commands parse, its links and anchors lead somewhere, the files it names are there."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import re
from collections.abc import Iterable

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
        rest = [word for word in words[1:] if word not in ("--cpu", "--cuda", "--list")]
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
def trees() -> tuple[ast.Module, ...]:
    """Every module of the package."""
    return tuple(ast.parse(p.read_text(encoding="utf-8")) for p in sorted((ROOT / "edgeailite").rglob("*.py")))


# Functions that make errors, and what they put before the texts that they are given.
MAKERS = {"two_files": "\0 and \0: ", "refuse": "\0: \0 ", "not_there": "\0: line \0: ", "unreadable": "\0: "}


def variables(nodes: Iterable[ast.AST], before: int) -> dict[str, ast.expr]:
    """What variables were last given before a line, also two at a time."""
    found: dict[str, ast.expr] = {}
    given = [node for node in nodes if isinstance(node, ast.Assign) and node.lineno < before]
    for node in sorted(given, key=lambda node: node.lineno):
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            found |= {name.id: value for name, value in pairs if isinstance(name, ast.Name)}
    return found


@functools.cache
def errors() -> tuple[tuple[str, str], ...]:
    """(class or maker, sentence) of every error that the package makes."""
    found = []
    for tree in trees():
        texts = {f.name: f.body[-1].value for f in tree.body if isinstance(f, ast.FunctionDef) and is_text(f)}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and node.args:
                    kind = ast.unparse(node.func)
                    if kind.endswith("Error") or kind in MAKERS:
                        names = texts | variables(tree.body, node.lineno) | variables(ast.walk(function), node.lineno)
                        found.append((kind, sentence(kind, node, names)))
    return tuple(found)


def is_text(function: ast.FunctionDef) -> bool:
    """Whether a function only returns a text."""
    return isinstance(function.body[-1], ast.Return) and not function.args.args and len(function.body) < 3


def sentence(kind: str, error: ast.Call, names: dict[str, ast.expr]) -> str:
    """The sentence that an error makes of its fields, with a mark for each value."""

    def text(node: ast.expr) -> str:
        name = node.func if isinstance(node, ast.Call) and not node.args else node  # a variable, or a function's text
        return template(names.get(name.id, node) if isinstance(name, ast.Name) else node)

    fields = {word.arg: word.value for word in error.keywords}
    fix = f"; {text(fields['fix']) or chr(0)}" if "fix" in fields else ""
    if kind == "unreadable":
        what = f"{text(fields['what'])} " if "what" in fields else ""
        return f"{MAKERS[kind]}{what}cannot be read (\0){fix}"
    if kind in MAKERS:
        return MAKERS[kind] + "; ".join(filter(None, map(text, error.args))) + fix
    start = "\0: " if "path" in fields else ""
    if "about" in fields:
        value = text(fields["value"]) if "value" in fields else ""
        start = f"--{text(fields['about']) or chr(0)} {value or chr(0)}: "
    line = "line \0: " if "line" in fields else ""
    return start + line + text(error.args[0]) + fix


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
        case ast.FormattedValue(ast.Call(ast.Attribute(ast.Name("errors"), "option"))):
            return "--\0"
    return "\0"


TROUBLE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `(.+?)`(?: \(from the shell\))? \| ", TROUBLE, re.MULTILINE)
OF_THE_SHELL = "command not found: edgeailite"


@pytest.fixture(scope="module")
def strings() -> list[str]:
    nodes = (node for tree in trees() for node in ast.walk(tree))
    texts = [template(node) for node in nodes if isinstance(node, (ast.JoinedStr, ast.Constant))]
    return texts + [text for _, text in errors()]


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
    assert any(is_written(message, text) for text in strings)


def test_many_messages_are_explained_and_an_invented_one_would_be_found(strings):
    assert len(QUOTED) > 80 and len(set(QUOTED)) == len(QUOTED)
    assert not any(is_written("…: the moon is full; wait for …", text) for text in strings)


def raised(kind: str) -> list[str]:
    """The messages of `raise kind(...)`, with a mark for each value."""
    return [text for name, text in errors() if name == kind]


@pytest.mark.parametrize("kind", ["ParityError", "NonFiniteError", "LostProcessError"])
def test_every_message_of_the_rare_kinds_is_explained(kind):
    messages = [text for text in raised(kind) if text.strip("\0: ")]
    assert messages
    assert [text for text in messages if not any(is_written(quoted, text) for quoted in QUOTED)] == []
