"""Memory as rich text that is drawn as a picture and read by eye (MemOCR, arXiv 2601.21468)."""
