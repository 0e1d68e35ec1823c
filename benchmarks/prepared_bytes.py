"""Does `prepare` make of our own networks what it made at an earlier commit, byte for byte?

    python -m benchmarks.prepared_bytes --against 7ba2c7c [--networks "*mobilenetv2*"]

For each network of the table: the code of the prepared graph, all tensors with their names, and both ranges and answer
after calibration on one picture, hashed; here, and by the same script with the package of that commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from edgeailite.models import create_model, list_models
from edgeailite.quantization import calibrate, prepare

ROOT = Path(__file__).resolve().parents[1]
SIZE = (64, 96)


def main() -> None:
    """Print the networks that differ, or that none does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="a commit; without it the hashes are printed as JSON")
    parser.add_argument("--networks", default="*", help="shell pattern of names")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: digest(name) for name in list_models(args.networks)}
    if args.against is None:
        print(json.dumps(found))
        return
    earlier = hashes_at(args.against, args.networks)
    differ = [name for name in earlier if earlier[name] != found.get(name)]
    for name in differ:
        print(f"differs: {name}")
    print(f"{len(earlier) - len(differ)} of {len(earlier)} networks as at {args.against}")
    sys.exit(bool(differ))


def digest(name: str) -> str:
    """Return the SHA-256 of a prepared network, before and after calibration."""
    torch.manual_seed(0)
    prepared = prepare(create_model(name).eval())
    picture = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1)) * 4 - 2
    result = hashlib.sha256(prepared.code.encode())
    for _ in ("before", "after calibration"):
        for key, value in prepared.state_dict().items():
            result.update(key.encode())
            result.update(value.contiguous().numpy().tobytes())
        calibrate(prepared, [(picture,)])
    with torch.no_grad():
        for key, value in prepared(picture).items():
            result.update(key.encode())
            result.update(value.contiguous().numpy().tobytes())
    return result.hexdigest()


def hashes_at(commit: str, pattern: str) -> dict[str, str]:
    """Run this script with the package of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--detach", str(tree), commit)
        try:
            done = subprocess.run(
                [sys.executable, str(Path(__file__).resolve()), "--networks", pattern],
                capture_output=True, text=True, check=True, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)},
            )  # fmt: skip
        finally:
            _git("worktree", "remove", "--force", str(tree))
    hashes: dict[str, str] = json.loads(done.stdout)
    return hashes


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main()
