"""The token-level laptop policy: a small language model that writes the memory by constrained decoding."""
