"""Quantization-aware training that torchrun starts again: the rule is that of tests/commands/test_resuming.py."""

import pytest

from edgeailite.checkpoint import LAST
from edgeailite.commands import quantize
from edgeailite.commands.resuming import begin_run
from edgeailite.config import QuantizeConfig
from edgeailite.distributed import ALONE


@pytest.mark.parametrize(
    "resume, job, expected", [(True, "other", True), (False, "other", False), (False, "same", True)]
)
def test_quantizing_goes_on_as_training_does(tmp_path, monkeypatch, resume, job, expected):
    config = QuantizeConfig(run=tmp_path / "float", resume=resume)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "same")
    begin_run(tmp_path, config)
    (tmp_path / LAST).touch()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
    monkeypatch.setattr(quantize, "load_last", lambda folder: folder)
    assert quantize._start(config, tmp_path, ALONE) == (tmp_path if expected else None)
