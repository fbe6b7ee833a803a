"""A promise of an experiment with its figure, as the last lines of its output show it."""

from __future__ import annotations

from typing import NamedTuple


class Bar(NamedTuple):
    """A promise and whether it was kept."""

    name: str
    met: bool
    figure: float
    limit: float

    def line(self) -> str:
        """`true` or `false`, the figure, the limit."""
        return f"{str(self.met).lower():5} {self.figure:.4g} (limit {self.limit:g})  {self.name}"
