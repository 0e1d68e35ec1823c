"""GPUs of published commands: makes the named ones visible, and starts one process for each if there are several."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from edgeailite.errors import UsageError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def show_gpus(gpus: Sequence[str] | None) -> None:
    """Let CUDA see these devices. The environment's own choice wins, as in the published code."""
    if gpus is not None and VISIBLE not in os.environ:
        os.environ[VISIBLE] = ",".join(gpus)


def is_first_process() -> bool:
    """Return True in the one of several processes that prints."""
    return os.environ.get("RANK", "0") == "0"


def restart_on_several_gpus(words: Sequence[str]) -> None:
    """Start this script again with `words` under torchrun, one process for each visible GPU; return if there is one.

    On a machine without CUDA one process trains with the whole batch, to the same result.
    """
    if "LOCAL_RANK" in os.environ:  # this is one of them
        return
    import torch

    count = torch.cuda.device_count()
    if count > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        os.execv(sys.executable, [sys.executable, *launcher, sys.argv[0], *words])


def gpu_list(text: str) -> list[str]:
    """Return the GPU numbers of a text such as `0`, `0,2`, `0-3`, `gpu0-3`. UsageError for other words."""
    found: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:gpu)?(\d+)(?:-(?:gpu)?(\d+))?", part.strip().lower())
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if first > last:
            raise UsageError(f"--gpus {text}: expected numbers as 0, 0,2 or 0-3")
        found += [str(number) for number in range(first, last + 1)]
    return found
