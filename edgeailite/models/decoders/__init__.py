"""Decoders: encoder features to raw predictions (N,C,H/s,W/s), before the last up-sampling.

A decoder gets its encoder (`channels`, `strides`, `group_size`, `activation`) once, in its constructor, and picks its
features by stride there. It never changes the list it is given: several decoders share it. One with deep supervision
has a method `auxiliary(features)`, which gives the second prediction that training adds.
"""

from __future__ import annotations
