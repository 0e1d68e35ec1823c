"""Command lines of the published toolkits, run with the verbs of this package."""
