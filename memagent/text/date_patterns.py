"""Regular expressions for dates in words, built from the tables of `dates.toml`, one set for each language.

Text and tables are folded alike (`memagent.text.tokens.fold`). The groups of a pattern name what was
found; `memagent.text.dates` turns them into days.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from memagent.text.tokens import fold

_WORD = re.compile(r"[^\W\d_]+")
_TOLD_BY = {
    "day": "days", "none": "days", "feast": "feasts", "weekday": "weekdays", "season": "seasons", "date": "months",
    "month": "months", "unit": "units", "span": "units", "ago": "units", "ahead": "units",
}  # fmt: skip
"""The table whose words tell that a pattern of a kind may be found."""
_JOINTS = (" ", ",", "の", "的", "on", "the", "at", "am", "an")
_YEAR = r"(?P<year>(?:19|20)\d\d)(?!\d)"
_DAY = r"(?P<day>[0-3]?\d)(?!\d)"

NUMERIC = re.compile(
    r"(?<![\d.])(?:"
    r"(?P<y1>(?:19|20)\d\d)(?P<s1>[-/.])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})(?!\d)"
    r"|(?P<a2>\d{1,2})(?P<s2>[-/.])(?P<b2>\d{1,2})(?P=s2)(?P<y2>(?:19|20)?\d\d)(?!\d)"
    r"|(?P<y3>(?:19|20)\d\d)-(?P<m3>[01]\d)(?![\d-])"
    r"|(?P<m4>[01]?\d)/(?P<y4>(?:19|20)\d\d)(?!\d)"
    r"|(?P<d5>[0-3]?\d)\.(?P<m5>[01]?\d)\.(?!\d)"
    r"|(?P<year>(?:19|20)\d\d)(?!\d)年?)"
)
"""Dates in figures: 2025-10-28, 28.10.2025, 10/28/2025, 2025-10, 10/2025, 28.10., 2025."""
CALENDAR = re.compile(
    r"(?:(?P<year>(?:19|20)\d\d)年)?(?P<month>\d{1,2}|[一二三四五六七八九十]{1,2})月(?:(?P<day>\d{1,2}|[一二三四五六七八九十]{1,3})[日号號])?"
)
"""Chinese and Japanese dates: 2025年10月28日, 十月二十八日, 10月."""


@dataclass(frozen=True)
class DateWords:
    """What a language says dates with."""

    patterns: tuple[tuple[str, frozenset[str], re.Pattern[str]], ...]
    """(kind, words of which a text holds one if the pattern finds something, pattern). Kinds: day, date, month, weekday,
    season, unit, ago, ahead, span, lone, feast, none. Of unspaced languages the words are characters; of "lone" none."""
    values: Mapping[str, Mapping[str, int]]
    """What a word of a group means: months from 1, weekdays and seasons from 0, numbers, shifts."""
    units: Mapping[str, str]
    days: Mapping[str, str]
    """Days from today, or the first and the last of several, by word."""
    feasts: Mapping[str, str]
    """Month and day, or the first and the last of several, by name."""
    past: re.Pattern[str] | None
    future: re.Pattern[str] | None
    near: re.Pattern[str]
    """What may stand between two parts of one date."""
    to: re.Pattern[str]
    """What stands between the first and the last day of a stretch."""
    and_: re.Pattern[str]
    """The same behind `between`."""
    between: re.Pattern[str] | None
    since: re.Pattern[str] | None
    spaced: bool
    week_first: bool
    """Whether "last Monday" is the Monday of the last week."""


@cache
def languages() -> tuple[DateWords, ...]:
    """Every language that there is a table for."""
    tables = tomllib.loads(Path(__file__).with_name("dates.toml").read_text("utf-8"))
    return tuple(map(_compiled, tables.values()))


@cache
def telling_words() -> frozenset[str]:
    """Words, and characters of unspaced languages, without one of which, and without a figure, a text names no date."""
    return frozenset(word for language in languages() for _, told_by, _ in language.patterns for word in told_by)


def _compiled(table: Mapping[str, Any]) -> DateWords:
    spaced = table.get("spaced", True)
    words = {key: _words(table[key]) for key in ("weekdays", "seasons")}
    words |= {key: _words(table[key].values()) for key in ("units", "days", "feasts")}
    words["months"] = _words(table.get("months", []))
    triggers = {key: frozenset(part for name in names for part in _last(name, spaced)) for key, names in words.items()}
    joints = [*_JOINTS, *_split("|".join(table.get(key, "") for key in ("of", "in")))]
    return DateWords(
        patterns=tuple(
            (kind, triggers.get(_TOLD_BY.get(kind, ""), frozenset()), _bounded(pattern, spaced))
            for kind, pattern in _written(table, spaced)
        ),
        values={
            "month": _numbered(table.get("months", []), 1),
            "weekday": _numbered(table["weekdays"], 0),
            "season": _numbered(table["seasons"], 0),
            "number": _numbered(table["numbers"], 1) | _keyed(table.get("tens", {})),
            "before": _keyed(table["before"]),
            "after": _keyed(table.get("after", {})),
        },
        units={word: unit for unit, variants in table["units"].items() for word in _split(variants)},
        days={word: days for days, variants in table["days"].items() for word in _split(variants)},
        feasts={word: days for days, variants in table["feasts"].items() for word in _split(variants)},
        past=_search(table.get("past"), spaced),
        future=_search(table.get("future"), spaced),
        near=re.compile(f"{_either(joints)}*"),
        to=re.compile(f" ?(?:[-–—~〜]|{_either(_split(table['to']))}) ?(?:(?:the|dem|den|el|il|o|le) )?"),
        and_=re.compile(f" ?{_either(_split(table.get('and', '')))} ?"),
        between=_search(table.get("between"), spaced, end=True),
        since=_search(table.get("since"), spaced, end=True),
        spaced=spaced,
        week_first=bool(table.get("week_first")),
    )


def _written(table: Mapping[str, Any], spaced: bool) -> Iterator[tuple[str, str]]:
    """The patterns of a table, by kind."""
    number = f"(?P<number>\\d{{1,3}}|{_either(_words([*table['numbers'], *table.get('tens', {}).values()]))})"
    if not spaced:
        number = rf"(?P<number>\d{{1,3}}|[一二三四五六七八九十]{{2,3}}|{_either(_words(table['numbers']))})"
    unit = f"(?P<unit>{_either(_words(table['units'].values()))})"
    leading = f"(?:(?P<before>{_either(_words(table['before'].values()))}) )"
    trailing = f"(?: (?P<after>{_either(_words(table['after'].values()))}))" if "after" in table else None
    led = f"(?:{_either(_split(table['in']))} ?)" if "in" in table else ""
    of = f"(?: ?{_either(_split(table['of']))} ?| )?" if "of" in table else " ?"
    weekday, season = (f"(?P<{name}>{_either(_words(table[f'{name}s']))})" for name in ("weekday", "season"))
    yield "day", f"(?P<word>{_either(_words(table['days'].values()))})"
    yield "feast", f"(?P<word>{_either(_words(table['feasts'].values()))})(?: {_YEAR})?"
    yield "weekday", f"{leading}?{weekday}"
    yield "season", f"{season}{of} ?{_YEAR}"
    yield "season", led + season
    for name, noun in {"season": season, "unit": unit, "span": f"{number} {unit}"}.items():
        yield name, leading + noun
        if trailing:
            yield name, noun + trailing
    yield "span", f"{number} {leading}{unit}"
    if trailing:
        yield "weekday", weekday + trailing
    for kind in ("ago", "ahead"):
        yield from ((kind, pattern.format_map({"n": number, "unit": unit})) for pattern in table[kind])
    if "lone" in table:
        yield "lone", table["lone"].format_map({"day": _DAY})
    if "none" in table:
        yield "none", _either(_split(table["none"]))
    if "months" in table:
        yield from _with_months(table, leading=leading, trailing=trailing, led=led, of=of)


def _with_months(
    table: Mapping[str, Any], *, leading: str, trailing: str | None, led: str, of: str
) -> Iterator[tuple[str, str]]:
    ordinal = f"(?:{table['ordinal']})?"
    to = f" ?(?:[-–—]|{_either(_split(table['to']))}) ?"
    joint = _split(table.get("joint", ""))
    full = [name for variants in table["months"] if (name := _split(variants)[0]) not in joint]
    any_month = f"(?P<month>{_either(_words(table['months']))})"
    alone = f"(?P<month>{_either(full)})"
    yield "date", rf"(?:(?P<from>[0-3]?\d){ordinal}{to})?{_DAY}{ordinal}{of}{any_month}\.?(?:{of},? ?{_YEAR})?"
    if "between" in table:  # "between 3 and 5 May"
        both = f"{_either(_split(table['between']))} (?P<from>[0-3]?\\d){ordinal} {_either(_split(table['and']))} "
        yield "date", rf"{both}{_DAY}{ordinal}{of}{any_month}\.?(?:{of},? ?{_YEAR})?"
    if table.get("month_first"):
        until = rf"(?:{to}(?P<until>[0-3]?\d)(?!\d){ordinal})?"
        yield "date", rf"{any_month}\.? (?:the )?{_DAY}{ordinal}{until}(?:,? {_YEAR})?"
    yield "month", rf"{any_month}\.?{of},? ?{_YEAR}"
    yield "month", leading + alone
    yield "month", alone
    if trailing:
        yield "month", alone + trailing
    if joint:
        shifts = _words(words for key, words in table["before"].items() if key != "0")  # "this may be"
        yield "month", f"(?:(?P<before>{_either(shifts)}) |{led})(?P<month>{_either(joint)})"


def _last(name: str, spaced: bool) -> Iterable[str]:
    """What of a name a text is looked through for first: its last word, or its first character."""
    return _WORD.findall(name)[-1:] if spaced else name[:1]


def _bounded(pattern: str, spaced: bool) -> re.Pattern[str]:
    """A pattern that matches whole words; where words are not spaced, its blanks are optional."""
    if spaced:
        return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)")
    return re.compile(pattern.replace(" ", "[ の的]?").replace("[ の的]??", "[ の的]?"))


def _search(words: str | None, spaced: bool, *, end: bool = False) -> re.Pattern[str] | None:
    """A pattern that finds one of the words, with `end` only as the last one of a text; None without words."""
    if words is None:
        return None
    edge = r"(?: (?:the|dem|den|el|il|o|a|le))? ?$" if end else r"(?!\w)"
    return re.compile(rf"(?<!\w){_either(_split(words))}{edge}" if spaced else _either(_split(words)))


def _split(variants: str) -> list[str]:
    return [fold(one) for one in variants.split("|") if one]


def _words(groups: Iterable[str]) -> list[str]:
    return [word for variants in groups for word in _split(variants)]


def _either(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})"


def _numbered(groups: Iterable[str], first: int) -> dict[str, int]:
    return {word: place for place, variants in enumerate(groups, first) for word in _split(variants)}


def _keyed(table: Mapping[str, str]) -> dict[str, int]:
    return {word: int(key) for key, variants in table.items() for word in _split(variants)}
