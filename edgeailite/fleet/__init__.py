"""Jobs that outgrow one machine: pictures from tar shards, Parquet and object stores, labelled by the workers of Ray.

`label_job` runs a job here or on Ray: both run the same `Worker`, and write the same bytes.
"""

from edgeailite.fleet.job import is_job, label_job

__all__ = ["is_job", "label_job"]
