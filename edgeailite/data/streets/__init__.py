"""The generated street scenes."""
