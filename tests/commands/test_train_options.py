"""What the options of the loop change in a run of six pictures: updates, rates, what moves and what does not."""

import csv
import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from edgeailite.distributed import ALONE
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import BEST, LAST
from edgeailite.training import float_run as training
from edgeailite.training import job, loop, validation
from edgeailite.training.learner import Place
from edgeailite.training.step import Step
from tests.commands.real_runs import train_words
from tests.commands.test_train import config_for


@pytest.fixture
def watched(command, miniature, tmp_path, monkeypatch):
    """Train with more words; gives how it ended, the run folder and the steps."""

    def run(*more: object):
        steps: list[Step] = []
        original = loop.Watch.step
        monkeypatch.setattr(loop.Watch, "step", lambda self, step: (steps.append(step), original(self, step)))
        folder = tmp_path / "run"
        ended = command(*train_words(miniature, folder, *more))
        assert ended.code == 0, ended.err
        return ended, folder, steps

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(folder / LAST).state_dict)


@pytest.mark.parametrize(
    "words, updates",
    [
        (("--epoch_size", 0.34), 1),
        (("--epoch_size", 4), 2),
        (("--epoch_size", 10), 5),
        (("--accumulate", 3), 1),
        (("--accumulate", 2), 1),
        (("--overfit", 4), 2),
    ],
)
def test_updates_of_an_epoch(watched, words, updates):
    _, _, steps = watched("--epochs", 1, *words)
    assert [(step.step, step.steps) for step in steps] == [(number + 1, updates) for number in range(updates)]


def test_overfit_validates_on_the_pictures_it_trains_on(watched, monkeypatch):
    seen = []
    original = training.fit

    def fit(trainer, source, val, **kwargs):
        seen.append((source.items, val.items))
        return original(trainer, source, val, **kwargs)

    monkeypatch.setattr(training, "fit", fit)
    watched("--epochs", 1, "--overfit", 2)
    (trained, validated), *_ = seen
    assert trained == validated
    assert len(trained) == 2


def test_validation_before_the_first_epoch(watched):
    ended, folder, _ = watched("--epochs", 1, "--evaluate_start", True)
    assert "before training: " in ended.err
    assert len(rows_of(folder)) == 1
    best = 100 * float(rows_of(folder)[0]["miou"])
    told = " ".join(ended.out.split())
    for words in (f"val mIoU, % {best:.2f}", f"best mIoU {best:.2f} in epoch 1 (best.pt)", "best.pt; the last too"):
        assert words in told, told
    assert f"next edgeailite calibrate {folder}" in told
    assert ended.err.rstrip().endswith("never predicted")


def test_early_stopping(watched, monkeypatch):
    """Scores that never get better after the first."""
    monkeypatch.setattr(loop, "validated", lambda *_, **__: {"miou": 0.5, "pixel_accuracy": 0.5})
    ended, folder, _ = watched("--epochs", 9, "--early_stopping", 2)
    assert [row["epoch"] for row in rows_of(folder)] == ["1", "2", "3"]
    assert "stopped after epoch 3: 2 validations without a better score" in ended.err
    assert load_checkpoint(folder / BEST).training["epoch"] == 1


def test_save_every_so_many_updates(watched, monkeypatch):
    saved = []
    original = loop.Trainer.save

    def save(self, name, *, epoch, step=0, total=0.0):
        saved.append((name, epoch, step))
        original(self, name, epoch=epoch, step=step, total=total)

    monkeypatch.setattr(loop.Trainer, "save", save)
    watched("--save_every", 2)
    assert [row for row in saved if row[0] == LAST] == [(LAST, 0, 2), (LAST, 1, 0), (LAST, 1, 2), (LAST, 2, 0)]


def test_rates(watched):
    words = ("--scheduler", "step", "--milestones", 1, "--multistep_gamma", 0.5, "--warmup_epochs", 0, "--lr", 0.004)
    _, folder, steps = watched(*words, "--lr_encoder", 0.001)
    assert [step.lr for step in steps] == pytest.approx([0.004] * 3 + [0.002] * 3)
    optimizer = load_checkpoint(folder / LAST).training["optimizer"]
    assert [group["initial_lr"] for group in optimizer["param_groups"]] == [0.001, 0.004]


@pytest.mark.parametrize(
    "words, still",
    [
        (("--freeze_layers", "encoder"), lambda name: name.startswith("encoder.")),
        (("--freeze_bn", True), lambda name: name.endswith(("running_mean", "running_var", "num_batches_tracked"))),
    ],
)
def test_what_is_frozen_stays_as_it_was(watched, tmp_path, words, still):
    _, folder, _ = watched("--epochs", 1, *words)
    trained = weights(folder)
    shutil.rmtree(folder)
    _, folder, _ = watched("--epochs", 1, *words, "--lr", 1e-12, "--weight_decay", 0)  # hardly moves: the first values
    first = weights(folder)
    same = {name: torch.equal(value, first[name]) for name, value in trained.items()}
    assert all(same[name] for name in same if still(name))
    assert not any(same[name] for name, value in trained.items() if not still(name) and value.ndim > 1), (
        "convolutions that are not frozen are trained"
    )


def test_freezing_what_is_not_there(command, miniature, tmp_path):
    ended = command(*train_words(miniature, tmp_path / "run", "--freeze_layers", "backbone"))
    assert ended.code == 2
    assert "--freeze_layers backbone: no parameter has this in its name; there are encoder." in ended.err
    assert not (tmp_path / "run").exists()


def test_the_moving_average_is_what_is_saved_and_validated(watched):
    """With a decay near 1 the average of three updates is still near the first values, the network is not."""
    _, folder, _ = watched("--epochs", 1, "--ema", 0.999)
    saved = load_checkpoint(folder / LAST)
    model, average = saved.training["model"], saved.state_dict
    assert saved.training["updates"] == 3
    assert list(model) == list(average)
    assert any(not torch.equal(model[name], average[name]) for name in model)
    best = load_checkpoint(folder / BEST).state_dict
    assert all(torch.equal(best[name], average[name]) for name in average)


def test_clipping_changes_the_weights(watched, tmp_path):
    _, folder, _ = watched("--epochs", 1, "--optimizer", "sgd")
    free = weights(folder)
    shutil.rmtree(folder)
    _, folder, _ = watched("--epochs", 1, "--optimizer", "sgd", "--clip_grad", 1e-6)
    clipped = weights(folder)
    assert any(not torch.equal(free[name], clipped[name]) for name in free if free[name].ndim > 1)


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_a_head_without_loss_is_not_trained(miniature, tmp_path, weight):
    """Processes that train together would wait for its gradients."""
    config = dataclasses.replace(
        config_for(miniature, tmp_path / "run"), model_name="mobilenetv2dilated_c1_deepsup", deep_supervision=weight
    )
    prepared = training.prepare_training(config, Place(torch.device("cpu"), ALONE), anew=False)
    trained = {id(p) for group in prepared.learner.optimizer.param_groups for p in group["params"]}
    heads = {name: id(p) in trained for name, p in prepared.learner.model.named_parameters() if "_deepsup" in name}
    assert heads
    assert set(heads.values()) == {weight > 0}


def test_a_dry_run_takes_one_step_and_writes_nothing(command, miniature, tmp_path, monkeypatch):
    steps = []
    original = loop.Watch.step
    monkeypatch.setattr(loop.Watch, "step", lambda self, step: (steps.append(step), original(self, step)))
    ended = command(*train_words(miniature, tmp_path / "run", "--dry_run", True, "--epochs", 50))
    assert ended.code == 0, ended.err
    assert " ".join(ended.out.split()).startswith("dry run: everything was built, one step taken, nothing kept")
    assert [(step.step, step.steps) for step in steps] == [(1, 1)]
    assert list(tmp_path.iterdir()) == []
    ended = command("train", "--dry_run", True, "--resume", tmp_path)
    assert ended.code == 2
    assert "leave out --resume" in ended.err


@pytest.mark.parametrize("size, pictures", [(0.0, 2), (0.5, 1), (1, 1)])
def test_a_part_of_the_validation_pictures(watched, monkeypatch, size, pictures):
    measured = []
    original = validation.measure

    def measure(learner, validation, watch):
        measured.append(len(validation.indices))
        return original(learner, validation, watch)

    monkeypatch.setattr(validation, "measure", measure)
    watched("--epochs", 1, "--epoch_size_val", size)
    assert measured == [pictures]


def test_the_split_that_is_trained_on(watched):
    _, _, steps = watched("--epochs", 1, "--train_split", "val", "--val_split", "train")
    assert [step.steps for step in steps] == [1], "two pictures, one step"


def test_quantization_that_follows_has_its_own_rate_and_length(miniature, tmp_path):
    config = dataclasses.replace(
        config_for(miniature, tmp_path / "run"), quantize_lr=2e-5, quantize_epochs=3, save_every=4, timeout=7.0
    )
    after = training.continued(config, tmp_path / "run")
    assert (after.lr, after.epochs, after.save_every, after.timeout) == (2e-5, 3, 4, 7.0)
    assert (after.run, after.save_path, after.resume) == (tmp_path / "run", tmp_path / "run_qat", False)


def test_going_on_takes_the_threads_of_the_run(command, miniature, tmp_path, monkeypatch):
    """Sums over another number of threads are not equal in their last digits."""
    folder = tmp_path / "run"
    assert command(*train_words(miniature, folder, "--epochs", 1)).code == 0
    given = []
    monkeypatch.setattr(job, "set_threads", given.append)
    assert command("train", "--resume", folder).code == 0
    assert given[-1] == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_compiled_it_trains_the_same_network(watched):
    _, folder, steps = watched("--epochs", 1)
    plain, losses = weights(folder), [step.loss for step in steps]
    shutil.rmtree(folder)
    _, folder, steps = watched("--epochs", 1, "--compile", True)
    compiled = weights(folder)
    assert list(compiled) == list(plain)
    assert [step.loss for step in steps[-3:]] == pytest.approx(losses[:3], rel=1e-2)
