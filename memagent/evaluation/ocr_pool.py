"""Pictures in, what was read of them out: each distinct picture once, on all cores.

OCR takes seconds for a large page, so it runs in processes of its own, one thread each; readers that cost nothing read at
once. A picture that cannot be read is a failed reading, never the end of a run.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from memagent.errors import unknown_name
from memagent.forks import end_with_parent
from memagent_renderers.budget import Picture, PictureReader, Word
from memagent_renderers.engines.workers import cores
from memagent_renderers.legibility_curve import OCR
from memagent_renderers.ocr.fake import FakePictureReader
from memagent_renderers.ocr.rapidocr import RapidOcrReader
from memagent_renderers.ocr.simulated import SimulatedReader

READERS: dict[str, Callable[[], PictureReader]] = {
    "ocr": RapidOcrReader,
    "simulated": lambda: SimulatedReader(OCR),
    "fake": FakePictureReader,
}
SLOW = ("ocr",)
"""Readers that run in processes of their own."""


@dataclass(frozen=True)
class OcrResult:
    """What a reader made of a picture."""

    words: tuple[Word, ...]
    seconds: float
    """Processor time of the reading; other programs on the machine do not lengthen it."""
    error: str | None = None
    """Why it could not be read; None when it was."""


class OcrPool:
    """A reader by name, in as many processes as there are cores, or in this one (`here`), which is one of many itself.

    Raises `UnknownName`, or `MissingExtra` without its parts.
    """

    def __init__(self, name: str, *, here: bool = False) -> None:
        if name not in READERS:
            raise unknown_name("reader of pictures", name, list(READERS))
        self._reader = READERS[name]()
        self._asked: dict[str, Future[OcrResult]] = {}
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        if name in SLOW and not here:
            spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads
            self._pool = ProcessPoolExecutor(cores(), mp_context=spawn, initializer=_open, initargs=(name,))

    def read(self, picture: Picture) -> Future[OcrResult]:
        """A reading, now or later; that of an equal picture when there was one."""
        key = hashlib.sha256(picture.png).hexdigest()
        with self._lock:
            if key not in self._asked:
                if self._pool is not None:
                    self._asked[key] = self._pool.submit(_read, picture)
                else:
                    self._asked[key] = Future()
                    self._asked[key].set_result(reading(self._reader, picture))
            return self._asked[key]

    def __enter__(self) -> OcrPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=error is not None)


class PooledReader:
    """Waits for what a pool makes of a picture; words of one that cannot be read are none."""

    name = "pooled"

    def __init__(self, pool: OcrPool) -> None:
        self._pool = pool

    def read(self, picture: Picture) -> list[Word]:
        return list(self._pool.read(picture).result().words)


def reading(reader: PictureReader, picture: Picture) -> OcrResult:
    """What a reader makes of a picture, in this process and now; raises nothing."""
    began = time.process_time()
    try:
        words = tuple(reader.read(picture))
    except Exception as error:  # whatever goes wrong with one picture is a fact about that picture
        return OcrResult((), time.process_time() - began, f"{type(error).__name__}: {error}")
    return OcrResult(words, time.process_time() - began)


_opened: list[PictureReader] = []
"""The reader of this process, where it is one that reads for others."""


def _open(name: str) -> None:
    end_with_parent()
    _opened.append(READERS[name]())


def _read(picture: Picture) -> OcrResult:
    return reading(_opened[0], picture)
