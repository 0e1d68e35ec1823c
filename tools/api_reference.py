"""docs/api.md from the docstrings: `python tools/api_reference.py` writes it, `--print` shows it.

The sources are read, not imported (`ast`): signatures stand as they were written, and nothing has to be installed. What
is public is what a package's `__all__` names, or in a single module every function and class without an underscore.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/api.md"
WIDTH = 100
EXAMPLE = re.compile(r"^>>> (?:.+\n?)*.", re.MULTILINE)  # up to an empty line

# module: what a reader comes for
MODULES: dict[str, str] = {
    "edgeailite.models": "networks by name",
    "edgeailite.pretrained": "weights from files",
    "edgeailite.data": "data sets by name",
    "edgeailite.preprocessing": "from a picture to the input",
    "edgeailite.training": "training, calibrating and analysing runs",
    "edgeailite.training.losses": "losses",
    "edgeailite.metrics": "confusion matrices and scores",
    "edgeailite.evaluation": "from a predictor and a split to numbers",
    "edgeailite.foreign": "networks from elsewhere",
    "edgeailite.quantization": "int8 networks",
    "edgeailite.export": "ONNX files",
    "edgeailite.runs.describe": "cards for files from elsewhere",
    "edgeailite.export.parity": "the proof",
    "edgeailite.export.agreement": "how near two answers are",
    "edgeailite.runtime": "files at work, contracts",
    "edgeailite.data.check": "the doctor of data sets",
    "edgeailite.inference.label": "labelling pictures, folders and videos",
    "edgeailite.cost": "what a network costs",
    "edgeailite.cost.count": "the cost of a named network, a run or a file",
    "edgeailite.cost.choice": "networks within a budget",
    "edgeailite.cost.devices": "estimated times",
    "edgeailite.cost.latency": "measured times",
    "edgeailite.runs": "opening runs, checkpoints and files",
    "edgeailite.runs.checkpoint": "checkpoints",
    "edgeailite.runs.folder": "run folders",
    "edgeailite.report.write": "the report of a run",
    "edgeailite.modelcard": "what goes with weights",
    "edgeailite.download": "fetching files",
    "edgeailite.errors": "errors and exit codes",
}

# What a person wants to do: the calls for it, as module and name.
TASKS: dict[str, tuple[tuple[str, str], ...]] = {
    "Look at a data set": (("edgeailite.data", "open_dataset"), ("edgeailite.data.check", "check_dataset")),
    "Choose a network, count its cost": (
        ("edgeailite.models", "list_models"),
        ("edgeailite.models", "create_model"),
        ("edgeailite.cost.choice", "choose"),
        ("edgeailite.cost.count", "count"),
    ),
    "Train, resume, or try a dry run": (("edgeailite.training", "train"),),
    "Quantize": (
        ("edgeailite.training", "calibrate_run"),
        ("edgeailite.training", "quantize_run"),
        ("edgeailite.training", "analyze_run"),
    ),
    "Open a run, a checkpoint or a file": (("edgeailite.runs", "open_model"), ("edgeailite.runtime", "load_onnx")),
    "Export, prove, re-check": (
        ("edgeailite.export", "export_run"),
        ("edgeailite.export", "verify_run"),
        ("edgeailite.export", "trace_forms"),
        ("edgeailite.runtime", "recheck"),
    ),
    "Measure accuracy": (("edgeailite.evaluation", "validate"), ("edgeailite.evaluation", "compare")),
    "Label a picture, a folder, a video": (
        ("edgeailite.inference.label", "label_picture"),
        ("edgeailite.inference.label", "label_inputs"),
    ),
    "Report": (("edgeailite.report.write", "write_report"),),
    "Quantize a network of your own": (
        ("edgeailite.foreign", "read_onnx"),
        ("edgeailite.foreign", "read_module"),
        ("edgeailite.quantization", "prepare"),
        ("edgeailite.quantization", "calibrate"),
        ("edgeailite.quantization", "integer_exact"),
        ("edgeailite.export", "to_onnx"),
    ),
}

TOP = """# API reference

Made from the docstrings by `python tools/api_reference.py`; a test compares. Everything is a plain function or a
frozen record. The command line is made of the same functions: a verb's file in `edgeailite/commands/` shows how they
are joined. What is not listed here may change without notice.
"""


def page() -> str:
    """The whole page."""
    links = "\n".join(f"- [`{module}`](#{module.replace('.', '')}): {about}" for module, about in MODULES.items())
    parts = [TOP.strip(), "## By task", tasks(), "## By module", links, *(section(module) for module in MODULES)]
    return "\n\n".join(parts) + "\n"


def tasks() -> str:
    """A row per task: the calls, with links to their modules, and the first line of each docstring."""
    rows = []
    for task, calls in TASKS.items():
        cells = []
        for module, name in calls:
            node, _ = find(module, name)
            first = docstring(node).split("\n\n")[0].replace("\n", " ")  # type: ignore[arg-type]
            cells.append(f"[`{name}`](#{module.replace('.', '')}): {first}")
        rows.append(f"**{task}**\n\n" + "\n".join(f"- {cell}" for cell in cells))
    return "\n\n".join(rows)


def section(module: str) -> str:
    """A module: its docstring, then every public name."""
    tree = parsed(module)
    parts = [f"## `{module}`", docstring(tree)]
    parts += [entry(name, *find(module, name)) for name in public_names(tree)]
    return "\n\n".join(part for part in parts if part)


def public_names(tree: ast.Module) -> list[str]:
    """What `__all__` names, else functions and classes without an underscore."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def find(module: str, name: str) -> tuple[ast.stmt, str]:
    """The statement that defines a name, followed through imports, and the module where it stands."""
    body = parsed(module).body
    late = [node for block in body if isinstance(block, ast.If) for node in block.body]  # `if TYPE_CHECKING:`
    for node in [*body, *late]:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return node, module
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node, module
    raise LookupError(f"{module}: {name} is public, but defined nowhere")


def entry(name: str, node: ast.stmt, module: str) -> str:
    """A name: how it is written, and what its docstring says."""
    if isinstance(node, ast.FunctionDef):
        return f"### {name}\n\n{code(signature(node))}\n\n{docstring(node)}"
    if isinstance(node, ast.ClassDef):
        parts = [f"### {name}", code(class_head(node)), docstring(node), methods(node)]
        return "\n\n".join(part for part in parts if part)
    return "\n\n".join(part for part in (f"### {name}", code(constant(node)), comment_above(node, module)) if part)


def signature(node: ast.FunctionDef, *, name: str = "", method: bool = False) -> str:
    """`name(arguments) -> result`, broken into a line per argument where it is long."""
    arguments = node.args
    if method and arguments.args:
        arguments = ast.arguments(
            arguments.posonlyargs, arguments.args[1:], arguments.vararg, arguments.kwonlyargs,
            arguments.kw_defaults, arguments.kwarg, arguments.defaults,
        )  # fmt: skip
    result = f" -> {ast.unparse(node.returns)}" if node.returns and not name else ""
    head = name or node.name
    words = list(argument_words(arguments))
    line = f"{head}({', '.join(words)}){result}"
    if len(line) <= WIDTH:
        return line
    inner = "".join(f"    {part},\n" for part in words)
    return f"{head}(\n{inner}){result}"


def argument_words(arguments: ast.arguments) -> Iterator[str]:
    """Each argument as it is written, the lone star included."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    yield from (_word(arg, default) for arg, default in zip(plain, defaults, strict=True))
    if arguments.vararg or arguments.kwonlyargs:
        yield f"*{ast.unparse(arguments.vararg) if arguments.vararg else ''}"
    yield from (_word(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _word(arg: ast.arg, default: ast.expr | None) -> str:
    equals = " = " if arg.annotation else "="
    return ast.unparse(arg) + (f"{equals}{ast.unparse(default)}" if default else "")


def class_head(node: ast.ClassDef) -> str:
    """A record with its fields; another class with the arguments it is made from."""
    bases = f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else ""
    fields = [part for part in node.body if isinstance(part, (ast.AnnAssign, ast.Assign))]
    init = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
    if init is not None:
        return f"class {signature(init, name=node.name, method=True)}"
    lines = [f"    {ast.unparse(part)}" for part in fields if not ast.unparse(part).startswith("_")]
    return "\n".join([f"class {node.name}{bases}{':' if lines else ''}", *lines])


def methods(node: ast.ClassDef) -> str:
    """Public methods and properties, a line each."""
    rows = []
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_") and docstring(part):
            static = any(ast.unparse(word) == "staticmethod" for word in part.decorator_list)
            value = any(ast.unparse(word).endswith("property") for word in part.decorator_list)
            words = part.name if value else " ".join(signature(part, method=not static).split())
            rows.append(f"- `.{words}`: {docstring(part).splitlines()[0]}")
    return "\n".join(rows)


def constant(node: ast.stmt) -> str:
    """A constant or a type: whole where it is short, else its name and type."""
    text = ast.unparse(node)
    if "\n" not in text and len(text) <= WIDTH:
        return text
    if isinstance(node, ast.AnnAssign):
        return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}"
    return f"{text[: WIDTH - 4]} ..."


def comment_above(node: ast.stmt, module: str) -> str:
    """The comment beside or above a constant."""
    lines = source(module).splitlines()
    _, mark, beside = lines[node.lineno - 1].partition("  # ")
    if mark and node.lineno == node.end_lineno:
        return beside
    above: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.startswith("# ") or line.startswith("# ---"):
            break
        above.insert(0, line[2:])
    return "\n".join(above)


def code(text: str) -> str:
    """A block of Python, in double quotes as in the sources."""
    quoted = re.sub(r"""'([^'"\\\n]*)'""", r'"\1"', text)
    return f"```python\n{quoted}\n```"


def docstring(node: ast.AST) -> str:
    """The docstring without its indentation, its examples as code."""
    text = inspect.cleandoc(ast.get_docstring(node) or "")  # type: ignore[arg-type]  # only nodes that can have one
    return EXAMPLE.sub(r"```pycon\n\g<0>\n```", text)


def source(module: str) -> str:
    """The text of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def parsed(module: str) -> ast.Module:
    """The syntax tree of a module or package."""
    return ast.parse(source(module))


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        print(page(), end="")
    else:
        PAGE.write_text(page(), encoding="utf-8")
