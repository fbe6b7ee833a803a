"""One folder that holds everything an agent remembers: a SQLite event log, and caches that can be rebuilt from it."""

from memagent.store.store import Store

__all__ = ["Store"]
