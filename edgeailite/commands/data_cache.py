"""`edgeailite data cache`: pictures and labels decoded and resized once, for `train --cache`."""

from __future__ import annotations

from edgeailite.config import DataCacheConfig
from edgeailite.console import print_result, progress
from edgeailite.data import open_dataset
from edgeailite.data.ensure import ensure_dataset
from edgeailite.data.files.cache import write_cache
from edgeailite.data.recognise import dataset_name_of


def run(config: DataCacheConfig) -> int:
    """Write the cache and print where it is. Raises DataError for damaged pictures and a disk that is full."""
    name = dataset_name_of(config.dataset_name, config.data_path, otherwise="streets")
    ensure_dataset(name, config.data_path)
    source = open_dataset(name, config.data_path, config.split)
    with progress("cache", len(source.items)) as (bar, task):
        folder = write_cache(
            source,
            config.cache,
            size=config.img_resize if config.pipeline == "affine" else None,
            interpolation=config.interpolation,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    size = sum(file.stat().st_size for file in folder.iterdir())
    print_result("data cache", {"folder": str(folder), "samples": len(source.items), "megabytes": size // 10**6})
    return 0
