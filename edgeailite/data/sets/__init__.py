"""Readers of the data sets, one module each."""
