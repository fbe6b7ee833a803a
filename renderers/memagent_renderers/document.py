"""Markdown in, typed blocks out: the only door through which a document reaches a layout engine.

A document is parsed (CommonMark, tables, strikethrough, and the short list of inline HTML tags in `INLINE_TAGS`) into
`Block`s: runs of plain text with a `Style`, and a tier that says how much the block matters. HTML is then printed from
the blocks with our own tags only, everything else escaped. Safety is by construction: nothing that a document holds
can become a tag, an attribute other than a checked colour or size, a URL, a script or a style rule. What is not on the
list stays visible as the text that was written. Links and images are shown as their text.

Nothing is lost in silence: over-long input, too deep nesting and control or direction-changing characters leave a
visible mark.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from memagent_renderers.styles import INLINE_TAGS, PLAIN, Style, restyle

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_CHARS = 100_000
"""Longer documents are cut here, with a note."""
MAX_BLOCKS = 10_000
"""Blocks of a document that are read; the rest is left out with a note. Only documents of very short ones have more."""
MAX_NESTING = 60
"""Levels of lists and quotes that are followed (a nested list takes two)."""
MAX_BRACKETS = 5_000
"""Documents with more opening brackets than this keep their links and images as written: resolving them takes a time
that grows with the square of their number."""

TIERS = ("h1", "h2", "h3", "bold", "h4", "body", "h5", "h6", "small")
"""Tiers by importance, the most important first."""

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)((?:\s[^>]*)?)/?>", re.DOTALL)
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile("[\u1680\u2000-\u200a\u205f\u3000]")
_HARMFUL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2060-\u2065\u206a-\u206f\u3164"
    "\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
    # joiners where nothing joins: behind letters of joined scripts and emoji they shape what is drawn
    "|(?<![\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]"
    "|(?<![\u203c-\u3299\U0001f000-\U0001faff])\ufe0f"
)
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_MARK_PILES = re.compile(f"({_MARK}{{2}}){_MARK}+")
_PILES = re.compile(r"[^\w\s\x00-\u02ff\u2000-\u303f]{5,}")
"""Where more than four marks of other scripts may stand on one letter."""


@dataclass(frozen=True)
class Run:
    """A stretch of text in one style. "\\n" is a line break that the document asks for."""

    text: str
    style: Style = PLAIN


@dataclass(frozen=True)
class Block:
    """One paragraph, heading, list item, table row or code block: what layout orders, shows and drops as a unit."""

    runs: tuple[Run, ...]
    tier: str
    """One of `TIERS`."""
    kind: str = "paragraph"
    """"heading", "paragraph", "item", "quote", "row" or "code"."""
    marker: str = ""
    """"•" or "1." before a list item, ">" before a quote, else empty."""
    depth: int = 0
    """How many lists the block stands in, less one; 0 outside lists."""

    @property
    def text(self) -> str:
        """The block's words, without marker and style."""
        return "".join(run.text for run in self.runs)

    @property
    def html(self) -> str:
        """The block as one safe element, sizes included, for a page of natural size."""
        inner = "".join(run.style.wrap(run.text, sized=True) for run in self.runs).replace("\n", "<br>")
        if self.kind == "heading":
            return f"<{self.tier}>{inner}</{self.tier}>"
        if self.kind == "code":
            return f"<pre>{inner}</pre>"
        indent = f' style="margin-left:{20 * (self.depth + 1)}px"' if self.kind in ("item", "quote") else ""
        marker = f"{html.escape(self.marker)} " if self.marker else ""
        return f"<p{indent}>{marker}{inner}</p>"


def clean(text: str) -> str:
    """`text` in NFC with harmful characters replaced by "�" (controls, surrogates, direction overrides), invisible
    ones removed (zero-width, soft hyphen, variation selectors; not those that join what is drawn), odd spaces made plain
    and piles of marks cut to two, in scripts that use more to four.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _SPACES.sub(" ", _NEWLINES.sub("\n", text))
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", _HARMFUL.sub("�", text)))
    return _PILES.sub(_cut_pile, _MARK_PILES.sub(r"\1", text))


def _cut_pile(found: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for char in found[0]:
        marks = marks + 1 if unicodedata.category(char) == "Mn" else 0
        if marks <= 4:
            kept.append(char)
    return "".join(kept)


def parse(markdown: str) -> list[Block]:
    """The document as blocks in reading order; blocks without any visible text are left out."""
    shown = markdown[:MAX_CHARS]
    tokens = _parser(resolve_links=shown.count("[") <= MAX_BRACKETS).parse(clean(shown))
    blocks = [block for block in _Walk(tokens).blocks() if block.text.strip()]
    notes = []
    if len(markdown) > MAX_CHARS:
        notes.append(f"[{len(markdown) - MAX_CHARS:,} more characters are not shown]")
    if len(blocks) > MAX_BLOCKS:
        notes.append(f"[{len(blocks) - MAX_BLOCKS:,} more paragraphs are not shown]")
    if max((token.level for token in tokens), default=0) >= MAX_NESTING - 1:
        notes.insert(0, f"[nesting deeper than {MAX_NESTING // 2} lists is not shown]")
    return [*blocks[:MAX_BLOCKS], *(Block((Run(note),), "body") for note in notes)]


def to_html(markdown: str) -> str:
    """The whole document as safe HTML elements, one a line, in our own tags only."""
    return "\n".join(block.html for block in parse(markdown))


@cache
def _parser(*, resolve_links: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"])
    # A block of raw HTML would swallow Markdown, and a reference definition its own text.
    parser.disable(["html_block", "reference"] + ([] if resolve_links else ["link", "image"]))
    parser.validateLink = lambda url: True  # type: ignore[method-assign] # links are only ever shown as text
    return parser


@dataclass
class _Walk:
    """One pass over the parser's tokens."""

    tokens: list[Token]
    lists: list[list[str]] = field(default_factory=list)
    """For each open list: the marker that its next paragraph gets."""
    quotes: int = 0

    def blocks(self) -> Iterator[Block]:
        row: list[Run] | None = None
        heading = ""
        header_row = False
        for token in self.tokens:
            kind = token.type
            if kind in ("fence", "code_block"):
                yield Block((Run(clean(token.content).rstrip("\n"), Style(code=True)),), "body", "code")
            elif kind == "heading_open":
                heading = token.tag
            elif kind in ("thead_open", "thead_close"):
                header_row = kind == "thead_open"
            elif kind == "tr_open":
                row = []
            elif kind == "tr_close":
                yield Block(tuple(row or ()), "bold" if header_row else "body", "row")
                row = None
            elif kind == "inline" and row is not None:
                row += [Run(" | ")] * bool(row) + _runs(token, Style(bold=header_row))
            elif kind == "inline":
                yield self._text_block(token, heading)
                heading = ""
            else:
                self._container(token)

    def _container(self, token: Token) -> None:
        kind = token.type
        if kind in ("bullet_list_open", "ordered_list_open"):
            self.lists.append([""])
        elif kind in ("bullet_list_close", "ordered_list_close"):
            self.lists.pop()
        elif kind == "list_item_open":
            self.lists[-1][0] = f"{token.info}{token.markup}" if token.info else "•"
        elif kind in ("blockquote_open", "blockquote_close"):
            self.quotes += 1 if kind == "blockquote_open" else -1

    def _text_block(self, token: Token, heading: str) -> Block:
        runs = tuple(_runs(token, PLAIN))
        if heading:
            return Block(runs, heading, "heading")
        tier = _tier(runs)
        if self.lists:
            marker, self.lists[-1][0] = self.lists[-1][0], ""
            return Block(runs, tier, "item", marker, len(self.lists) - 1)
        return Block(runs, tier, "quote", ">") if self.quotes else Block(runs, tier)


def _tier(runs: tuple[Run, ...]) -> str:
    """The tier of a paragraph: by the type size that all of it asks for, else by weight."""
    styles = [run.style for run in runs if run.text.strip()]
    if not styles:
        return "body"
    sizes = [style.size for style in styles if style.size is not None]
    if len(sizes) == len(styles):
        for least, tier in ((28.0, "h1"), (20.0, "h2"), (17.0, "h3")):
            if min(sizes) >= least:
                return tier
        if max(sizes) < 13.0:
            return "small"
    return "bold" if all(style.bold for style in styles) else "body"


def _runs(token: Token, base: Style) -> list[Run]:
    """The styled text of an inline token. Tags that do not pair up are closed by the end of the block."""
    stack: list[tuple[str, Style]] = [("", base)]
    runs: list[Run] = []

    def put(text: str) -> None:
        if text:
            runs.append(Run(clean(text), stack[-1][1]))

    for child in token.children or []:
        kind = child.type
        if kind in ("softbreak", "hardbreak"):
            put(" " if kind == "softbreak" else "\n")
        elif kind == "code_inline":
            runs.append(Run(clean(child.content), restyle(stack[-1][1], "code", "")))
        elif kind == "image":
            put(child.content or "[image]")
        elif kind == "html_inline":
            put(_html_tag(child.content, stack))
        elif child.nesting and child.tag in INLINE_TAGS:
            _open_or_close(child.tag, "", stack, closing=child.nesting < 0)
        elif not child.nesting:
            put(child.content)
    return runs


def _html_tag(written: str, stack: list[tuple[str, Style]]) -> str:
    """Applies an allowed inline tag to `stack`; returns the text to show, which is the tag itself if not allowed."""
    found = _TAG.fullmatch(written)
    name = found[2].lower() if found else ""
    if not found or name not in INLINE_TAGS:
        return written
    closing = bool(found[1])
    if name == "br":
        return "\n"
    if not _open_or_close(name, found[3], stack, closing=closing):
        return written
    return "^" if name == "sup" and not closing else ""


def _open_or_close(name: str, attributes: str, stack: list[tuple[str, Style]], *, closing: bool) -> bool:
    """False when a closing tag has no partner, or when the tags nest beyond reason."""
    if not closing:
        if len(stack) > MAX_NESTING:
            return False
        stack.append((name, restyle(stack[-1][1], name, attributes)))
        return True
    for index in range(len(stack) - 1, 0, -1):
        if stack[index][0] == name:
            del stack[index:]
            return True
    return False
