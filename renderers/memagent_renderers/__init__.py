"""Rich text in, picture out: lays a Markdown document out for a budget of visual tokens and draws it.

    from memagent_renderers import Budget, render
    picture = render("# Ada\\n- lives in **Lyon**", Budget(16))

Knows nothing of agents. Everything is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memagent_renderers.budget import (
        Budget,
        Picture,
        PictureReader,
        ReaderProfile,
        TextLine,
        Word,
        processor_limits,
        text_of,
    )
    from memagent_renderers.cache import PictureCache
    from memagent_renderers.document import Block, parse, to_html
    from memagent_renderers.engines import Engine, make_engine
    from memagent_renderers.layout import Page, fit
    from memagent_renderers.legibility_curve import LegibilityCurve
    from memagent_renderers.ocr.rapidocr import RapidOcrReader
    from memagent_renderers.picture import render, render_batch
    from memagent_renderers.pricing import (
        READERS,
        FlatPricing,
        ImagePricing,
        PatchPricing,
        TilePricing,
        pricing_for,
        smart_resize,
    )

_HOMES = {
    "budget": ("Budget", "Picture", "PictureReader", "ReaderProfile", "TextLine", "Word", "processor_limits", "text_of"),
    "cache": ("PictureCache",),
    "document": ("Block", "parse", "to_html"),
    "engines": ("Engine", "make_engine"),
    "layout": ("Page", "fit"),
    "legibility_curve": ("LegibilityCurve",),
    "ocr.rapidocr": ("RapidOcrReader",),
    "picture": ("render", "render_batch"),
    "pricing": ("READERS", "FlatPricing", "ImagePricing", "PatchPricing", "TilePricing", "pricing_for", "smart_resize"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "READERS",
    "Block",
    "Budget",
    "Engine",
    "FlatPricing",
    "ImagePricing",
    "LegibilityCurve",
    "Page",
    "PatchPricing",
    "Picture",
    "PictureCache",
    "PictureReader",
    "RapidOcrReader",
    "ReaderProfile",
    "TextLine",
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
        raise AttributeError(f"module `memagent_renderers` has no attribute `{name}`")
    return getattr(import_module(f"memagent_renderers.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
