"""Fixtures of several test files: a data set of a few small pictures, and the command line in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.__main__ import main
from edgeailite.console import show_notes
from edgeailite.errors import spell_options_as_flags

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it in its workers, and tables would be as wide as it says
show_notes()  # tests call verbs, and what verbs call, as the command line does
spell_options_as_flags()

LABEL_IDS = (7, 11, 23, 26)  # road, building, sky, car


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def write_miniature(root: Path, *, train: int = 6, val: int = 2, size: int = 64) -> Path:
    """Coloured rectangles in the Cityscapes layout, under the file names of the data set streets; gives back root."""
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            rng = np.random.default_rng([len(split), index])
            label = np.full((size, size), 23, np.uint8)
            label[size // 2 :] = 7
            for label_id in (11, 26):
                y, x = rng.integers(0, size // 2, 2)
                label[y : y + size // 3, x : x + size // 3] = label_id
            image = np.stack([label * 8, 255 - label * 4, label * 2], -1) + rng.integers(0, 20, (size, size, 3))
            stem = f"streets/streets_{index:06d}_000019"
            for kind, suffix, pixels in (
                ("leftImg8bit", "leftImg8bit", np.clip(image, 0, 255).astype(np.uint8)),
                ("gtFine", "gtFine_labelIds", label),
            ):
                path = root / kind / split / f"{stem}_{suffix}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return root


@pytest.fixture(scope="session", autouse=True)
def no_weights_by_themselves(tmp_path_factory) -> None:
    """No training of a test finds weights in the user's cache, or asks the net for some."""
    os.environ["EDGEAILITE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["EDGEAILITE_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def miniature(tmp_path_factory) -> Path:
    """A data set of 6 training and 2 validation pictures of 64x64, to read only."""
    return write_miniature(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def own_miniature(tmp_path) -> Path:
    """The same, to damage."""
    return write_miniature(tmp_path / "data")


@pytest.fixture
def command(capsys) -> Callable[..., Ended]:
    """`command("train", "--epochs", 1)` runs the command line in this process."""

    def run(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run
