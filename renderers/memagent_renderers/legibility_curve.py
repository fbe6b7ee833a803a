"""How small an eye can read: the curves by which layout sets its type sizes.

A `LegibilityCurve` holds, for regular and for bold type, the share of words that an eye reads right at each size, everything
else as this package sets it (its typeface, its line heights, black on white, on pages of a real engine).
`memagent_renderers.legibility.calibrate` measures one; `OCR` is the packaged eye's, measured so.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from memagent_renderers.errors import InputError
from memagent_renderers.unicode_scripts import READ_BY_OCR, scripts_of

PROMISE = 0.95
"""Share of words read right from which a type size counts as legible."""
Points = tuple[tuple[float, float], ...]
"""(type size in px, share of words read right, 0 to 1) by rising size."""


@dataclass(frozen=True)
class LegibilityCurve:
    """What one eye reads of type of each size. Raises `InputError` for points that are no rising curve of sizes."""

    eye: str
    """Name of the eye that was measured, or of the assumption that was made."""
    regular: Points
    bold: Points
    scripts: frozenset[str] | None = None
    """Names of the scripts that it reads (`memagent_renderers.unicode_scripts.scripts_of`); None: any."""

    def __post_init__(self) -> None:
        for points in (self.regular, self.bold):
            sizes = [size for size, _ in points]
            if not points or sizes != sorted(set(sizes)) or sizes[0] <= 0:
                raise InputError(f"a legibility curve needs points of rising sizes above 0 px, not {points!r}")
            if not all(0.0 <= share <= 1.0 for _, share in points):
                raise InputError(f"the shares of a legibility curve lie between 0 and 1, not {points!r}")

    @classmethod
    def threshold(cls, least: float, eye: str = "threshold") -> LegibilityCurve:
        """An eye assumed to read nearly everything from `least` px on and nothing below three quarters of that."""
        points = ((0.75 * least, 0.0), (least, 0.98), (1.5 * least, 1.0))
        return cls(eye, points, points)

    def share(self, size: float, *, bold: bool = False) -> float:
        """Share of words of this type size (px) that are read right; 0 below the smallest size measured."""
        points = self.bold if bold else self.regular
        at = bisect_right(points, (size, 2.0))
        if at == 0:
            return 0.0
        if at == len(points):
            return points[-1][1]
        (low, below), (high, above) = points[at - 1], points[at]
        return below + (above - below) * (size - low) / (high - low)

    def smallest(self, *, share: float = PROMISE) -> float:
        """Smallest size in px, in halves, from which at least `share` of the words of either weight are read right.

        The largest size measured when none is good enough.
        """
        last = max(self.regular[-1][0], self.bold[-1][0])
        size = last
        while size - 0.5 > 0 and min(self.share(size - 0.5), self.share(size - 0.5, bold=True)) >= share:
            size -= 0.5
        return size

    def unreadable(self, text: str) -> set[str]:
        """Names of the scripts in `text` that this eye cannot read whatever their size."""
        return set() if self.scripts is None or text.isascii() else scripts_of(text) - self.scripts

    def save(self, path: Path | str) -> None:
        """Write the curves as JSON."""
        Path(path).write_text(json.dumps({"legibility": 1, **asdict(self)}, indent=1, default=sorted) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path | str) -> LegibilityCurve:
        """Read what `save` wrote. Raises `InputError` for anything else."""
        try:
            return cls.of(json.loads(Path(path).read_text("utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"cannot read the legibility curves in {path}: {error}") from error

    @classmethod
    def of(cls, data: object) -> LegibilityCurve:
        """The curves in a decoded JSON object. Raises `InputError` when it holds none."""
        if not isinstance(data, Mapping) or data.get("legibility") != 1:
            raise InputError('this is no file of legibility curves (it lacks `"legibility": 1`); `calibrate` writes one')
        try:
            regular, bold = (tuple((float(size), float(share)) for size, share in data[face]) for face in ("regular", "bold"))
            scripts = data.get("scripts")
            return cls(str(data["eye"]), regular, bold, None if scripts is None else frozenset(map(str, scripts)))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the legibility curves are damaged: {error!r}") from error


_SIZES = (5.0, 6.0, 6.5, 7.0, 7.5, 8.0, 9.0)
_REGULAR = (0.207, 0.613, 0.698, 0.936, 0.976, 0.986, 0.986)
_BOLD = (0.112, 0.735, 0.823, 0.968, 0.974, 0.979, 0.990)
OCR = LegibilityCurve(
    "ocr-2x on embedded", tuple(zip(_SIZES, _REGULAR, strict=True)), tuple(zip(_SIZES, _BOLD, strict=True)), READ_BY_OCR
)
"""The packaged OCR eye on pages of the embedded engine, as `memagent bench calibrate --words 600` measures it."""
