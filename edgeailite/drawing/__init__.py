"""Charts and picture sheets."""
