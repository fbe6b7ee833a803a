"""Pictures by content: what was drawn once is not drawn again, in this process or another.

A picture's key is a digest of everything that shapes it: page, size, engine with its version, fonts, and the version
of this format. On disk each picture is an ordinary PNG file named after its key, written beside its place and moved
there in one step, readable by the owner only. A file is checked chunk by chunk when it is read; a damaged one counts
as absent. Several processes may share a folder; each keeps it within `max_bytes` by deleting the pictures that were
used longest ago. In front of the disk stands a small memory cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zlib
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

from memagent_renderers.budget import Picture
from memagent_renderers.engines.base import PNG_MAGIC
from memagent_renderers.files import write_atomic

CACHE_VERSION = 1
"""Part of every key: raise it when pictures drawn from the same page may look different."""
_SWEEP_EVERY = 64


def content_key(*parts: str) -> str:
    """Key of what these parts determine; two different lists of parts never share one."""
    digest = hashlib.sha256(f"memagent-picture {CACHE_VERSION}".encode())
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


class PictureCache:
    """PNGs in `folder`, at most about `max_bytes` of them; `folder=None` keeps them in memory only.

    Safe for threads and for processes that share the folder. `memory_bytes=0` keeps nothing in memory. Pickled into
    another process it becomes a cache of the same folder, without memory.
    """

    def __init__(self, folder: Path | str | None, max_bytes: int = 64_000_000, *, memory_bytes: int = 16_000_000) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._pngs: OrderedDict[str, bytes] = OrderedDict()
        self._held = 0
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._since_sweep = 0
        self._written = 0
        if self._folder is not None:
            with contextlib.suppress(OSError):  # then nothing is kept there
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()

    def __reduce__(self) -> tuple[object, ...]:
        return _opened, (self._folder, self._max_bytes)

    def get(self, key: str) -> bytes | None:
        """The PNG kept under `key`, whole, or None."""
        with self._lock:
            png = self._pngs.get(key)
            if png is not None:
                self._pngs.move_to_end(key)
                return png
        png = self._read(key)
        if png is not None:
            self._hold(key, png)
        return png

    def put(self, key: str, png: bytes) -> None:
        """Keeps a PNG. A disk that is full or read-only is no error: the picture is just not kept there."""
        self._hold(key, png)
        path = self.path(key)
        if path is None:
            return
        with contextlib.suppress(OSError):
            write_atomic(path, png)
        with self._lock:
            self._since_sweep += 1
            self._written += len(png)
            due = self._since_sweep >= _SWEEP_EVERY or self._written > self._max_bytes // 8
        if due:
            self._sweep()

    def path(self, key: str) -> Path | None:
        """Where the PNG of `key` is, or would be; None for a cache without a folder."""
        return self._folder / f"{key}.png" if self._folder is not None else None

    def recall(self, request: str) -> Picture | None:
        """The finished picture of a request that this process made before (memory only)."""
        with self._lock:
            picture = self._pictures.get(request)
            if picture is not None:
                self._pictures.move_to_end(request)
            return picture

    def keep(self, request: str, picture: Picture) -> None:
        """Remembers the finished picture of a request, in memory."""
        with self._lock:
            self._pictures[request] = picture
            while len(self._pictures) > (256 if self._memory_bytes else 0):
                self._pictures.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything, on disk too (also pictures that other processes put there)."""
        with self._lock:
            self._pngs.clear()
            self._pictures.clear()
            self._held = 0
        for path in self._files():
            path.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes on disk at this moment."""
        return sum(size for _, size, _ in self._facts())

    def _hold(self, key: str, png: bytes) -> None:
        with self._lock:
            self._held += len(png) - len(self._pngs.get(key, b""))
            self._pngs[key] = png
            self._pngs.move_to_end(key)
            while self._held > self._memory_bytes and self._pngs:
                self._held -= len(self._pngs.popitem(last=False)[1])

    def _read(self, key: str) -> bytes | None:
        path = self.path(key)
        if path is None:
            return None
        try:
            png = path.read_bytes()
        except OSError:
            return None
        if not is_whole_png(png):
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now: the sweep deletes by age of use
        return png

    def _sweep(self) -> None:
        """Deletes the pictures used longest ago, down to 7/8 of the limit, so that it holds until the next sweep."""
        facts = self._facts()
        total = sum(size for _, size, _ in facts)
        if total > self._max_bytes * 7 // 8:
            for _, size, path in sorted(facts, key=lambda fact: fact[0]):
                if total <= self._max_bytes * 7 // 8:
                    break
                path.unlink(missing_ok=True)
                total -= size
        with self._lock:
            self._since_sweep = self._written = 0

    def _files(self) -> list[Path]:
        if self._folder is None:
            return []
        return [*self._folder.glob("*.png"), *self._folder.glob(".*.tmp")]

    def _facts(self) -> list[tuple[float, int, Path]]:
        """Time of last use, size and path of each file that is still there."""
        facts = []
        for path in self._files():
            with contextlib.suppress(OSError):
                stat = path.stat()
                facts.append((stat.st_mtime, stat.st_size, path))
        return facts


@lru_cache(maxsize=8)
def _opened(folder: Path | None, max_bytes: int) -> PictureCache:
    """The cache of a folder in a process that got it from another; opened once, since opening looks at every file."""
    return PictureCache(folder, max_bytes, memory_bytes=0)


def is_whole_png(png: bytes) -> bool:
    """True when every chunk of the file is there and matches its checksum."""
    if not png.startswith(PNG_MAGIC):
        return False
    at = len(PNG_MAGIC)
    while at + 12 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        end = at + 12 + length
        if end > len(png) or zlib.crc32(png[at + 4 : end - 4]) != int.from_bytes(png[end - 4 : end], "big"):
            return False
        if png[at + 4 : at + 8] == b"IEND":
            return end == len(png)
        at = end
    return False
