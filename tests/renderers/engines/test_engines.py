"""Engines: the embedded one, Chromium, the fake, and the table that names them."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from memagent_renderers import Budget, PictureCache, make_engine, render, text_of
from memagent_renderers.cache import is_whole_png
from memagent_renderers.engines import ENGINES
from memagent_renderers.engines.browser import BrowserEngine, find_chromium
from memagent_renderers.engines.fake import FakeEngine
from memagent_renderers.errors import BudgetError, ConfigError, RenderError, UnknownName
from memagent_renderers.layout import Page
from memagent_renderers.ocr.fake import FakePictureReader


def test_an_unknown_engine_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="embedded, browser, fake"):
        make_engine("opera")
    assert set(ENGINES) == {"embedded", "browser", "fake"}


_DIGEST = """import hashlib, sys; from memagent_renderers import Budget, render
print(hashlib.sha256(b"".join(render(sys.argv[1], Budget(tokens)).png for tokens in (4, 16, 256))).hexdigest())"""


def test_same_input_same_bytes_across_processes_hash_seeds_and_system_fonts(memory: str, tmp_path: Path) -> None:
    (tmp_path / "none.conf").write_text("<fontconfig></fontconfig>")
    here = hashlib.sha256(b"".join(render(memory, Budget(tokens)).png for tokens in (4, 16, 256))).hexdigest()
    for seed in ("0", "1", "4242"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "FONTCONFIG_FILE": str(tmp_path / "none.conf")}
        command = [sys.executable, "-c", _DIGEST, memory]
        assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip() == here


def test_render_fills_in_every_field(memory: str) -> None:
    picture = render(memory + "\n\n東京", Budget(16))
    assert (picture.width, picture.height, picture.tokens) == (112, 112, 16)
    assert picture.dropped > 0
    assert picture.missing == ("京", "東")
    assert Image.open(io.BytesIO(picture.png)).size == (112, 112)


def test_a_budget_below_the_floor_is_refused() -> None:
    with pytest.raises(BudgetError, match="at least 4"):
        render("x", Budget(3))


def test_an_engine_that_draws_the_wrong_size_is_an_error() -> None:
    class Wrong(FakeEngine):
        def draw(self, page: Page) -> bytes:
            return super().draw(replace(page, width=page.width + 1))

    with pytest.raises(RenderError, match="engine `fake` was asked for 56 x 56 px and drew 57 x 56 px"):
        render("Hi", Budget(4), engine=Wrong())


def test_the_fake_eye_reads_what_the_fake_engine_drew(memory: str) -> None:
    picture = render(memory, Budget(64), engine=FakeEngine())
    assert text_of(FakePictureReader().read(picture)).split() == [word for line in picture.lines for word in line.words]
    assert FakePictureReader().read(render(memory, Budget(64))) == []


def test_import_loads_nothing_heavy() -> None:
    heavy = ("PIL", "numpy", "markdown_it", "skia", "uharfbuzz", "fontTools", "playwright", "rapidocr", "memagent")
    script = f"import memagent_renderers, sys; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_wrong_chromium_setting_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAGENT_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(ConfigError, match="/nowhere/chromium"):
        find_chromium()


@pytest.mark.browser
def test_chromium_draws_the_same_page(browser: BrowserEngine, memory: str) -> None:
    picture = render(memory, Budget(64), engine=browser)
    assert Image.open(io.BytesIO(picture.png)).size == (picture.width, picture.height)
    assert render(memory, Budget(64), engine=browser).png == picture.png


@pytest.mark.browser
def test_chromium_runs_no_script_and_asks_for_nothing(browser: BrowserEngine, tmp_path: Path) -> None:
    import http.server
    import threading

    asked: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "red.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><rect width='99' height='99'/></svg>")
    html = (
        f"<meta http-equiv=refresh content='0;url={url}/meta'><link rel=stylesheet href={url}/css>"
        f"<img src={url}/img><img src=file://{tmp_path}/red.svg width=50 height=50><iframe src={url}/frame></iframe>"
        f"<style>body{{background:url({url}/bg)}}</style><script>document.body.innerHTML='<hr>';fetch('{url}/js')</script>"
        "<b onload=alert(1)>x</b>"
    )
    try:
        for _ in range(2):
            assert is_whole_png(browser.draw_html(html, 112, 112))
            time.sleep(0.2)
        assert asked == []
    finally:
        server.shutdown()
        server.server_close()
    first, second = (render("# Ada", Budget(16), engine=browser).png for _ in range(2))
    assert first == second


@pytest.mark.slow
@pytest.mark.browser
def test_a_killed_chromium_is_started_again_within_the_call_and_close_leaves_no_process() -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    engine = BrowserEngine()
    before = render("# Ada", Budget(16), engine=engine).png
    killed = engine.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert render("# Ada", Budget(16), engine=engine).png == before
    running = engine.pid
    assert running not in (None, killed)
    engine.close()
    assert engine.pid is None
    assert not Path(f"/proc/{running}").exists() or sys.platform != "linux"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_a_stopped_chromium_is_replaced_within_the_call(browser: BrowserEngine) -> None:
    engine = BrowserEngine(draw_seconds=1)
    before = render("# Ada", Budget(16), engine=engine).png
    stopped = engine.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    assert render("# Ada", Budget(16), engine=engine).png == before
    assert engine.pid not in (None, stopped)
    engine.close()
    assert not Path(f"/proc/{stopped}").exists() or sys.platform != "linux"


@pytest.mark.browser
def test_chromium_draws_the_same_after_a_larger_page(browser: BrowserEngine, memory: str) -> None:
    small = render("# Ada", Budget(4), engine=browser).png
    render(memory * 20, Budget(1024), engine=browser)
    assert render("# Ada", Budget(4), engine=browser).png == small


@pytest.mark.slow
@pytest.mark.browser
def test_a_new_tab_of_chromium_draws_the_same(browser: BrowserEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memagent_renderers.engines.browser.TAB_DRAWS", 2)
    assert len({render("# Ada *and* **Bo**", Budget(16), engine=browser).png for _ in range(5)}) == 1


@pytest.mark.browser
def test_a_cached_picture_needs_no_browser(browser: BrowserEngine, tmp_path: Path) -> None:
    picture = render("# Ada", Budget(16), engine=browser, cache=PictureCache(tmp_path))
    idle = BrowserEngine()
    assert render("# Ada", Budget(16), engine=idle, cache=PictureCache(tmp_path)) == picture
    assert idle.pid is None
