"""Device, threads and mixed precision."""

import pytest
import torch

from edgeailite import device
from edgeailite.device import select_amp, select_device
from edgeailite.errors import UsageError

CPU = torch.device("cpu")


def test_device_and_mixed_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == CPU
    with pytest.raises(UsageError, match="--device cuda: torch sees no CUDA device; use --device cpu"):
        select_device("cuda")
    with pytest.raises(UsageError, match="--amp fp16: CPUs train in bf16"):
        select_amp("fp16", CPU)
    assert select_amp("off", CPU) is None
    assert select_amp("bf16", CPU) is torch.bfloat16
    for features, expected in ((["avx2"], None), (["avx2", "amx_bf16"], torch.bfloat16)):
        monkeypatch.setattr(device, "cpu_features", lambda found=features: found)
        assert select_amp("auto", CPU) is expected
    assert select_amp("auto", torch.device("cuda")) is torch.bfloat16
