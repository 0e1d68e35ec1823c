"""Quantization-aware training that torchrun starts again: the rule is that of tests/runs/test_resume.py."""

import pytest
import torch

from edgeailite.config import QuantizeConfig
from edgeailite.distributed import ALONE
from edgeailite.runs.folder import LAST
from edgeailite.runs.resume import begin_run
from edgeailite.training import quantized_run
from edgeailite.training.learner import Place


@pytest.mark.parametrize(
    "resume, job, expected", [(True, "other", True), (False, "other", False), (False, "same", True)]
)
def test_quantizing_goes_on_as_training_does(tmp_path, monkeypatch, resume, job, expected):
    config = QuantizeConfig(run=tmp_path / "float", save_path=tmp_path, resume=resume)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "same")
    begin_run(tmp_path, config)
    (tmp_path / LAST).touch()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    monkeypatch.setattr(quantized_run, "load_last", lambda folder: folder)
    monkeypatch.setattr(quantized_run, "_resumed", lambda config, start, processes: config)
    _, folder, start = quantized_run._begin(config, Place(torch.device("cpu"), ALONE))
    assert (folder, start) == (tmp_path, tmp_path if expected else None)
