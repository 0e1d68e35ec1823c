"""Print what the shape of the package is, in numbers: python tools/house.py [--root CHECKOUT]

Files, lines, rooms, lines and files of `commands/`, imports between verbs, circles between rooms, public functions with
an example, places that read the text of an error, files that name `img_resize`. (Frames from `train.run` to the
optimizer's step are counted by tests/training/test_frames.py.) With --root it measures
another checkout of any age, which is how "before" and "after" are compared. Standard library only.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SPELLINGS = re.compile(r"\bimg_resize\b|\bheight_width\b|\bfixed_size\b")
READERS = {"match", "search", "fullmatch", "findall", "sub", "split", "finditer"}  # of `re` and of compiled patterns


def trees(root: Path) -> dict[Path, ast.Module]:
    """Parse every module of the package below `root`, by its path within the package."""
    package = root / "edgeailite"
    return {
        path.relative_to(package): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))
    }


def imports(tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """Yield every name of the package that a module imports, as its parts after `edgeailite`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "edgeailite":
            for alias in node.names:
                yield (*str(node.module).split("."), alias.name)[1:]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("edgeailite."):
                    yield tuple(alias.name.split("."))[1:]


def room(path: Path) -> str:
    """Return the top-level module that a file belongs to."""
    return path.parts[0].removesuffix(".py")


def verb_modules(files: dict[Path, ast.Module]) -> set[str]:
    """Return the modules of `commands/` that are verbs: those with a function `run`."""
    return {
        path.stem
        for path, tree in files.items()
        if path.parts[0] == "commands" and any(isinstance(n, ast.FunctionDef) and n.name == "run" for n in tree.body)
    }


def verb_imports(files: dict[Path, ast.Module], verbs: set[str]) -> list[str]:
    """Return every import of one verb by another, or by what stands below the verbs."""
    found = []
    for path, tree in files.items():
        if path.parts[0] in ("cli.py", "__main__.py", "published", "compat"):
            continue
        for name in imports(tree):
            if name[0] == "commands" and len(name) > 1 and name[1] in verbs and name[1] != path.stem:
                found.append(f"{path} -> {name[1]}")
    return sorted(set(found))


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (strongly connected components of two and more; Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def room_graph(files: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    graph: dict[str, set[str]] = defaultdict(set)
    for path, tree in files.items():
        graph[room(path)] |= {name[0] for name in imports(tree)} - {room(path), "__version__"}
    return graph


def module_graph(files: dict[Path, ast.Module], folder: str) -> dict[str, set[str]]:
    """Return the imports among the modules of one folder."""
    graph: dict[str, set[str]] = {}
    for path, tree in files.items():
        if path.parts[0] == folder:
            graph[path.stem] = {n[1] for n in imports(tree) if n[0] == folder and len(n) > 1} - {path.stem}
    return graph


def public_functions(files: dict[Path, ast.Module]) -> tuple[int, int]:
    """Return the number of public functions and classes, and of those with an example (`>>>`) in their docstring."""
    count = examples = 0
    for tree in files.values():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                count += 1
                examples += ">>>" in (ast.get_docstring(node) or "")
    return count, examples


def message_readers(files: dict[Path, ast.Module]) -> list[str]:
    """Return places that read the text of an exception: a pattern or a text method applied to `str(error)`.

    Patterns of a module that names such a text count, too: `data/check` kept a table of them.
    """
    found = []
    for path, tree in files.items():
        caught = {n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            text = ast.unparse(node)
            reads = isinstance(node.func, ast.Attribute) and (
                node.func.attr
                in READERS | {"removeprefix", "removesuffix", "startswith", "endswith", "partition", "rpartition"}
            )
            if reads and any(re.search(rf"\bstr\({name}\)|\b{name}\.args\b", text) for name in caught):
                found.append(f"{path}:{node.lineno}")
        if path.parts[:2] == ("data", "check"):
            found += [
                f"{path}:{n.lineno}"
                for n in ast.walk(tree)
                if isinstance(n, ast.Call) and ast.unparse(n.func) == "re.compile"
            ]
    return sorted(set(found))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--names", action="store_true", help="name what is counted")
    args = parser.parse_args()
    files = trees(args.root)
    lines = {path: len((args.root / "edgeailite" / path).read_text().splitlines()) for path in files}
    commands = {path: count for path, count in lines.items() if path.parts[0] == "commands"}
    verbs = verb_modules(files)
    between = verb_imports(files, verbs)
    rooms = {room(path) for path in files} - {"__init__", "__main__"}
    rounds = circles(room_graph(files)) + circles(module_graph(files, "commands"))
    count, examples = public_functions(files)
    readers = message_readers(files)
    sizes = [p for p in files if SPELLINGS.search((args.root / "edgeailite" / p).read_text())]
    rows = {
        "files of the package": len(files),
        "lines of the package": sum(lines.values()),
        "rooms (top-level names)": len(rooms),
        "files of commands/": len(commands) - 1,
        "lines of commands/": sum(commands.values()),
        "imports of a verb by a verb or from below": len(between),
        "circles (rooms; modules of commands/)": len(rounds),
        "public functions and classes": count,
        "of these with an example": examples,
        "places that read the text of an error": len(readers),
        "files that name img_resize, height_width or fixed_size": len(sizes),
        "longest file, lines": max(lines.values()),
    }
    for name, value in rows.items():
        print(f"{name:<56} {value:>7,}")
    if args.names:
        for title, values in (("verbs", between), ("circles", rounds), ("readers", readers)):
            print(f"\n{title}", *values, sep="\n  ")


if __name__ == "__main__":
    main()
