"""Rich text in, picture out: lays a Markdown document out for a budget of visual tokens and draws it.

    from renderers import Budget, render
    picture = render("# Ada\\n- lives in **Lyon**", Budget(16))

Knows nothing of agents. Everything is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from renderers.budget import processor_limits, smart_resize
    from renderers.cache import PictureCache
    from renderers.engines import Engine, make_engine
    from renderers.eyes.ocr import OcrEye
    from renderers.layout import Page, fit
    from renderers.picture import render, render_batch
    from renderers.pricing import READERS, FlatPricing, ImagePricing, PatchPricing, TilePricing, pricing_for
    from renderers.reader import Budget, Eye, Picture, ReaderProfile, Word, text_of
    from renderers.richtext import Block, parse, to_html

MEMAGENT_RENDERERS = 1
"""Marks this package as memagent's own: another package called `renderers` exists."""

_HOMES = {
    "budget": ("processor_limits", "smart_resize"),
    "cache": ("PictureCache",),
    "engines": ("Engine", "make_engine"),
    "eyes.ocr": ("OcrEye",),
    "layout": ("Page", "fit"),
    "picture": ("render", "render_batch"),
    "pricing": ("READERS", "FlatPricing", "ImagePricing", "PatchPricing", "TilePricing", "pricing_for"),
    "reader": ("Budget", "Eye", "Picture", "ReaderProfile", "Word", "text_of"),
    "richtext": ("Block", "parse", "to_html"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "MEMAGENT_RENDERERS",
    "READERS",
    "Block",
    "Budget",
    "Engine",
    "Eye",
    "FlatPricing",
    "ImagePricing",
    "OcrEye",
    "Page",
    "PatchPricing",
    "Picture",
    "PictureCache",
    "ReaderProfile",
    "TilePricing",
    "Word",
    "fit",
    "make_engine",
    "parse",
    "pricing_for",
    "processor_limits",
    "render",
    "render_batch",
    "smart_resize",
    "text_of",
    "to_html",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module `renderers` has no attribute `{name}`")
    return getattr(import_module(f"renderers.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
