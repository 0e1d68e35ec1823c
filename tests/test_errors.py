"""Errors carry fields, and nothing in the package reads what a sentence of ours says."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeailite import errors
from edgeailite.data.check.findings import CAUSES, CODES
from edgeailite.data.sets.folder_values import UnclearLabelsError
from edgeailite.distributed import lost_process
from edgeailite.errors import DataError, EdgeailiteError, UsageError
from edgeailite.files import read_regular, unreadable, unwritable, write_result
from edgeailite.untrusted import Fields, json_value

PACKAGE = Path(errors.__file__).parent
# Codes of data sets that are opened, and checked, as a whole.
OF_DATA = {"gaps", "palettes-differ", "not-two-classes", "too-few-classes", "too-many-classes", "too-few-pictures"}


# --- fields


def test_sentence_is_made_of_the_fields():
    error = DataError("no picture b", path=Path("l.txt"), line=3, fix="take it out", code="missing-file", value="b")
    assert str(error) == "l.txt: line 3: no picture b; take it out"
    assert error.detail == "line 3: no picture b; take it out"
    assert (error.path, error.line, error.value, error.code) == (Path("l.txt"), 3, "b", "missing-file")


def test_sentence_names_two_files():
    error = DataError("two files of one name", other="a.png", path="b.png", fix="remove one")
    assert str(error) == "a.png and b.png: two files of one name; remove one"


def test_sentence_names_the_option_as_its_caller_writes_it(monkeypatch):
    monkeypatch.setattr(errors, "_DASHES", "")
    error = UsageError("expected train or val", about="split", value="tset", known=("train", "val"))
    assert str(error) == "split tset: expected train or val"
    errors.spell_options_as_flags()
    assert str(UsageError("expected 2", about="opset", value=1)) == "--opset 1: expected 2"


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgeailiteError)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_sentence_stays_as_it_is(kind):
    error = kind("a.png: 3 labels; remove one")
    assert (str(error), error.path, error.line, error.fix) == ("a.png: 3 labels; remove one", None, None, "")


def test_fields_go_from_process_to_process():
    error = DataError("odd", path="a", other="b", line=2, value=3, fix="mend it", code="odd", known=("x",))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), vars(again)) == (str(error), vars(error))
    unclear = UnclearLabelsError("gaps", label_map={3: "a"}, path="masks")
    again = pickle.loads(pickle.dumps(unclear))  # noqa: S301
    assert (str(again), again.label_map, again.path) == ("masks: gaps", {3: "a"}, "masks")


def test_readers_of_strangers_values_fill_the_fields():
    with pytest.raises(DataError) as caught:
        Fields.of({"size": 3}, where="card").whole("size", 4, 8)
    assert (caught.value.path, caught.value.value, caught.value.code) == ("card", 3, "unexpected-value")
    with pytest.raises(DataError) as caught:
        Fields.of({}, where="card").text("name")
    assert caught.value.code == "missing-value"
    with pytest.raises(DataError) as caught:
        json_value("{", where="a.json")
    assert (caught.value.path, caught.value.code) == ("a.json", "not-json")


def test_errors_of_files_tell_their_reasons_apart(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    found = {}
    for name in ("nothing", "loop", "folder"):
        with pytest.raises(OSError) as caught:
            read_regular(tmp_path / name, limit=10)
        error = unreadable(tmp_path / name, caught.value, what="list", fix="add it")
        found[name] = error.code
        assert str(error) == f"{tmp_path / name}: list cannot be read ({caught.value.strerror}); add it"
    assert found == {"nothing": "missing-file", "loop": "link-loop", "folder": "unreadable"}
    assert unwritable("a", OSError(28, "No space left"), fix="free some").code == "unwritable"


def test_result_that_cannot_be_written_names_the_option(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "_DASHES", "")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be written .*; choose another output$") as caught:
        write_result(tmp_path / "file" / "below.json", "{}", "output")
    assert caught.value.path == tmp_path / "file" / "below.json"


def test_lost_process_is_known_by_torchs_words():
    assert lost_process(RuntimeError("[../gloo/transport/tcp/pair.cc:525] Connection closed by peer"))
    assert not lost_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def keywords_of_errors() -> Iterator[dict[str, ast.expr]]:
    """Keywords of every call in the package that has a code."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                given = {word.arg: word.value for word in node.keywords if word.arg}
                if "code" in given:
                    yield given


def texts_in(node: ast.expr) -> set[str]:
    return {word.value for word in ast.walk(node) if isinstance(word, ast.Constant) and isinstance(word.value, str)}


def listed_codes() -> set[str]:
    """Codes of the table in the docstring of `errors`: the words before two spaces."""
    rows = [line.strip() for line in errors.__doc__.splitlines() if line.startswith("    ")]
    return {code for row in rows for code in re.split(r"\s{2,}", row)[0].split(", ")}


def test_codes_are_in_the_table_and_the_table_in_use():
    used = {code for given in keywords_of_errors() for code in texts_in(given["code"])} - {""}
    assert [code for code in used if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", code)] == []
    assert used - CODES.keys() - CAUSES.keys() - listed_codes() == OF_DATA
    assert listed_codes() <= used | {"missing-file", "unreadable"}  # chosen by number in `files.unreadable`


def test_unknown_names_come_with_those_that_are_known():
    unknown = [given for given in keywords_of_errors() if "unknown-name" in texts_in(given["code"])]
    assert len(unknown) > 5
    assert all("known" in given and "value" in given for given in unknown)


# --- nothing reads a sentence

READING = {
    "startswith", "endswith", "partition", "rpartition", "removeprefix", "removesuffix", "find", "rfind", "index",
    "rindex", "count", "split", "rsplit", "replace", "search", "match", "fullmatch", "findall", "finditer", "sub",
}  # fmt: skip
COMPARING = (ast.In, ast.NotIn, ast.Eq, ast.NotEq)
SENTENCES = {"args", "problem", "detail", "fix", "message", "if_often"}  # attributes of errors and of findings
# Functions that read what others wrote, and whose words they are.
OTHERS_WORDS = {
    "cli.py _one_line": "tyro's message, in a box",
    "__main__.py reporting": "torch's RuntimeError for too little memory",
    "export/to_onnx.py _in_opset": "onnx's RuntimeError for an opset, which begins with places in its source",
    "data/loader.py lost_worker": "torch's RuntimeError for a loader process that is gone",
    "distributed.py lost_process": "gloo's RuntimeError for a process that is gone",
    "pretrained/reading.py _first_line": "torch's and safetensors' errors of damaged files",
    "pretrained/reading.py _refused": "torch's UnpicklingError, which names the type only in words",
    "runtime/failures.py reason_of": "onnxruntime's errors, which begin with places in its source",
    "serve/errors.py shortage": "OpenCV's and onnxruntime's errors for too little memory",
    "training/loop.py _failures_told": "torch's RuntimeError for too little memory",
}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def names_of_errors(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Variables that hold an error: of an `except`, and parameters with such a type."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    typed = {a.arg for a in given if a.annotation and re.search(r"Error|Exception", ast.unparse(a.annotation))}
    return typed | {node.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.name}


def readings(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Expressions that look into the sentence of an error, or of a finding."""
    caught = names_of_errors(function)
    texts = {a.arg for a in function.args.args if a.arg in ("message", "sentence")}

    def is_text(node: ast.AST) -> bool:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("str", "repr", "first_line")
        ):
            return any(isinstance(value, ast.Name) and value.id in caught for value in node.args)
        if isinstance(node, ast.Attribute) and node.attr in SENTENCES:
            named = isinstance(node.value, ast.Name) and node.value.id in caught
            return named or node.attr in ("message", "if_often", "detail")
        return isinstance(node, ast.Name) and node.id in texts

    def holds(*nodes: ast.AST) -> bool:
        return any(is_text(part) for node in nodes for part in ast.walk(node))

    for _ in range(3):  # variables made of a sentence, and of those
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and holds(node.value):
                texts |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READING:
            whitespace = node.func.attr == "split" and not node.args
            if not whitespace and holds(node.func.value, *node.args):
                yield ast.unparse(node)
        compared = isinstance(node, ast.Compare) and any(isinstance(operator, COMPARING) for operator in node.ops)
        if compared and holds(node.left, *node.comparators):
            yield ast.unparse(node)


def test_nothing_reads_a_sentence_of_ours():
    found: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
            if read := list(readings(function)):
                found[f"{path.relative_to(PACKAGE).as_posix()} {function.name}"] = read
    ours = {place: read for place, read in found.items() if place not in OTHERS_WORDS}
    assert ours == {}, "give the error a field and read that; for words of another library, say so in OTHERS_WORDS"
    assert set(OTHERS_WORDS) <= set(found), "an entry of OTHERS_WORDS reads nothing any more"


CAUGHT = "    try:\n        f()\n    except DataError as error:\n        "


@pytest.mark.parametrize(
    "body",
    [
        f"{CAUGHT}return 'missing' in str(error)\n",
        f"{CAUGHT}text = str(error)\n        return PATTERN.search(text)\n",
        f"{CAUGHT}return error.args[0].partition(': ')\n",
        "    return finding.message.startswith('no')\n",
    ],
)
def test_the_rule_itself(body):
    assert list(readings(next(functions(ast.parse(f"def read(finding):\n{body}")))))
    assert not list(readings(next(functions(ast.parse("def read(error: DataError):\n    return error.code == 'x'\n")))))
