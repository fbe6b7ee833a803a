"""One shape for every number: `{"report": 1, "name": ..., "rows": [...], "meta": {...}}`.

The table, the plot and the JSON are drawn from the same rows. `meta` holds what it takes to run it again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

import memagent
import memagent_renderers
from memagent.errors import MissingExtra
from memagent.evaluation.metrics import Estimate
from memagent.evaluation.plots import draw_rows, figure, sizes

_PACKAGES = (
    *("memagent", "numpy", "faiss-cpu", "torch", "sentence-transformers", "xllamacpp", "skia-python", "rapidocr"),
    *("transformers", "trl"),
)


class Row(BaseModel):
    """One number: what was measured (`metric`) of what (`method`), `at` which x-value."""

    model_config = ConfigDict(frozen=True)

    method: str
    metric: str
    at: float | int | str | None = None
    value: float
    low: float | None = None
    high: float | None = None
    """Bounds of the 95 % interval; None where there is none."""
    n: int = 1
    length: str | None = None
    """Name of the length of the contexts, such as "10K"; None where a bench has one length or none."""

    @classmethod
    def of(cls, method: str, metric: str, at: float | str | None, estimate: Estimate, *, length: str | None = None) -> Row:
        value, low, high, n = estimate
        return cls(method=method, metric=metric, at=at, value=value, low=low, high=high, n=n, length=length)


class Report(BaseModel):
    """A set of rows and how they came about."""

    report: Literal[1] = 1
    name: str
    rows: list[Row]
    meta: dict[str, Any] = Field(default_factory=dict)
    x_axis: ClassVar[str] = "at"
    """What `at` means, on pictures."""

    def x_label(self, metric: str) -> str:
        """What `at` means for one metric, on pictures."""
        return self.x_axis

    def save(self, folder: Path) -> list[Path]:
        """Write `<name>.json`, `<name>.md` and, where matplotlib is installed, `<name>.png`. Returns the files."""
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{self.name}.json", folder / f"{self.name}.md"]
        files[0].write_text(self.model_dump_json(indent=1) + "\n", "utf-8")
        files[1].write_text(self.markdown(), "utf-8")
        with suppress(MissingExtra):
            files.append(self.plot(folder / f"{self.name}.png"))
        return files

    def markdown(self) -> str:
        lines = ["| method | metric | at | value | 95 % interval | n |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [f"| {' | '.join(cells)} |" for cells in self.cells()]
        return "\n".join(lines) + "\n"

    def cells(self) -> Iterable[tuple[str, ...]]:
        """The rows as text: method, metric, at, value, interval, n."""
        for row in self.rows:
            interval = "" if row.low is None or row.high is None else f"{_short(row.low)} .. {_short(row.high)}"
            at = "" if row.at is None else str(row.at)
            yield row.method, row.metric, at, _short(row.value), interval, str(row.n)

    @property
    def plotted(self) -> list[Row]:
        """Rows that the picture shows."""
        return self.rows

    def plot(self, path: Path) -> Path:
        """A PNG with one panel for each metric and one line for each method. Raises `MissingExtra`."""
        shown = self.plotted
        methods = list(dict.fromkeys(row.method for row in shown))
        panels = []
        for metric in dict.fromkeys(row.metric for row in shown):
            rows = [row for row in shown if row.metric == metric]
            draw = partial(draw_rows, rows=rows, x=self.x_label(metric), methods=methods)
            panels.append((f"{metric}, {sizes(rows)}", draw))
        return figure(path, panels, note="Bars: 95 % intervals." if any(row.low is not None for row in shown) else "")


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def machine_facts() -> dict[str, Any]:
    """Versions and machine, for `meta`."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "machine": platform.machine(), "cores": os.cpu_count(), "system": sys.platform}


def file_digest(path: Path) -> str:
    """SHA-256 of a data file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_digest() -> str:
    """Digest of this code: a picture laid out by another version is another picture."""
    digest = hashlib.sha256()
    for package in (memagent_renderers, memagent):
        folder = Path(str(package.__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
