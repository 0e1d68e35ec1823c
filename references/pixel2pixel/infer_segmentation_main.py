"""The published inference command of edgeailite; see docs/published_commands.md.

python references/pixel2pixel/infer_segmentation_main.py --data_path DIR --pretrained RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeailite.compat.running import run

if __name__ == "__main__":
    sys.exit(run(Path(__file__).stem, sys.argv[1:]))
