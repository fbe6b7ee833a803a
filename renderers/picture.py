"""The main function of this package: a Markdown document and a budget in, a picture within that budget out."""

from __future__ import annotations

from renderers import fonts
from renderers.budget import tokens_for
from renderers.cache import PictureCache, content_key
from renderers.engines import Engine, shared_engine
from renderers.engines.base import png_size
from renderers.errors import RenderError
from renderers.layout import Page, fit
from renderers.reader import Budget, Picture


def render(markdown: str, budget: Budget, *, engine: Engine | None = None, cache: PictureCache | None = None) -> Picture:
    """Lays `markdown` out for `budget` and draws it; the picture never costs more than the budget.

    `engine` is the process's embedded one when not given. With a `cache`, a page that was drawn before is not drawn
    again. Raises `BudgetError` below the reader's floor and `RenderError` when the engine fails.
    """
    drawer = engine or shared_engine()
    if cache is None:
        return _draw(fit(markdown, budget), budget, drawer, None)
    reader = budget.reader
    facts = f"{reader.name} {reader.pricing} {reader.acuity} {tokens_for(budget)}"
    request = content_key("request", markdown, facts, drawer.name, drawer.version)
    picture = cache.recall(request)
    if picture is None:
        picture = _draw(fit(markdown, budget), budget, drawer, cache)
        cache.keep(request, picture)
    return picture


def page_key(page: Page, engine: Engine) -> str:
    """The key under which `PictureCache` keeps the drawing of a page."""
    return content_key("page", page.html, f"{page.width}x{page.height}", engine.name, engine.version, fonts.DIGEST)


def _draw(page: Page, budget: Budget, engine: Engine, cache: PictureCache | None) -> Picture:
    key = page_key(page, engine) if cache else ""
    png = cache.get(key) if cache else None
    if png is None:
        png = engine.draw(page.html, page.width, page.height)
        if png_size(png) != (page.width, page.height):
            raise RenderError(
                f"engine `{engine.name}` was asked for {page.width} x {page.height} px and drew "
                f"{' x '.join(map(str, png_size(png)))} px"
            )
        if cache:
            cache.put(key, png)
    tokens = budget.reader.image_cost(page.width, page.height)
    assert tokens <= budget.tokens, f"a page of {tokens} tokens was laid out for a budget of {budget.tokens}"
    return Picture(png, page.width, page.height, tokens, page.sizes, page.dropped, page.missing, page.lines)
