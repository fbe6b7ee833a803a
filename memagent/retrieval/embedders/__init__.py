"""Embedders by name: text to unit vectors."""
