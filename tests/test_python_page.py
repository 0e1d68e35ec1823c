"""The page "In Python": its code runs as it stands, from pictures to a proven file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from edgeailite import errors
from edgeailite.data.files.images import read_label, write_png
from tests.conftest import LABEL_IDS

PAGE = Path(__file__).resolve().parents[1] / "docs/python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def as_folder(miniature: Path, data: Path) -> None:
    """The small data set in the layout of one's own data; labels are class numbers."""
    for split in ("train", "val"):
        for kind, folder in (("leftImg8bit", "images"), ("gtFine", "labels")):
            (data / folder / split).mkdir(parents=True)
            for path in sorted((miniature / kind / split).rglob("*.png")):
                target = data / folder / split / f"{path.stem[:14]}.png"
                if kind == "leftImg8bit":
                    shutil.copy(path, target)
                else:
                    write_png(target, np.searchsorted(LABEL_IDS, read_label(path)).astype(np.uint8))


def test_the_page_runs_as_it_stands(miniature, tmp_path, monkeypatch, capsys):
    as_folder(miniature, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(errors, "_DASHES", "")
    line, notes, fields = BLOCKS
    names: dict[str, object] = {}
    exec(line, names)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 1 and out[0].endswith("2 (64, 64)"), "only the page's own print"
    assert Path(str(names["proof"].contract)).is_file()  # type: ignore[attr-defined]
    assert sum(bool(row.strip()) for row in line.splitlines() if "import" not in row) <= 25
    assert "basicConfig" in notes
    exec(fields, names)
    assert capsys.readouterr().out == "folder-missing set data_path to yours\n"
