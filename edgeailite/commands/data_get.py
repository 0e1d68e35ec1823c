"""`edgeailite data get NAME`: download a data set, or print the steps where its owner wants a sign-in; check it."""

from __future__ import annotations

from pathlib import Path

from edgeailite.config import DataGetConfig
from edgeailite.console import log, progress
from edgeailite.data import default_path
from edgeailite.data.ensure import ensure_dataset
from edgeailite.data.files.get import (
    GENERATED,
    SOURCES,
    Source,
    cached_bytes,
    check_result,
    find_source,
    get_part,
    missing_parts,
)
from edgeailite.download import cache_folder
from edgeailite.errors import DataError


def run(config: DataGetConfig) -> int:
    """Get a data set and print its counts; DataError (exit 3) with what is missing."""
    if config.list or not config.dataset_name:
        print(listing())
        return 0
    folder, form = find_source(config.dataset_name)
    root = config.data_path or default_path(form)
    if folder == GENERATED:
        ensure_dataset(GENERATED, root)
        return _report(form, root, *check_result(form, root, None))
    source = SOURCES[folder]
    counts, missing = check_result(form, root, source)
    if missing and source.steps:
        print(steps(source, root))
    elif missing and missing_parts(source, root):
        _download(source, root)
        counts, missing = check_result(form, root, source)
    return _report(form, root, counts, missing)


def _report(form: str, root: Path, counts: dict[str, int], missing: list[str]) -> int:
    if missing:
        advice = "add it; or remove what is damaged there and run this again"
        raise DataError(f"{form} in {root} is not complete: {'; '.join(missing)}; {advice}", code="missing-file")
    print(f"{form} in {root} is complete: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    return 0


def _download(source: Source, root: Path) -> None:
    """Get the parts that are not there, one after the other."""
    log(f"{source.name}: {source.terms} ({source.page})")
    for part in missing_parts(source, root):
        with progress("unpack", None) as (bar, task):
            get_part(part, root, advance=lambda done, total: bar.update(task, completed=done, total=total))
    kept = cached_bytes(source)
    log(f"downloaded files are kept in {cache_folder()} ({megabytes(kept)}); they can be removed once this is complete")


def listing() -> str:
    """Return the table of data sets that can be got, with their size and terms."""
    lines = ["usage: edgeailite data get NAME [--data_path DIR]", ""]
    for source in SOURCES.values():
        how = "needs a sign-in: prints the steps and checks the result"
        if source.parts:
            sizes = [part.size for part in source.parts]
            known = sum(size for size in sizes if size is not None)
            about = [megabytes(known)] * (known > 0) + ["what has no stated size"] * (None in sizes)
            how = f"downloads {' and '.join(about)}"
        lines += [f"  {source.name:<24} {how}", f"  {'':<24} terms: {source.terms}", f"  {'':<24} {source.page}"]
    return "\n".join([*lines, f"  {GENERATED:<24} generated, nothing is downloaded"])


def steps(source: Source, root: Path) -> str:
    """Return the numbered steps by which a person gets a data set that needs a sign-in."""
    numbered = [f"  {number}. {step.format(root=root)}" for number, step in enumerate(source.steps, 1)]
    head = f"{source.name} cannot be downloaded without a sign-in or an agreement ({source.terms}):"
    return "\n".join([head, *numbered, "  then run this again: it checks the result"])


def megabytes(size: int) -> str:
    """Return a number of bytes as text."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB"
