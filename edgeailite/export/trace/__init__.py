"""Layer-by-layer comparison of two forms of a network."""
