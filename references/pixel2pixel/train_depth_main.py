"""The published training command for depth; see docs/published_commands.md.

python references/pixel2pixel/train_depth_main.py --dataset_name kitti_depth --data_path DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeailite.compat.running import run

if __name__ == "__main__":
    sys.exit(run(Path(__file__).stem, sys.argv[1:]))
