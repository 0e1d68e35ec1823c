"""The examples in docstrings run, and give what they say.

Those about runs find a small float run with its file and contract at `runs/night`, and its data set at `data/night`.
"""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

from edgeailite import errors
from edgeailite.config import VerifyConfig
from edgeailite.data.sets.cityscapes import CLASS_TABLE
from edgeailite.export import to_onnx, verify_run
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import BEST
from tests.golden import MODEL, golden_model

PACKAGE = Path(errors.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
}
RUN, DATA = "runs/night", "data/night"
SIZE = (64, 64)


@pytest.fixture(scope="module")
def night(tmp_path_factory, miniature) -> Path:
    """A folder with the run and the data set that the examples name."""
    root = tmp_path_factory.mktemp("night")
    names, palette = tuple(row[1] for row in CLASS_TABLE), tuple(row[2] for row in CLASS_TABLE)
    card = ModelCard(MODEL, {"segmentation": len(names)}, names, palette, Preprocessing(*SIZE), "streets", DATA)
    network = golden_model()
    (root / RUN).mkdir(parents=True)
    save_checkpoint(root / RUN / BEST, Checkpoint(card, network.state_dict(), {}))
    (root / RUN / "model.onnx").write_bytes(to_onnx(network, card, size=SIZE).SerializeToString(deterministic=True))
    shutil.copytree(miniature, root / DATA)
    verify_run(VerifyConfig(root / RUN, data_path=root / DATA, images=1, sizes=(), export_again=False, threads=1))
    return root


@pytest.mark.parametrize("module", FILES)
def test_examples(module, monkeypatch, tmp_path, request):
    text = FILES[module].read_text(encoding="utf-8")
    if RUN in text or DATA in text:
        shutil.copytree(request.getfixturevalue("night"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(errors, "_DASHES", "")  # as in Python, not as on the command line
    failed, tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried and not failed
