"""Picture, label, list and archive files."""
