"""KITTI's depth completion and prediction data (Uhrig et al., "Sparsity invariant CNNs", 3DV 2017).

Layout: `{train,val}/DRIVE_sync/proj_depth/groundtruth/image_02/FRAME.png` (16-bit PNG, metres x 256, 0 = not known)
with the raw pictures at `.../DRIVE_sync/image_02/data/FRAME.png`; or, as the published loader takes them, lists
`train.txt` and `val.txt` of drive folders relative to the data path. Depth starts some frames after the pictures and
ends before them.

Kept: left colour camera, one picture and one depth map. Changed: the published loader pairs by position and leaves out
drives without five more pictures at each end and the last frame of each drive; here equal names are pairs, so frames of
any count are found and a depth map without its picture is an error.
"""

from __future__ import annotations

from pathlib import Path

from edgeailite.data.files.listing import by_stem, check_split, files_below, need_folder, read_names
from edgeailite.data.source import DataSource, DepthTarget, Item
from edgeailite.errors import DataError, option

SPLITS = ("train", "val")
NAME = "kitti_depth"


def kitti_depth(root: Path, split: str) -> DataSource:
    """Open KITTI's `split`: pictures of the left colour camera and sparse depth in metres."""
    check_split(NAME, split, SPLITS)
    items = tuple(item for drive in _drives(root, split) for item in _drive(drive))
    if not items:
        fix = f"check {option('data_path')}"
        raise DataError(f"data set {NAME}: no depth maps below {root / split}", fix=fix)
    return DataSource(NAME, split, items, {"depth": DepthTarget()})


def _drives(root: Path, split: str) -> list[Path]:
    file = root / f"{split}.txt"
    if file.is_file():
        return [need_folder(NAME, root / name.rstrip("/")) for name in read_names(file, root=root)]
    folder = need_folder(NAME, root / split)
    return sorted(entry for entry in folder.iterdir() if (entry / "proj_depth").is_dir())


def _drive(drive: Path) -> list[Item]:
    depths = by_stem(files_below(need_folder(NAME, drive / "proj_depth" / "groundtruth" / "image_02"), ".png"))
    pictures = by_stem(files_below(need_folder(NAME, drive / "image_02" / "data"), ".png"))
    lone = next((frame for frame in depths if frame not in pictures), None)
    if lone is not None:
        raise DataError(
            f"depth map without its picture {drive / 'image_02' / 'data' / lone}.png",
            fix="add it",
            path=depths[lone],
            code="mask-without-picture",
        )
    return [Item((pictures[frame],), {"depth": path}) for frame, path in depths.items()]


KITTI = {NAME: kitti_depth}
