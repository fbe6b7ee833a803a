"""Hostile documents through the public `render`, with both engines: nothing runs, loads, restyles or hangs."""

from __future__ import annotations

import http.server
import io
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile
import numpy
import pytest
from PIL import Image, ImageDraw

from memagent_renderers import Budget, Picture, render
from memagent_renderers.engines import Engine
from memagent_renderers.engines.browser import BrowserEngine

BUDGET = Budget(64)
NAMES = list(hostile.documents("", Path("/")))
HEAVY = [name for name in NAMES if name.startswith("heavy")]
SOME_HEAVY_SLOW = [
    pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY and HEAVY.index(name) % 5 != 4 else []) for name in NAMES
]
"""Every document; of those that take long some are drawn by the slow tests only."""
HONEST = "\n\n".join(f"paragraph {number}" for number in range(10_000))
AT_MOST = 15
"""Times the processor time of an honest document of 10,000 paragraphs, in the same run; the slowest takes some 6."""


class Listener(http.server.ThreadingHTTPServer):
    """Serves the marker files and remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.asked.append(self.path)
        content = hostile.FILES.get(self.path.strip("/"), "").encode()
        self.send_response(200)
        kind = {".svg": "image/svg+xml", ".css": "text/css", ".html": "text/html"}.get(
            Path(self.path).suffix, "text/javascript"
        )
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def documents(listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("marked")
    hostile.write_files(folder)
    return hostile.documents(listener.url, folder)


def spent(document: str) -> tuple[Picture, float]:
    start = time.process_time()
    picture = render(document, BUDGET)
    return picture, time.process_time() - start


@pytest.fixture(scope="module")
def usual() -> float:
    """The processor time of an honest document."""
    return spent(HONEST)[1]


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Callable[[str], Picture]:
    """`render` with the embedded engine; fails the test when it takes unreasonably long beside an honest document."""

    def timed(document: str) -> Picture:
        picture, seconds = spent(document)
        if seconds >= 0.5 and seconds >= AT_MOST * request.getfixturevalue("usual"):  # the machine may have slowed down
            assert seconds < AT_MOST * spent(f"{HONEST} {seconds}")[1]  # never drawn before, so not cached
        return picture

    return timed


def harm(picture: Picture) -> str:
    """What a document did to its page; empty when nothing."""
    image = Image.open(io.BytesIO(picture.png))
    pixels = numpy.asarray(image.convert("RGB")).astype(int)
    if image.size != (picture.width, picture.height) or picture.tokens > BUDGET.tokens:
        return f"a page of {image.size} px"
    if (abs(pixels - hostile.MARKER).sum(axis=2) < 60).any():
        return "the marker's colour"
    if not all((pixels[y, x] == 255).all() for y in (0, -1) for x in (0, -1)):
        return "a corner that is not white"
    if (pixels.sum(axis=2) < 300).sum() < 30:
        return "no black text"
    return "" if (pixels.sum(axis=2) > 600).mean() > 0.3 else "a dark page"


def test_there_are_hundreds_and_no_two_are_the_same(documents: dict[str, str]) -> None:
    assert len(set(documents.values())) == len(documents) > 200
    assert list(documents) == NAMES


def test_the_checks_would_notice(listener: Listener) -> None:
    def seen(paint: Callable[[ImageDraw.ImageDraw], object]) -> str:
        image = Image.open(io.BytesIO(render("Ada lives in Lyon", Budget(16)).png)).convert("RGB")
        paint(ImageDraw.Draw(image))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return harm(Picture(buffer.getvalue(), *image.size, 16))

    assert seen(lambda pen: None) == ""
    assert seen(lambda pen: pen.rectangle((9, 30, 60, 40), fill=hostile.COLOUR)) == "the marker's colour"
    assert seen(lambda pen: pen.rectangle((0, 0, 5, 5), fill="#eee")) == "a corner that is not white"
    assert seen(lambda pen: pen.rectangle((0, 0, 999, 999), fill="#fff")) == "no black text"
    urllib.request.urlopen(f"{listener.url}/marker.css").close()
    assert listener.asked == ["/marker.css"]
    listener.asked.clear()


@pytest.mark.parametrize("name", SOME_HEAVY_SLOW)
def test_a_hostile_document_runs_loads_and_restyles_nothing(
    name: str, documents: dict[str, str], listener: Listener, draw: Callable[[str], Picture]
) -> None:
    assert harm(draw(documents[name])) == ""
    assert listener.asked == []


def test_hostile_documents_leave_the_embedded_engine_as_it_was(documents: dict[str, str]) -> None:
    before = render("# Ada", BUDGET).png
    for name, document in documents.items():
        if not name.startswith("heavy"):
            render(document, BUDGET)
    assert render("# Ada", BUDGET).png == before


@pytest.mark.slow
@pytest.mark.browser
def test_a_sample_with_chromium(documents: dict[str, str], listener: Listener, browser: BrowserEngine) -> None:
    light = [name for name in documents if not name.startswith("heavy")]
    _try_all({name: documents[name] for name in light[::5]}, browser, listener)


@pytest.mark.browser
@pytest.mark.slow
def test_all_documents_with_chromium(documents: dict[str, str], listener: Listener, browser: BrowserEngine) -> None:
    _try_all(documents, browser, listener)


def _try_all(documents: dict[str, str], browser: Engine, listener: Listener) -> None:
    """Draws them all in one browser, which must neither hang nor be any different afterwards."""
    assert isinstance(browser, BrowserEngine)
    before, process = render("# Ada", BUDGET, engine=browser).png, browser.pid
    found = {name: harm(render(text, BUDGET, engine=browser)) for name, text in documents.items()}
    assert {name: what for name, what in found.items() if what} == {}
    time.sleep(0.3)  # for requests that are still under way
    assert listener.asked == []
    assert browser.pid == process
    assert render("# Ada", BUDGET, engine=browser).png == before
