"""Opens a data set by name; the generated one is made on first use."""

from __future__ import annotations

from pathlib import Path

from edgeailite import errors
from edgeailite.console import log, progress
from edgeailite.data import DataSource, default_path, open_dataset
from edgeailite.data.lists import list_file
from edgeailite.data.samples import worker_count
from edgeailite.data.streets.dataset import write_streets
from edgeailite.errors import UsageError

TRAIN_SCENES, VAL_SCENES = 1500, 100
SIZE = (128, 256)


def make_streets(path: Path | None, *, train: int = TRAIN_SCENES, val: int = VAL_SCENES, seed: int = 1) -> Path:
    """Generate the street scenes, or leave them if they are there. UsageError if other ones are."""
    root = path or default_path("streets")
    with progress("generate streets", train + val) as (bar, task):
        try:
            return write_streets(
                root,
                seed=seed,
                train=train,
                val=val,
                height=SIZE[0],
                width=SIZE[1],
                workers=worker_count("auto"),
                progress=lambda done, of: bar.update(task, completed=done, total=of),
            )
        except ValueError as error:
            raise UsageError(str(error), fix="choose another folder", about="data_path", value=root) from None


def ensure_dataset(name: str, path: Path | None) -> None:
    """Generate `streets` if its folder does not exist, for all its forms; other data sets have to be there."""
    if name.partition("_")[0] == "streets" and not (path or default_path(name)).exists():
        log(f"generating {TRAIN_SCENES + VAL_SCENES} street scenes in {path or default_path(name)}")
        make_streets(path)


def open_labelled(name: str, path: Path | None, split: str, *, option: str = "split") -> DataSource:
    """Open a split of a data set with labels; `option` names it in messages.

    Raises UsageError for a form that has pictures only, and for a split that is not there.
    """
    try:
        source = open_dataset(name, path, split)
    except UsageError as error:
        if option == "split" or not error.known:
            raise
        makes = f", or divide the pictures: `edgeailite data split {path}`" if name == "folder" and path else ""
        fix = f"add {split}, or name another: {errors.option(option)} NAME{makes}"
        raise UsageError(error.problem, fix=fix, about=option, value=split) from None
    file = list_file(path or default_path(name), split)
    if file.is_file():
        log(f"data: split {split}: the {len(source.items)} pictures that {file} names")
    if not source.items[0].labels:
        fix = "take its form with labels"
        raise UsageError("has pictures only, no labels", fix=fix, about="dataset_name", value=name)
    return source
