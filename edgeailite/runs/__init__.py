"""Run folders: checkpoints, opening a trained network or a file, resuming, the columns of metrics.csv."""
