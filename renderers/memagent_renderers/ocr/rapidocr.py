"""A real eye that runs on a laptop: RapidOCR (PP-OCR models out of the package, no download, one thread).

A page is doubled before it is read (three times would lose half of the words: see the calibration notes), and the
detector works with a short side of 320 px, which reads the same words as the package's 736 px in a tenth of the time.
Tall pages are read in bands, each with some of its neighbours around it, so that no side limit of the models shrinks
them; a line counts where its middle lies. Lines are put into reading order by position, then cut into words, whose
boxes are shares of the line's box by length.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import threading
from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from memagent_renderers.budget import Picture, Word
from memagent_renderers.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

ENLARGE = 2
DETECTOR_SIDE = 320
BAND = 448
"""Height in px of the bands in which tall pages are read."""
OVERLAP = 48
"""Px of the neighbouring bands that are read along, more than the highest line."""


class OcrLine(NamedTuple):
    """A line that the eye found: its text, its box in px of the picture (left, top, right, bottom), its confidence."""

    text: str
    box: tuple[float, float, float, float]
    confidence: float


class RapidOcrReader:
    """Reads pictures by OCR. Models are loaded on the first read; the last `remember` readings are kept.

    Safe for threads, one read at a time. Raises `MissingExtra` on creation when RapidOCR is not installed.
    """

    def __init__(self, *, enlarge: int = ENLARGE, remember: int = 256) -> None:
        if importlib.util.find_spec("rapidocr") is None or importlib.util.find_spec("onnxruntime") is None:
            raise MissingExtra("The OCR eye (rapidocr, onnxruntime)", "pip install 'memagent[embedded]'")
        self.name = f"ocr-{enlarge}x"
        self._enlarge = enlarge
        self._remember = remember
        self._lock = threading.Lock()
        self._reader: Any = None  # RapidOCR has no types
        self._readings: OrderedDict[str, list[Word]] = OrderedDict()

    def read(self, picture: Picture) -> list[Word]:
        """Words in reading order, with boxes in px of the picture."""
        key = hashlib.sha256(picture.png).hexdigest()
        with self._lock:
            words = self._readings.get(key)
            if words is None:
                words = [word for line in self._lines(_open(picture.png)) for word in words_of(line)]
                self._readings[key] = words
                while len(self._readings) > self._remember:
                    self._readings.popitem(last=False)
            self._readings.move_to_end(key)
            return list(words)

    def _lines(self, page: Image) -> list[OcrLine]:
        lines: list[OcrLine] = []
        cuts = band_cuts(page)
        for top, bottom in pairwise(cuts):
            start, end = max(0, top - OVERLAP), min(page.height, bottom + OVERLAP)
            found = self._read_band(page.crop((0, start, page.width, end)))
            for line in found:
                left, upper, right, lower = line.box
                if top <= (upper + lower) / 2 + start < bottom:
                    lines.append(line._replace(box=(left, upper + start, right, lower + start)))
        return in_reading_order(lines)

    def _read_band(self, band: Image) -> list[OcrLine]:
        import numpy
        from PIL import Image

        size = (band.width * self._enlarge, band.height * self._enlarge)
        pixels = numpy.asarray(band.resize(size, Image.Resampling.BICUBIC))[:, :, ::-1]  # (height, width, BGR)
        if self._reader is None:
            self._reader = _load(max(4096, *size))
        result = self._reader(numpy.ascontiguousarray(pixels))
        if getattr(result, "txts", None) is None or result.boxes is None:
            return []
        found = []
        for text, corners, score in zip(result.txts, result.boxes, result.scores, strict=True):
            xs, ys = corners[:, 0] / self._enlarge, corners[:, 1] / self._enlarge  # upright box around four corners
            box = (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))
            found.append(OcrLine(text, box, float(score)))
        return found


def in_reading_order(lines: list[OcrLine]) -> list[OcrLine]:
    """Lines top to bottom, and left to right where they stand side by side."""
    rows: list[list[OcrLine]] = []
    bottom = float("-inf")
    for line in sorted(lines, key=lambda line: line.box[1] + line.box[3]):
        middle = (line.box[1] + line.box[3]) / 2
        if middle > bottom:
            rows.append([])
            bottom = middle + (line.box[3] - line.box[1]) / 3
        rows[-1].append(line)
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def words_of(line: OcrLine) -> list[Word]:
    """The words of a line; each gets the share of the line's box that its characters have of the line's text."""
    left, top, right, bottom = line.box
    step = (right - left) / max(1, len(line.text))
    words: list[Word] = []
    at = 0
    for text in line.text.split():
        at = line.text.index(text, at)
        words.append(Word(text, (left + at * step, top, left + (at + len(text)) * step, bottom), line.confidence))
        at += len(text)
    return words


def band_cuts(page: Image) -> list[int]:
    """Rows at which a page is cut into bands: near every `BAND` px, where the least ink is."""
    import numpy

    if page.height <= BAND + OVERLAP:
        return [0, page.height]
    ink = 255 - numpy.asarray(page.convert("L"), dtype=numpy.int64).min(axis=1)  # (height,): darkest pixel of each row
    cuts = [0]
    while page.height - cuts[-1] > BAND + OVERLAP:
        low = cuts[-1] + BAND - OVERLAP
        cuts.append(low + int(ink[low : low + OVERLAP].argmin()))
    return [*cuts, page.height]


def _open(png: bytes) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(png)).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"the picture cannot be read: {error}") from error


def _load(max_side: int) -> Any:
    """RapidOCR, quiet, on one thread, without the classifier that turns upside-down lines."""
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Global.max_side_len": max_side,
            "Det.limit_side_len": DETECTOR_SIDE,
            "Det.limit_type": "min",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
