"""Assistants that can be evaluated: over any kind of memory, or with a window and a memory of their own."""
