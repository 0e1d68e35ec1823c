"""Result files: PNG that other readers take, told from all other files, whole or not there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data.headers import png_chunks
from edgeailite.errors import DataError
from edgeailite.inference.writing import finished, foreign, is_result, png, write_whole


@pytest.mark.parametrize("shape, dtype", [((5, 7), np.uint8), ((5, 7), np.uint16), ((5, 7, 3), np.uint8)])
def test_png(shape, dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    data = png(image)
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert ((read[..., ::-1] if read.ndim == 3 else read) == image).all()
    assert (b"tEXt", b"Software\0edgeailite infer") in list(png_chunks(data))  # which checks the checksums
    assert is_result(data)
    assert not is_result(cv2.imencode(".png", image)[1].tobytes())


def test_states_of_files(tmp_path):
    mine, theirs, empty, none = (tmp_path / name for name in ("mine", "theirs", "empty", "none"))
    write_whole(mine, png(np.zeros((4, 4), np.uint8)))
    theirs.write_bytes(b"text")
    empty.touch()
    assert finished([mine])
    assert not any(finished([mine, other]) for other in (theirs, empty, none))
    assert foreign([mine, empty, none]) is None
    assert foreign([mine, theirs]) == theirs


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"a\.png: cannot be written \(No space left on device\)"):
        write_whole(tmp_path / "a.png", b"whole")
    assert list(tmp_path.iterdir()) == []
