"""Chromium through Playwright: the engine to compare with, and the one for those who want a browser's own rendering.

One browser with one page is started on first use and kept. The page has no JavaScript, is offline, and every request
it might make is refused; the bundled fonts are handed to it once. All of this lives on one worker thread, because
Playwright's synchronous interface belongs to the thread that started it; `draw` may be called from any thread, also
from inside an event loop. A browser that has died is started again within the call; one that hangs is killed first.

The browser is looked for in `MEMAGENT_CHROMIUM`, then on the PATH, then among Playwright's own downloads.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import hashlib
import json
import os
import queue
import shutil
import signal
import threading
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from memagent_renderers import fonts
from memagent_renderers.engines.html import is_plain_html, page_html
from memagent_renderers.errors import ConfigError, MissingExtra, RenderError
from memagent_renderers.fonts.faces import ASCENT, DESCENT
from memagent_renderers.layout import Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Programs looked for on the PATH."""
START_SECONDS = 30.0
"""How long the browser may take to start."""
DRAW_SECONDS = 30.0
"""A running browser that takes longer than this for a page is taken for hung, unless the engine is told otherwise."""
TAB_DRAWS = 500
"""After so many pages Chromium's tab is replaced by a new one, since its memory grows with each of them."""
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
    # A capture waits for the next frame; without these it waits for the clock of a screen that is not there.
    "--disable-gpu-vsync",
    "--disable-frame-rate-limit",
)
_ADD_FONTS = """async faces => {
  for (const [family, source, options] of faces) {
    const face = new FontFace(family, source, options);
    document.fonts.add(await face.load());
  }
}"""


class BrowserEngine:
    """Draws with a kept Chromium. `close()` ends it; so does the end of the program.

    A page that takes longer than `draw_seconds` is drawn once more by a new browser.
    """

    name = "browser"
    parallel = False

    def __init__(self, *, executable: str | None = None, draw_seconds: float = DRAW_SECONDS) -> None:
        try:
            import playwright.sync_api  # noqa: F401
        except ImportError as error:
            raise MissingExtra("The browser layout engine (Playwright)", "pip install 'memagent[browser]'") from error
        self._executable = executable or find_chromium()
        self._draw_seconds = draw_seconds
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    @property
    def version(self) -> str:
        """A fingerprint of the browser's file, so that a cached picture can be found without starting it."""
        if self._executable is None:
            return f"playwright-{version('playwright')}"
        facts = Path(self._executable).resolve().stat()
        return hashlib.sha256(f"{self._executable} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:16]

    def draw(self, page: Page) -> bytes:
        """PNG of the page; starts the browser, or starts it again, when needed."""
        return self.draw_html(page_html(page), page.width, page.height)

    def draw_html(self, html: str, width: int, height: int) -> bytes:
        """PNG of any HTML, without scripts and without a network, as Chromium lays it out."""
        with self._lock:
            if self._worker is None or self._worker.lost:
                self._worker = _Worker(self._executable, self._draw_seconds)
                atexit.register(_close_quietly, weakref.ref(self))
            worker = self._worker
        return worker.draw(html, width, height)

    @property
    def pid(self) -> int | None:
        """Process id of the running browser; None before the first draw and after `close`."""
        return self._worker.pid if self._worker else None

    def close(self) -> None:
        """Ends the browser and waits until it is gone."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker:
            worker.stop()


def find_chromium() -> str | None:
    """Path of the browser to use; None means Playwright's own download. Raises `ConfigError` for a wrong setting."""
    asked = os.environ.get("MEMAGENT_CHROMIUM")
    if asked:
        found = shutil.which(asked)
        if not found:
            raise ConfigError(f"MEMAGENT_CHROMIUM names `{asked}`, which is not a program that can be run")
        return found
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclass
class _Job:
    html: str
    width: int
    height: int
    done: Future[bytes]


class _Worker:
    """The thread that owns Playwright; jobs come through a queue, None ends it."""

    def __init__(self, executable: str | None, draw_seconds: float) -> None:
        self._executable = executable
        self._draw_seconds = draw_seconds
        self._turn = threading.Lock()
        self.lost = False
        """True when not even killing the browser brought the worker back; another one takes its place."""
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._session: _Session | None = None
        self._thread = threading.Thread(target=self._run, name="memagent-browser", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        return self._session.pid if self._session else None

    def draw(self, html: str, width: int, height: int) -> bytes:
        with self._turn:  # the clock of a page starts when the one before it is done
            job = _Job(html, width, height, Future())
            limit = self._draw_seconds + (0 if self._session else START_SECONDS)
            self._jobs.put(job)
            try:
                return job.done.result(limit)
            except TimeoutError:
                self._kill()  # the worker sees the dead browser, starts another and draws again
            try:
                return job.done.result(START_SECONDS + self._draw_seconds)
            except TimeoutError as error:
                self.lost = True
                raise RenderError(f"Chromium did not draw a page within {self._draw_seconds:g} s, nor did a new one") from error

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join(self._draw_seconds)
        if self._thread.is_alive():
            self._kill()
            self._thread.join(START_SECONDS)

    def _kill(self) -> None:
        """Ends the browser with all of its processes, also ones that are stopped."""
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg") and os.getpgid(pid) != os.getpgrp():  # Playwright gives it a group of its own
                os.killpg(os.getpgid(pid), signal.SIGKILL)
            else:
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.done.set_result(self._draw(job))
            except BaseException as error:
                job.done.set_exception(error)
        self._end_session()

    def _draw(self, job: _Job) -> bytes:
        for last in (False, True):
            try:
                if self._session is None:
                    self._session = _Session(self._executable)
                return self._session.draw(job.html, job.width, job.height)
            except Exception as error:  # a lost driver raises a plain Exception
                self._end_session()
                if last and "Executable doesn't exist" in str(error):
                    raise MissingExtra("Chromium", "apt install chromium   (or: playwright install chromium)") from error
                if last:
                    raise RenderError(f"Chromium could not draw the page, not even after a restart: {error}") from error
        raise AssertionError("the loop above returns or raises")

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session:
            session.end()


class _Session:
    """A running browser with its one page."""

    _size: tuple[int, int]

    def __init__(self, executable: str | None) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright: Playwright = sync_playwright().start()
        try:
            root = hasattr(os, "geteuid") and os.geteuid() == 0
            self._browser: Browser = self._playwright.chromium.launch(
                executable_path=executable, args=list(FLAGS), chromium_sandbox=not root
            )
            wire = self._browser.new_browser_cdp_session()
            processes = wire.send("SystemInfo.getProcessInfo")["processInfo"]
            wire.detach()
            self.pid = next((int(process["id"]) for process in processes if process["type"] == "browser"), None)
            self._wire, self._frame = self._open_page()
            self._drawn = 0
            self._stained = False
        except BaseException:
            self._playwright.stop()
            raise

    def draw(self, html: str, width: int, height: int) -> bytes:
        self._drawn += 1
        if self._drawn % TAB_DRAWS == 0 or self._stained:
            self._page.context.close()
            self._wire, self._frame = self._open_page()
        self._stained = not is_plain_html(html)  # such a page may yet navigate away, fonts and all
        self._add_fonts(fonts.fallback.faces_in(html))
        size = (max(width, self._size[0]), max(height, self._size[1]))
        if size != self._size:  # the window never gets smaller: each change of its size takes some 5 ms
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
            self._wire.send("Emulation.setDeviceMetricsOverride", metrics)
            self._size = size
        self._wire.send("Page.setDocumentContent", {"frameId": self._frame, "html": html})
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self._wire.send("Page.captureScreenshot", {"format": "png", "clip": clip, "optimizeForSpeed": True})
        return base64.b64decode(shot["data"])

    def end(self) -> None:
        with contextlib.suppress(Exception):  # what is being ended may be dead already
            self._browser.close()
        with contextlib.suppress(Exception):
            self._playwright.stop()

    def _open_page(self) -> tuple[CDPSession, str]:
        context = self._browser.new_context(java_script_enabled=False, offline=True, service_workers="block")
        context.route("**/*", lambda route: route.abort())
        self._page = context.new_page()
        self._fonts: set[str] = set()
        self._add_fonts(fonts.all_faces())
        self._size = (0, 0)
        wire = context.new_cdp_session(self._page)
        return wire, str(wire.send("Page.getFrameTree")["frameTree"]["frame"]["id"])

    def _add_fonts(self, faces: list[fonts.Face]) -> None:
        """Hands faces to the page, which keeps them."""
        added = [(face.name, *_css_font(face)) for face in faces if face.name not in self._fonts]
        if added:
            self._page.evaluate(_ADD_FONTS, [font for _, *font in added])
            self._fonts |= {name for name, *_ in added}


def _css_font(face: fonts.Face) -> tuple[str, str, dict[str, str]]:
    """Family, source and options of a CSS font. A fallback has any weight, so that none is imitated, and the height of
    the bundled faces, so that it moves no line."""
    data = f"url(data:font/ttf;base64,{base64.b64encode(face.data).decode()})" if face.source or face.advances else ""
    if face.advances:
        weight, style = "700" if face.name == "bold" else "400", "italic" if face.name == "italic" else "normal"
        return fonts.FAMILY, data, {"weight": weight, "style": style}
    names = (face.typeface.getPostScriptName(), face.typeface.getFamilyName())
    local = ", ".join(f"local({json.dumps(name)})" for name in names if name)
    height = {"ascentOverride": f"{100 * ASCENT}%", "descentOverride": f"{100 * DESCENT}%", "lineGapOverride": "0%"}
    return face.name, data or local, {"weight": "1 1000", **height}


def _close_quietly(reference: weakref.ref[BrowserEngine]) -> None:
    engine = reference()
    if engine:
        engine.close()
