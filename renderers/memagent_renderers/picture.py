"""The main function of this package: a Markdown document and a budget in, a picture within that budget out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from memagent_renderers import fonts
from memagent_renderers.budget import Budget, Picture, estimate_tokens, tokens_for
from memagent_renderers.cache import PictureCache, content_key
from memagent_renderers.engines import Engine, shared_engine
from memagent_renderers.engines.base import png_size
from memagent_renderers.engines.workers import cores, shared_workers
from memagent_renderers.errors import RenderError
from memagent_renderers.layout import Page, fit

SPREAD_FROM = 32
"""Documents from which on a batch is worth other processes, whose start takes about a second."""


def render(markdown: str, budget: Budget, *, engine: Engine | None = None, cache: PictureCache | None = None) -> Picture:
    """Lays `markdown` out for `budget` and draws it; the picture never costs more than the budget.

    `engine` is the process's embedded one when not given. With a `cache`, a page that was drawn before is not drawn
    again. Raises `BudgetError` below the reader's floor and `RenderError` when the engine fails.
    """
    drawer = engine or shared_engine()
    if cache is None:
        return _draw(fit(markdown, budget), budget, drawer, None)
    request = _request(markdown, budget, drawer)
    picture = cache.recall(request)
    if picture is None:
        picture = _draw(fit(markdown, budget), budget, drawer, cache)
        cache.keep(request, picture)
    return picture


def render_batch(
    documents: Sequence[str], budget: Budget, *, engine: Engine | None = None, cache: PictureCache | None = None
) -> list[Picture]:
    """What `render` makes of each document, in order; equal documents are drawn once.

    A large batch is spread over all cores where the engine allows it; that is the same `render` in other processes,
    which share the cache's folder. Raises what `render` raises, and then returns nothing.
    """
    drawer = engine or shared_engine()
    keys = {text: _request(text, budget, drawer) for text in documents} if cache else {}
    pictures = {text: cache.recall(keys[text]) if cache else None for text in documents}
    texts = [text for text, picture in pictures.items() if picture is None]
    if drawer.parallel and len(texts) >= SPREAD_FROM and cores() > 1:
        # without the reader's tokenizer, which need not pickle and which no page depends on
        portable = replace(budget, reader=replace(budget.reader, count=estimate_tokens))
        job = partial(render, budget=portable, engine=drawer, cache=cache)
        drawn = shared_workers().map(job, texts)
    else:
        drawn = [render(text, budget, engine=drawer, cache=cache) for text in texts]
    for text, picture in zip(texts, drawn, strict=True):
        pictures[text] = picture
        if cache:
            cache.keep(keys[text], picture)
    return [picture for picture in map(pictures.get, documents) if picture]


def _request(markdown: str, budget: Budget, engine: Engine) -> str:
    """The key under which `PictureCache` remembers what `render` returned."""
    reader = budget.reader
    facts = f"{reader.name} {reader.pricing} {reader.legibility} {tokens_for(budget)}"
    return content_key("request", markdown, facts, engine.name, engine.version)


def page_key(page: Page, engine: Engine) -> str:
    """The key under which `PictureCache` keeps the drawing of a page."""
    return content_key("page", repr(page.spans), f"{page.width}x{page.height}", engine.name, engine.version, fonts.DIGEST)


def _draw(page: Page, budget: Budget, engine: Engine, cache: PictureCache | None) -> Picture:
    key = page_key(page, engine) if cache else ""
    png = cache.get(key) if cache else None
    if png is None:
        png = engine.draw(page)
        if png_size(png) != (page.width, page.height):
            raise RenderError(
                f"engine `{engine.name}` was asked for {page.width} x {page.height} px and drew "
                f"{' x '.join(map(str, png_size(png)))} px"
            )
        if cache:
            cache.put(key, png)
    tokens = budget.reader.image_cost(page.width, page.height)
    assert tokens <= budget.tokens, f"a page of {tokens} tokens was laid out for a budget of {budget.tokens}"
    return Picture(png, page.width, page.height, tokens, page.sizes, page.dropped, page.missing, page.unreadable, page.lines)
