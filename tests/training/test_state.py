"""A training goes on with the data, the network and the state that it had; anything else is said in one line."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgeailite.commands import train
from edgeailite.config import QuantizeConfig
from edgeailite.data import open_dataset
from edgeailite.distributed import ALONE
from edgeailite.errors import DataError, Interrupted
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.training import state
from edgeailite.training.job import Job, agree_on_data
from edgeailite.training.learner import Place
from tests.commands.test_train import config_for, stop_after
from tests.conftest import write_miniature
from tests.data.test_fingerprint import label_of, pictures


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A folder with a run that was stopped behind the second of three updates of its first epoch, and its data."""
    folder = tmp_path_factory.mktemp("stopped")
    config = dataclasses.replace(config_for(write_miniature(folder / "data"), folder / "run"), overlays=0)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Interrupted):
            train.run(config)
    return folder


@pytest.fixture
def run(stopped, tmp_path) -> Path:
    """A copy to change: the folder of the run; its data lies beside it."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


@pytest.fixture
def resume(command, run) -> Callable[..., Any]:
    return lambda *more: command("train", "--resume", run, "--data_path", run.parent / "data", *more)


def change(run: Path, **parts: Any) -> None:
    """Write other parts of the training state, or none where they are None."""
    values = torch.load(run / LAST, weights_only=True)
    for name, value in parts.items():
        if value is None:
            del values["training"][name]
        else:
            values["training"][name] = value
    torch.save(values, run / LAST)
    (run / "last.previous.pt").unlink(missing_ok=True)


def says(ended: Any, *parts: str) -> None:
    assert ended.code == 3, ended
    (line,) = ended.err.splitlines()
    assert all(part in line for part in parts), line


def test_changed_pictures_are_refused_and_accepted(resume, run):
    data = run.parent / "data"
    first = pictures(data)[0]
    for path in (first, label_of(first)):
        shutil.copy(path, path.with_name("a" + path.name))
    says(resume(), f"--resume {run}: the data is not what the run was trained on: 1 picture added, first leftImg8bit/")
    assert load_checkpoint(run / LAST).training["step"] == 2
    ended = resume("--accept_changed_data", True)
    assert ended.code == 0
    assert f"note: --resume {run}: goes on with changed data: 1 picture added" in ended.err
    change(run, machine=None)
    assert resume().err == "", "the state now has the new data"


def test_a_data_set_that_shrank(resume, run):
    for path in pictures(run.parent / "data")[2:]:
        label_of(path).unlink()
        path.unlink()
    says(resume(), "4 pictures gone, first")
    assert resume("--accept_changed_data", True).code == 0
    assert load_checkpoint(run / LAST).training["epoch"] == 2


def test_a_state_without_a_fingerprint_goes_on_with_a_note(resume, run):
    change(run, data=None, machine=None)
    (run / "metrics.csv").write_bytes(b'epoch,loss\r\n"\xff,1\r\n')
    for path in pictures(run.parent / "data")[2:]:
        label_of(path).unlink()
        path.unlink()
    ended = resume()
    assert ended.code == 0
    assert "of an older version, which kept no list of pictures" in ended.err
    assert "epoch 1 has fewer updates than were made; it begins anew" in ended.err
    assert f"note: {run / 'metrics.csv'}: 1 lines are no rows of epochs; left out" in ended.err
    assert (run / "metrics.csv").read_bytes().startswith(b"epoch,lr,loss,")


def test_classes_of_a_state_without_a_fingerprint_are_those_of_its_card(resume, run):
    change(run, data=None)
    values = torch.load(run / LAST, weights_only=True)
    names = list(values["card"]["classes"])
    values["card"]["classes"] = (names[1], names[0], *names[2:])
    torch.save(values, run / LAST)
    ended = resume()
    assert ended.code == 3
    assert f"class 0 is now {names[0]!r}, was {names[1]!r}" in ended.err


def test_another_number_of_classes_cannot_be_accepted(stopped):
    start = load_checkpoint(stopped / "run" / LAST)
    other = dataclasses.replace(start.card, outputs={"segmentation": 5})
    with pytest.raises(DataError, match=r"network of 5 segmentation of 1 pictures, the run has 19 .*--pretrained"):
        state.check_outputs(start, other, "x")


def test_other_threads_and_processes_are_said(stopped):
    start = load_checkpoint(stopped / "run" / LAST)
    saved = start.training["machine"]
    assert (saved["threads"], saved["processes"], saved["device"]) == (1, 1, "cpu")
    learner: Any = SimpleNamespace(processes=ALONE, model=torch.nn.Conv2d(1, 1, 1))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert state.other_machine(start, learner) is None
        other = {**saved, "threads": 3, "processes": 2}
        found = state.other_machine(dataclasses.replace(start, training={"machine": other}), learner)
    finally:
        torch.set_num_threads(before)
    assert found == (
        "note: threads 1 (was 3), processes 1 (was 2): "
        "the bits will differ from those of a run that was not interrupted"
    )
    assert state.other_machine(dataclasses.replace(start, training={}), learner) is None


STATES: dict[str, dict[str, Any]] = {
    "epoch below 0": {"epoch": -1},
    "epoch that is text": {"epoch": "3"},
    "no step": {"step": None},
    "loss that is none": {"total": float("nan")},
    "parts in a list": {"parts": [1]},
    "score that is text": {"best": "x"},
    "no optimizer": {"optimizer": None},
    "empty optimizer": {"optimizer": {}},
    "optimizer of another network": {"optimizer": {"state": {}, "param_groups": [{"params": [0], "lr": 1}]}},
    "average of another network": {"model": {"w": torch.ones(1)}, "updates": 1},
    "average that is not finite": {"model": {"w": torch.full((1,), float("nan"))}, "updates": 1},
    "balance of another kind": {"balance": {"w": torch.ones(1)}},
    "fingerprint that is none": {"data": {"train": 1, "val": 2}},
    "no fingerprint of a split": {"data": {}},
}


@pytest.mark.parametrize("kind", STATES)
def test_states_that_no_training_writes(resume, run, kind):
    change(run, **STATES[kind])
    says(resume(), f"--resume {run}")


def test_an_optimizer_that_would_fail_later(resume, run):
    saved = load_checkpoint(run / LAST).training["optimizer"]
    change(run, optimizer={**saved, "param_groups": [{**saved["param_groups"][0], "lr": "x"}]})
    says(resume(), "the state does not fit the network (optimizer: lr is 'x'); begin a new run")


def test_settings_and_shapes_of_an_optimizer(stopped):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    optimizer.param_groups[0]["initial_lr"] = 0.1
    saved = optimizer.state_dict()
    (group,), moments = saved["param_groups"], {"step": torch.tensor(1.0), "exp_avg": torch.ones(3)}
    state._check_optimizer({"param_groups": [group], "state": {0: moments}}, optimizer)
    for groups, entries in (
        ([{**group, "betas": [0.9]}], {}),
        ([{**group, "eps": float("nan")}], {}),
        ([{**group, "amsgrad": 1}], {}),
        ([{key: value for key, value in group.items() if key != "initial_lr"}], {}),
        ([group, group], {}),
        ([group], {0: {"exp_avg": torch.ones(3, 3)}}),
        ([group], {0: {"exp_avg": "x"}}),
        ([group], {7: moments}),
    ):
        with pytest.raises((ValueError, IndexError)):
            state._check_optimizer({"param_groups": groups, "state": entries}, optimizer)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"epochs": "many"}, "epochs: expected a whole number, found 'many'"),
        ({"img_resize": [64]}, "img_resize: expected 2 values"),
        ({"optimizer": "sdg"}, "optimizer: expected sgd or adam or adamw, found 'sdg'"),
        ({"lr": -1.0}, "--lr -1.0: expected above 0"),
        ({"workers": 10**7}, "--workers 10000000: expected at most 1024"),
        ({"cache": "a\x1b[2J"}, "cache: expected"),
    ],
)
def test_options_that_no_training_writes(resume, run, options, reason):
    values = torch.load(run / LAST, weights_only=True)
    values["config"] |= options
    torch.save(values, run / LAST)
    says(resume(), f"--resume {run}: its options: {reason}")


def test_a_run_chooses_no_folder_to_generate_data_in(command, run, tmp_path):
    values = torch.load(run / LAST, weights_only=True)
    values["config"]["data_path"] = str(tmp_path / "chosen")
    torch.save(values, run / LAST)
    says(command("train", "--resume", run), str(tmp_path / "chosen"))
    assert not (tmp_path / "chosen").exists()


def test_quantization_goes_on_with_the_same_data_only(stopped, run):
    """As `quantize --resume True` asks; its state holds the same fingerprints."""
    start, data = load_checkpoint(run / LAST), run.parent / "data"
    config = QuantizeConfig(run=run, data_path=data)

    def checked(**options: Any) -> Any:
        splits = (open_dataset("streets", data, "train"), open_dataset("streets", data, "val"))
        asked = dataclasses.replace(config, **options)
        return agree_on_data(Job(asked, run, start, Place(torch.device("cpu"), ALONE)), start.card, splits, data)

    assert checked()[1] is start
    first = pictures(data)[0]
    shutil.copy(pictures(data)[1], first)
    with pytest.raises(DataError, match=r"1 picture with other content, first .*--accept_changed_data True"):
        checked()
    anew = checked(accept_changed_data=True)[1]
    assert (anew.training["step"], anew.training["epoch"], start.training["step"]) == (0, 0, 2)
