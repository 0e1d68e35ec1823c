"""Encoders: images (N,3,H,W) to features, shallow to deep. Every one is a `chain.Encoder`, made by a function."""

from __future__ import annotations
