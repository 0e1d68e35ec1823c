"""The published training command of edgeailite, as its documentation prints it; see docs/published_commands.md.

    python references/pixel2pixel/train_segmentation_main.py --model_name deeplabv3plus_mobilenetv2_tv_edgeailite \\
        --dataset_name cityscapes_segmentation --data_path DIR --img_resize 384 768 --output_size 1024 2048 --gpus 0 1
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeailite.compat.running import run

if __name__ == "__main__":
    sys.exit(run(Path(__file__).stem, sys.argv[1:]))
