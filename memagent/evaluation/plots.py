"""Pictures of reports: a panel for a metric, a line for a method, and the rules that keep them honest.

One metric on an axis. Intervals are drawn wherever a row has one, a little beside each other, so that equal methods do not hide
one another. Values of a named point, such as a mean over periods, stand apart and are joined to nothing. Axes are named,
shares run from 0 to 1, and n is on the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from memagent.errors import MissingExtra

LABELLED = 12
"""Places on an axis up to which each has its label; of more, every second, third ... has."""
COLUMNS = 4
"""Panels beside each other."""
_DODGE = 0.5
"""Of the distance between two places, what the methods of one place take up."""


class Point(Protocol):
    """What is drawn of a row (`memagent.evaluation.report.Row`)."""

    @property
    def method(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def at(self) -> float | int | str | None: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...


def figure(path: Path, panels: Sequence[tuple[str, Callable[[Any], None]]], *, note: str = "") -> Path:
    """A PNG of titled panels, each drawn by a function of its axes, with a note below. Raises `MissingExtra`."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtra("matplotlib", "pip install matplotlib") from None
    columns = min(COLUMNS, max(1, len(panels)))
    lines = math.ceil(len(panels) / columns) or 1
    drawn, axes = pyplot.subplots(lines, columns, figsize=(4.4 * columns, 3.4 * lines), squeeze=False)
    for place, one in enumerate(axes.flat):
        if place >= len(panels):
            one.set_visible(False)
            continue
        title, draw = panels[place]
        draw(one)
        one.set_title(title, fontsize=9)
        one.tick_params(labelsize=8)
    handles: dict[str, Any] = {}
    for one in axes.flat:
        handles |= {str(label): handle for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
    drawn.tight_layout()
    if handles:
        drawn.legend(handles.values(), handles.keys(), fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if note:
        drawn.text(0.0, -0.01, note, fontsize=8, va="top")
    drawn.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(drawn)
    return path


def draw_rows(axes: Any, rows: Sequence[Point], *, x: str, methods: Sequence[str] = ()) -> None:
    """Rows of one metric over `at`, a line for each method; `methods` fixes which colour each one has."""
    names = list(methods) or list(dict.fromkeys(row.method for row in rows))
    places = _places(rows)
    series = [name for name in names if any(row.method == name for row in rows)]
    for number, name in enumerate(series):
        own = sorted((row for row in rows if row.method == name), key=lambda row: places.index(row.at))
        shift = (number - (len(series) - 1) / 2) * _DODGE / max(1, len(series))
        colour = f"C{names.index(name) % 10}"
        numbers = [row for row in own if isinstance(row.at, int | float)]
        named = [row for row in own if not isinstance(row.at, int | float)]
        for part, joined in ((numbers, True), (named, False)):
            if part:
                label = name if part is numbers or not numbers else None
                _errorbar(axes, [_spot(places, row.at) + shift for row in part], part, colour, label=label, joined=joined)
    step = math.ceil(len(places) / LABELLED)
    shown = [place for place, at in enumerate(places) if place % step == 0 or not isinstance(at, int | float)]
    spots = [_spot(places, places[place]) for place in shown]
    ticks = [f"{at:g}" if isinstance(at, float) else "" if at is None else str(at) for at in (places[one] for one in shown)]
    axes.set_xticks(spots, ticks)
    axes.set_xlabel(x)
    axes.set_ylabel(rows[0].metric if rows else "")
    values = [value for row in rows for value in (row.value, row.low, row.high) if value is not None]
    if values and min(values) >= 0 and max(values) <= 1:
        axes.set_ylim(-0.03, 1.03)
    elif values and min(values) >= 0:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.3)


def sizes(rows: Sequence[Point]) -> str:
    """How many values stand behind a point, for the picture."""
    found = sorted({row.n for row in rows})
    if not found:
        return ""
    return f"n = {found[0]}" if len(found) == 1 else f"n = {found[0]} to {found[-1]}"


def _places(rows: Sequence[Point]) -> list[float | int | str | None]:
    """Values of `at` in order: numbers by size, then names as they come."""
    found = dict.fromkeys(row.at for row in rows)
    numbers = sorted(at for at in found if isinstance(at, int | float))
    return [*numbers, *(at for at in found if not isinstance(at, int | float))]


def _spot(places: Sequence[float | int | str | None], at: float | int | str | None) -> int:
    """Where a place is on the axis: names after numbers stand a step apart from them."""
    place = places.index(at)
    return place + 1 if isinstance(at, str) and place and isinstance(places[0], int | float) else place


def _errorbar(axes: Any, places: list[float], rows: Sequence[Point], colour: str, *, label: str | None, joined: bool) -> None:
    below = [0.0 if row.low is None else row.value - row.low for row in rows]
    above = [0.0 if row.high is None else row.high - row.value for row in rows]
    axes.errorbar(
        places,
        [row.value for row in rows],
        yerr=[below, above] if any(below) or any(above) else None,
        marker="o" if len(rows) <= 2 * LABELLED else "",
        markersize=4,
        linestyle="-" if joined else "",
        linewidth=1,
        capsize=2,
        color=colour,
        label=label,
    )
