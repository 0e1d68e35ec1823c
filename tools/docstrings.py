"""Lists the public docstrings of the package, or draws some of them by a seed, to read them before and after a change.

    python tools/docstrings.py                          every docstring: path:line, name, first line
    python tools/docstrings.py --draw 30 --seed 1       30 names, then their full texts
    python tools/docstrings.py --draw 30 --seed 1 --root ../before      the same names, texts of another checkout
    python tools/docstrings.py --draw 30 --seed 1 --both ../before      names that both checkouts have, both texts
    python tools/docstrings.py --suspects               texts with patterns that are hard to read

A draw orders names by a hash of seed and name, so it does not depend on the order of files.
"""

import argparse
import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPENS = re.compile(r"(What|Whether|Which|Where|How|Of|As|Who|Whose|Not|Nothing|Half)\b|The \w+( \w+)? that\b")
INSIDE = re.compile(
    r"\b(of which|of what|behind|[oO]thers than|(?<!there )(is|are) none|which it has not|somebody else's)\b"
)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Docstring:
    """A docstring: the qualified name of what it documents, its place and text."""

    name: str  # qualified: edgeailite.models.layers.conv_bn
    path: str  # relative to the root
    line: int  # of the text's first line
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0] if self.text else ""

    @property
    def suspect(self) -> bool:
        """True if the first line opens like a noun clause, or a known stumbling block stands anywhere in the text."""
        return bool(OPENS.match(self.first_line) or INSIDE.search(self.text))


def definitions(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Definition]]:
    """(qualified name, node) of the public classes, functions and methods in a module or class."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            name = f"{prefix}.{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from definitions(child, name)


def docstrings_of(path: Path, root: Path) -> Iterator[Docstring]:
    """The public docstrings of one file, in the order of its lines."""
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name, node in [(module, tree), *definitions(tree, module)]:
        text = ast.get_docstring(node)
        if text is not None:
            yield Docstring(name, relative.as_posix(), node.body[0].lineno, text)


def public_docstrings(root: Path) -> dict[str, Docstring]:
    """Every public docstring of the package below `root`, by qualified name; the first of a name defined twice."""
    found: dict[str, Docstring] = {}
    for path in sorted((root / "edgeailite").rglob("*.py")):
        for docstring in docstrings_of(path, root):
            found.setdefault(docstring.name, docstring)
    return found


def drawn(names: list[str], count: int, seed: int) -> list[str]:
    """`count` of the names, chosen by a hash of seed and name and given in alphabetical order."""
    return sorted(sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())[:count])


def main() -> int:
    """List or draw docstrings as the arguments ask; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose texts are printed")
    parser.add_argument(
        "--both", type=Path, help="draw only names that this checkout has too, and print its texts first"
    )
    parser.add_argument("--draw", type=int, default=0, metavar="N", help="print N docstrings in full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--suspects", action="store_true", help="list only docstrings with patterns that are hard to read"
    )
    args = parser.parse_args()
    found = public_docstrings(args.root.resolve())
    other = public_docstrings(args.both.resolve()) if args.both else {}
    if not args.draw:
        listed = [each for each in found.values() if each.suspect or not args.suspects]
        print("".join(f"{each.path}:{each.line} {each.name}: {each.first_line}\n" for each in listed), end="")
        print(f"{len(listed)} docstrings", file=sys.stderr)
        return 0
    names = drawn([name for name in found if name in other or not args.both], args.draw, args.seed)
    print("\n".join(names))
    for name in names:
        for each in (other[name], found[name]) if args.both else (found[name],):
            print(f"\n## {name} ({each.path}:{each.line})\n{each.text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
