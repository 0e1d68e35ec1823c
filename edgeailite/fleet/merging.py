"""Merging the parts of a job whose tables are at an address: they are fetched, merged here, and written beside them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

from edgeailite.errors import DataError
from edgeailite.fleet.stores import fetch, found_below, write_files
from edgeailite.inference.manifest import MANIFEST
from edgeailite.inference.merge import MISSING, Merged, merge
from edgeailite.inference.results import RECORD, SKIPPED
from edgeailite.inference.shards import FOLDER
from edgeailite.inference.shares import CSV

TABLES = (CSV, SKIPPED, MISSING, RECORD, MANIFEST)  # the manifest last, which says that the job is whole


def merge_at(address: str) -> Merged:
    """Merge the parts below an address and write the tables of the whole there. Raises DataError as `merge` does."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for place, name in found_below(address):
            path = PurePosixPath(name)
            if len(path.parts) == 2 and FOLDER.fullmatch(path.parts[0]) and path.name in TABLES:
                (folder / path.parts[0]).mkdir(exist_ok=True)
                fetch(place, folder / name)
        try:
            merged = merge(folder)
        except DataError as error:
            problem, where = (str(text).replace(temporary, address) for text in (error.problem, error.path))
            raise DataError(problem, fix=error.fix, path=where, code=error.code) from None
        write_files(folder, TABLES, address)
        return replace(merged, folder=Path(address))
