"""A laid-out page as HTML, for engines that are browsers: every line in its place, nothing left to lay out."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import groupby

from memagent_renderers.fonts import fallback
from memagent_renderers.layout import Page

PAGE_END = "</body></html>"
_OTHER_TAG = re.compile(r"<(?!/?(?:b|br|code|div|em|h[1-6]|i|p|pre|s|small|span|strong|sub|sup|u)[\s/>])", re.IGNORECASE)
"""Anything in a body that is not one of the plain elements."""


def page_html(page: Page) -> str:
    """The whole document. Only text and tags of our own are in it; text is escaped."""
    lines = []
    for (top, height, size), group in groupby(page.spans, key=lambda span: (span.top, span.height, span.size)):
        spans = list(group)
        # A line of one direction flows as it is; else each stretch is put where it was computed to stand.
        for part in [[span] for span in spans] if any(span.rtl for span in spans) else [spans]:
            place = f"left:{part[0].left:g}px;top:{top}px;font-size:{size:g}px;line-height:{height}px;height:{height}px"
            turned = ' dir="rtl"' if part[0].rtl else ""
            texts = [
                f"<span style=\"font-family:'{span.face}'\">{text}</span>" if span.face.startswith(fallback.FAMILY) else text
                for span, text in ((span, span.style.wrap(span.text)) for span in part)
            ]
            lines.append(f'<div class="line"{turned} style="{place}">{"".join(texts)}</div>')
    style = f"width:{page.width}px;height:{page.height}px"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><style>{_stylesheet()}</style></head><body>'
        f'<div class="page" style="{style}">{"".join(lines)}</div>{PAGE_END}'
    )


def is_plain_html(html: str) -> bool:
    """Whether the body holds plain elements only: anything else might outlive its page."""
    _, _, body = html.partition("<body>")
    body, end, rest = body.rpartition(PAGE_END)
    return bool(end) and not rest and not _OTHER_TAG.search(body)


@cache
def _stylesheet() -> str:
    return files(__package__).joinpath("page.css").read_text("utf-8")
