"""Augmentation and the preparation of pictures for validation."""
