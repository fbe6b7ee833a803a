"""Embedders by name, text to unit vectors: `registry` has the table, `base` the protocol, each other module one member."""
