"""The published test command for ADE20K, with the flags of any year; see docs/published_commands.md.

python references/ade20k/test.py --imgs PATH
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgeailite.compat.ade20k_running import run

if __name__ == "__main__":
    sys.exit(run(Path(__file__).stem, sys.argv[1:]))
