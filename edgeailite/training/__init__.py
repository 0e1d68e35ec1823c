"""Training: data and network to a run folder, float or quantization-aware."""
