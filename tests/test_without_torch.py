"""What exported files need no torch for: every such verb, in an interpreter that cannot import what training needs.

The imports are blocked, so that the test runs where torch is installed; in an environment that has none it is run by
tools/without_torch.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from edgeailite.environment import CHECKOUT, TRAIN, requirements
from edgeailite.preprocessing import preprocess
from edgeailite.runtime import contract as module
from edgeailite.runtime import load_onnx
from edgeailite.runtime.contract import Golden
from edgeailite.runtime.contract_file import FORMAT
from edgeailite.verbs import VERBS
from tests.onnxfile import made

OF_FILES = {requirement.name for requirement in requirements()}
BLOCKED = sorted({requirement.name for requirement in requirements([TRAIN])} - OF_FILES - {"flatbuffers"})
# Each line is a command of the folder that `folder` makes; a family's or a verb's help is tested for all verbs below.
WORKS = (
    "verify model.onnx contract.json",
    "infer model.onnx data/images/val --save_path labels",
    "infer model.onnx film.avi --save_path film --smooth 0.5",
    "bench model.onnx --rounds 1 --warmup 0 --operators 3 --threads 1",
    "validate model.onnx --data_path data --workers 2 --flip True",
    "validate model.onnx --data_path data --workers 0 --window 32 48 --json True",
    "compare model.onnx other.onnx --data_path data --draws 100",
    "complexity model.onnx",
    "card plain.onnx --classes road sky car tree --mean 128 128 128 --scale 0.015625 0.015625 0.015625",
    "data check --data_path data",
    "data split loose --val 0.5",
    "data stats --data_path data",
    "data show --data_path data --output sheet.png",
    "devices list",
    "presets",
    "--version",
)
NEEDS = (
    "train --data_path data --save_path runs/own",
    "models",
    "complexity resnet18_c1",
    "infer runs/none data/images/val --save_path other",
    "export runs/none",
    "choose --max_gmacs 1",
)
HELPS = ("--help", *(f"{verb} --help" for verb in VERBS))
BLOCK = """
import contextlib, importlib.metadata, io, json, sys
blocked = set(sys.argv[1].split(","))

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
version = importlib.metadata.version
def of(name):
    if name in blocked:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = of
from edgeailite.__main__ import main
"""
ALONE = f"""{BLOCK}
ends = {{}}
for line in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(line.split())
        except SystemExit as end:
            code = end.code or 0
    ends[line] = code, out.getvalue(), err.getvalue()
assert not blocked & set(sys.modules)
print("\\n" + json.dumps(ends))
"""
SERVES = f"{BLOCK}\ncode = main(sys.argv[2].split())\nassert not blocked & set(sys.modules)\nsys.exit(code)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported file, its contract, a plain ONNX file, a film, and data of the file's classes."""
    here = tmp_path_factory.mktemp("device")
    rng = np.random.default_rng(0)
    names = {"classes": list(made.CLASSES)}
    for name, splits in (("data", ("/train", "/val")), ("loose", ("",))):
        for kind, high, shape in (("images", 256, (40, 56, 3)), ("labels", 4, (40, 56))):
            for split in splits:
                place = here / name / f"{kind}{split}"
                place.mkdir(parents=True)
                for index in range(4):
                    pixels = rng.integers(0, high, shape).astype(np.uint8)
                    cv2.imwrite(str(place / f"{split[1:]}{index}.png"), pixels)
        (here / name / "dataset.yaml").write_text(yaml.safe_dump(names))
    card = made.card_with(dataset_name="folder")
    weights = [{"w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32)} for _ in range(2)]
    for name, weight in zip(("model", "other"), weights, strict=True):
        (here / f"{name}.onnx").write_bytes(made.own(made.model(made.CONV, weight), edgeailite_card=card))
    (here / "plain.onnx").write_bytes(made.model(made.CONV, weights[0]).SerializeToString())
    write_contract(here / "contract.json", here / "model.onnx")
    film = cv2.VideoWriter(str(here / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (56, 40))
    for _ in range(3):
        film.write(rng.integers(0, 256, (40, 56, 3)).astype(np.uint8))
    film.release()
    return here


def write_contract(path: Path, file: Path) -> None:
    """Write what `verify` would have written, of one golden picture."""
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    model = load_onnx(file)
    image = preprocess(picture, model.card.preprocessing)
    golden = Golden((picture,), (image,), model.run(image), ()).to_dict()
    card = module.described(model.card)
    values = {"format": FORMAT, "kind": "float", "sha256": module.sha256_of(file), "golden": [golden]}
    path.write_text(json.dumps(values | {"card": card, "preprocessing": card["preprocessing"]}))


@pytest.fixture(scope="module")
def ends(folder: Path) -> dict[str, tuple[int, str, str]]:
    """Exit code, stdout and stderr of every command, run in one interpreter without torch."""
    lines = [*WORKS, *NEEDS, *HELPS, "doctor"]
    words = [sys.executable, "-c", ALONE, ",".join(BLOCKED), json.dumps(lines)]
    variables = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_torch_is_what_training_needs():
    assert {"torch", "torchvision", "onnxscript"} <= set(BLOCKED)


@pytest.mark.parametrize("line", WORKS)
def test_files_are_used_without_torch(line, ends):
    code, out, err = ends[line]
    assert code == 0, out + err


@pytest.mark.parametrize("line", NEEDS)
def test_what_needs_torch_says_so_in_one_line(line, ends):
    code, _, err = ends[line]
    last = f'error: {line.split()[0]}: this needs torch: pip install "edgeailite[train]"'
    assert (code, err.strip().splitlines()[-1]) == (2, last)


def test_a_file_is_served_without_torch(folder):
    words = [sys.executable, "-c", SERVES, ",".join(BLOCKED), "serve model.onnx --port 0"]
    variables = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    picture = folder / "data/images/val/val0.png"
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=folder, env=variables) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[2].rstrip(",")  # listening on ADDRESS, loading model
        assert process.stderr.readline() == "ready\n"
        with urllib.request.urlopen(f"{address}/model", timeout=60) as answer:
            assert json.load(answer)["proof"]["state"] == "proven"
        with urllib.request.urlopen(f"{address}/predict?output=labels", picture.read_bytes(), timeout=60) as answer:
            labels = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        process.terminate()
        assert process.wait(60) == 0, process.stderr.read()
    assert labels.shape == (40, 56)


@pytest.mark.parametrize("line, name", [("complexity model.onnx", "onnx"), ("data stats --data_path data", "yaml")])
def test_a_part_of_the_base_that_is_missing_is_named(line, name, folder):
    """As in the Docker image, which has no onnx."""
    words = [sys.executable, "-c", f"{BLOCK}sys.exit(main(sys.argv[2].split()))", name, line]
    variables = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=variables)
    package = {"onnx": "onnx", "yaml": "PyYAML"}[name]
    verb = line.partition(" --")[0].removesuffix(" model.onnx")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        f"error: {verb}: this needs {name}: pip install {package}",
    )


def test_help_of_every_verb_needs_no_torch(ends):
    assert {ends[line][0] for line in HELPS} == {0}


def test_doctor_is_content_with_what_files_need(ends):
    code, out, _ = ends["doctor"]
    assert code == 0 and 'pip install "edgeailite[train]"' in out
