"""MemOCR's training on a laptop: made-up worlds, real pictures, small policies."""
