"""The look that a document may give to a stretch of text, and the checks that keep it harmless.

Only the tags of `INLINE_TAGS` are understood, and of their attributes only colour, background colour and type size.
A colour must be one that Pillow understands and must keep the text readable (a contrast of at least `MIN_CONTRAST` to
what lies behind it); otherwise it is ignored.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

INLINE_TAGS = frozenset(
    ("b", "strong", "i", "em", "u", "s", "del", "code", "mark", "small", "big", "sub", "sup", "br", "span", "font")
)
MIN_FONT_PX = 6.0
MAX_FONT_PX = 96.0
MIN_CONTRAST = 3.0
"""WCAG ratio. Pure red on white, the emphasis that MemOCR drafters use, has 4.0."""

_ATTRIBUTE = re.compile(r"([a-zA-Z-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)")
_SIZE = re.compile(r"(\d{1,4}(?:\.\d{1,3})?)(px|pt|em|rem|%)?$")
_FONT_SIZES = (10.0, 13.0, 16.0, 18.0, 24.0, 32.0, 48.0)
_UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "em": 16.0, "rem": 16.0, "%": 0.16}
_TAGS = {"bold": "b", "italic": "i", "strike": "s", "underline": "u", "code": "code"}


@dataclass(frozen=True)
class Style:
    """How a run looks. Colours are "#rrggbb" or None for the theme's."""

    bold: bool = False
    italic: bool = False
    strike: bool = False
    underline: bool = False
    code: bool = False
    colour: str | None = None
    background: str | None = None
    size: float | None = None
    """Type size in px that the document asks for; used for tiers and for pages of natural size."""

    @cached_property
    def face(self) -> str:
        """The bundled face that draws it; there is no bold italic, bold wins."""
        return "bold" if self.bold else "italic" if self.italic else "regular"

    def wrap(self, text: str, *, sized: bool = False) -> str:
        """`text` escaped, between the tags of this style."""
        opening, closing = _tags(self, sized)
        return f"{opening}{html.escape(text, quote=False)}{closing}"

    @property
    def coloured(self) -> bool:
        """Whether a page needs colours for it; greys are none."""
        return any(colour and len({colour[1:3], colour[3:5], colour[5:7]}) > 1 for colour in (self.colour, self.background))


PLAIN = Style()


@lru_cache(maxsize=1024)
def _tags(style: Style, sized: bool) -> tuple[str, str]:
    """Opening and closing tags of our own; `sized` adds the type size that the document asks for."""
    names = [tag for name, tag in _TAGS.items() if getattr(style, name) and not (name == "italic" and style.bold)]
    rules = [f"{name}:{value}" for name, value in (("color", style.colour), ("background", style.background)) if value]
    rules += [f"font-size:{style.size:g}px"] if sized and style.size else []
    opening = "".join(f"<{name}>" for name in names)
    closing = "".join(f"</{name}>" for name in reversed(names))
    if not rules:
        return opening, closing
    return f'<span style="{";".join(rules)}">{opening}', f"{closing}</span>"


def restyle(style: Style, tag: str, attributes: str) -> Style:
    """`style` with what the inline tag `tag` adds; `attributes` is the rest of the tag as written."""
    match tag:
        case "b" | "strong":
            return replace(style, bold=True)
        case "i" | "em":
            return replace(style, italic=True)
        case "s" | "del":
            return replace(style, strike=True)
        case "u":
            return replace(style, underline=True)
        case "code":
            return replace(style, code=True)
        case "mark":
            return replace(style, background="#ffff99")
        case "small":
            return replace(style, size=12.0)
        case "big":
            return replace(style, size=19.0)
        case "span" | "font":
            return _attributed(style, attributes)
        case _:
            return style


def _attributed(style: Style, attributes: str) -> Style:
    asked: dict[str, str] = {}
    for name, value in _ATTRIBUTE.findall(attributes[:1000]):
        plain = html.unescape(value.strip("\"'"))
        if name.lower() == "style":
            pairs = (rule.partition(":") for rule in plain.split(";"))
            asked.update({key.strip().lower(): text.strip() for key, _, text in pairs})
        elif name.lower() == "size" and plain.strip().isdecimal():
            asked["font-size"] = f"{_FONT_SIZES[min(max(int(plain.strip()[:2]), 1), 7) - 1]}"
        else:
            asked[name.lower()] = plain.strip()
    background = colour_of(asked.get("background-color", asked.get("background", ""))) or style.background
    colour = colour_of(asked.get("color", "")) or style.colour
    if contrast(colour or "#000000", background or "#ffffff") < MIN_CONTRAST:
        colour, background = style.colour, style.background
    size = size_of(asked.get("font-size", "")) or style.size
    return replace(style, colour=colour, background=background, size=size)


def size_of(value: str) -> float | None:
    """A CSS length as px, clamped to what type may be; None when it is not understood."""
    found = _SIZE.match(value.lower())
    if not found:
        return None
    return min(max(float(found[1]) * _UNITS[found[2] or ""], MIN_FONT_PX), MAX_FONT_PX)


@lru_cache(maxsize=1024)
def colour_of(value: str) -> str | None:
    """A CSS colour as "#rrggbb"; None when it is not one."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(value[:32])[:3]
    except (ValueError, TypeError):
        return None
    return f"#{red:02x}{green:02x}{blue:02x}"


@lru_cache(maxsize=1024)
def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two "#rrggbb" colours, 1 to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
