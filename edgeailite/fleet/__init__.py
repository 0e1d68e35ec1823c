"""Jobs that outgrow one machine: pictures from tar shards, Parquet and object stores, labelled by the workers of Ray.

`job.label_job` runs the options of `infer` here or on Ray: both run the same `worker.Worker`, and write the same bytes.
`validation` has `validate` and `data check` on Ray. Nothing of Ray or pyarrow is imported before it is asked for.
"""
