"""Parts of a split against the whole: the engine is replaced by a loop that hands out rows in another order."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from edgeailite.fleet import validation
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST


@pytest.fixture
def backwards(monkeypatch):
    """Rows and chunks are done last first, by one worker."""

    def run(actor, argument, rows, *, workers, batch):
        worker = actor(argument)
        for row in list(rows)[::-1]:
            yield worker({name: np.array([value]) for name, value in row.items()})

    def in_order(function, chunks, shared, *, workers):
        done = {index: function(chunk, *shared) for index, chunk in reversed(list(enumerate(chunks)))}
        yield from (done[index] for index in sorted(done))

    monkeypatch.setattr(validation, "run", run)
    monkeypatch.setattr(validation, "in_order", in_order)
    monkeypatch.setattr(validation, "CHUNK", 1)


def test_data_check_is_that_of_one_machine(backwards, command, own_miniature):
    masks = sorted((own_miniature / "gtFine").rglob("*.png"))
    masks[0].write_bytes(masks[0].read_bytes()[:80])
    masks[1].unlink()  # the listing breaks: items are those of a mirror
    words = ("data", "check", "--data_path", own_miniature, "--dataset_name", "streets", "--json", "True")
    here, there = command(*words, "--workers", 0), command(*words, "--engine", "ray")
    assert here.code == there.code == 3
    assert json.loads(there.out) == json.loads(here.out)


def test_items_of_a_mirror_are_sent_as_the_data_set_has_them(backwards, command, own_miniature, monkeypatch):
    next(iter(sorted((own_miniature / "gtFine").rglob("*.png")))).unlink()
    seen = []
    surveys = import_module("edgeailite.data.check.survey")  # the package has a function of this name
    inside = surveys.placed
    monkeypatch.setattr(surveys, "placed", lambda *words: seen.append(inside(*words)) or seen[-1])
    command("data", "check", "--data_path", own_miniature, "--dataset_name", "streets", "--engine", "ray")
    assert seen and all(own_miniature in item.image.parents for item in seen)


def test_workers_examine_from_the_folder_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    assert validation._examine_from([], {}, "segmentation", str(tmp_path)) == [] and Path.cwd() == tmp_path


@pytest.mark.slow
def test_validate_is_that_of_one_machine(backwards, command, miniature, tmp_path):
    import torch

    from edgeailite.data import open_dataset
    from edgeailite.modelcard import ModelCard
    from edgeailite.models import create_model
    from edgeailite.preprocessing import Preprocessing

    source = open_dataset("streets", miniature, "val")
    target = source.targets["segmentation"]
    name = "deeplabv3plus_mobilenetv2_tv_edgeailite"
    torch.manual_seed(0)
    count = len(target.classes)
    card = ModelCard(
        name, {"segmentation": count}, target.classes, target.palette, Preprocessing(64, 64), dataset_name="streets"
    )
    save_checkpoint(tmp_path / LAST, Checkpoint(card, create_model(name, count).state_dict(), {}))
    words = ("validate", tmp_path, "--data_path", miniature, "--split", "train", "--device", "cpu", "--json", "True")
    more = ("--boundary", "True", "--threads", 1, "--workers", 0)
    here, there = command(*words, *more), command(*words, *more, "--engine", "ray")
    assert here.code == there.code == 0
    assert json.loads(there.out) == json.loads(here.out)
