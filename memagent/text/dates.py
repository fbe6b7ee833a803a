"""Dates that a text names, as intervals of days: "last week", "28 October", "vor drei Tagen", "昨天", 2025-10-28.

Each expression is found by the patterns of its language (`memagent.text.date_patterns`, data in `dates.toml`), without asking
which language the text is in; where two overlap, the longer one counts. An expression has one meaning or, as "on Monday" and
"in June", one for every week or year; two that stand side by side narrow each other down ("Monday, 28 October", "June last
year", "上周五"). What then is still open is the last one before today, the first one after it, or both, as the tense tells.

Tried first: `dateparser` 1.5 finds no "last week", "last weekend" or "last summer", gives points where intervals are meant,
takes "we" for Wednesday and "may" for May, and needs three seconds to load; `parsedatetime` knows points in English only;
`recognizers-text-date-time` has intervals but cannot be imported beside today's `emoji`.
Seasons are those of the northern hemisphere. Weeks begin on Monday.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memagent.text.date_patterns import CALENDAR, NUMERIC, DateWords, languages, telling_words
from memagent.text.tokens import fold

DECAY_DAYS = 7.0
"""Days after the end of an interval in which its nearness falls to 1/e: people tell things days after they happened."""
LONG_DAYS, LONG_WEIGHT = 100, 0.3
"""Intervals over so many days tell little; their nearness has this weight."""
LONGEST_DAYS = 400
"""Intervals over so many days tell nothing."""
MOST_CHARACTERS = 4_000
"""Of a text that is looked through."""
_TOLD_DAYS = 31
"""Longer times that a text names are no days of which it tells."""
_YEARS = 3
"""Years before and after today in which a date without a year may lie."""
_MOST_BETWEEN = 16
"""Characters between two parts of one date."""
_FIGURE = re.compile(r"\d")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_WORDS_BEFORE = 9
"""Words of an expression before the one that tells of it: "between the 3 rd and the 9 th of May" has nine."""
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_KANJI = {sign: number for number, sign in enumerate("一二三四五六七八九", 1)}


class DateInterval(NamedTuple):
    """Days from `start` to `end`, both included."""

    start: date
    end: date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days + 1


@dataclass(frozen=True)
class _Found:
    """An expression: where it stands in the folded text, and what it may mean, in order of time."""

    start: int
    stop: int
    choices: tuple[DateInterval, ...]
    recurs: bool
    """Whether the choices are of many weeks or years, of which one is meant."""
    words: DateWords | None = None
    """Of its language; None for figures."""


def date_intervals(text: str, *, now: datetime) -> list[DateInterval]:
    """The days that a text names, in the order of the text, seen from the local time `now`; none where it names none.

    An expression that may lie before or after today, and no tense tells which, gives both.
    """
    folded, today = fold(text[:MOST_CHARACTERS]), now.date()
    if not 1100 < today.year < 8900:  # the zero of some clock: "a thousand years ago" must stay a date
        return []
    found = _joined(folded, _longest(_expressions(folded, today)), today)
    meant = (interval for one in found for interval in _meant(one, folded, today))
    return list(dict.fromkeys(meant))


def days_told(text: str, said: datetime) -> tuple[DateInterval, ...]:
    """The days of which a text tells: the one on which it was `said` (local time), and those that it names, of a month at most.

    "The dentist is tomorrow", said on 2 May, tells of 2 and 3 May.
    """
    return _days_told(text, said.date())  # one moment has two days: times of two zones may be equal


@lru_cache(maxsize=20_000)
def _days_told(text: str, day: date) -> tuple[DateInterval, ...]:
    named = (one for one in date_intervals(text, now=datetime(day.year, day.month, day.day)) if one.days <= _TOLD_DAYS)
    return (DateInterval(day, day), *named)


def nearness(asked: Sequence[DateInterval], starts: ArrayLike, ends: ArrayLike) -> NDArray[np.float32]:
    """How near days lie to the intervals of a question, 0 to 1, as the best of them says.

    `starts` and `ends` are the first and last day of each text, as ordinals (`date.toordinal`), both of shape (texts,), and
    so is the result: exp(-gap / 7), gap = days after the end of the interval, or twice the days before its start.
    """
    first, last = np.asarray(starts, np.float32), np.asarray(ends, np.float32)
    best = np.zeros(first.shape, np.float32)
    for interval in asked:
        if interval.days <= LONGEST_DAYS:
            after = first - interval.end.toordinal()
            before = 2 * (interval.start.toordinal() - last)
            near = np.exp(-np.maximum(np.maximum(after, before), 0) / DECAY_DAYS)
            best = np.maximum(best, near * (LONG_WEIGHT if interval.days > LONG_DAYS else 1.0))
    return best.astype(np.float32)


def nearness_of_texts(asked: Sequence[DateInterval], texts: Iterable[tuple[str, datetime | None]]) -> NDArray[np.float32]:
    """How near texts, each with the local time when it was said, tell of the days of a question, 0 to 1. Shape (texts,)."""
    told = [days_told(text, said) if said else () for text, said in texts]
    ends = [(one.start.toordinal(), one.end.toordinal()) for days in told for one in days]
    near = iter(nearness(asked, *zip(*ends, strict=True)).tolist() if ends else [])
    return np.array([max((next(near) for _ in days), default=0.0) for days in told], np.float32)


# -- finding -----------------------------------------------------------------------------------------------------------


def _expressions(text: str, today: date) -> Iterator[_Found]:
    """Every expression of every language, overlapping ones too."""
    figures, unspaced = _FIGURE.search(text) is not None, _UNSPACED.search(text) is not None
    if figures:
        for match in NUMERIC.finditer(text):
            yield _Found(*match.span(), *_numeric(match, today))
    if unspaced:
        for match in CALENDAR.finditer(text):
            yield _Found(*match.span(), *_dated(match["year"], match["month"], match["day"], match["day"], today))
    words_at = [(match.start(), match[0]) for match in _WORD.finditer(text)]
    held = frozenset(word for _, word in words_at).union(text if unspaced else "")
    for words in () if not figures and held.isdisjoint(telling_words()) else languages():
        for kind, told_by, pattern in words.patterns:
            if not told_by.isdisjoint(held) or (figures and not told_by):
                near = words.spaced and told_by
                for match in _matches(pattern, text, words_at, told_by) if near else pattern.finditer(text):
                    yield _Found(*match.span(), *_resolved(kind, match, words, today), words)


def _matches(
    pattern: re.Pattern[str], text: str, words_at: Sequence[tuple[int, str]], told_by: frozenset[str]
) -> Iterator[re.Match[str]]:
    """Matches that begin a few words before one of `told_by`: several times as fast as a search of the whole text."""
    hits = [hit for hit, (_, word) in enumerate(words_at) if word in told_by]
    for place in sorted({hit - before for hit in hits for before in range(min(hit, _WORDS_BEFORE) + 1)}):
        if match := pattern.match(text, words_at[place][0]):
            yield match


def _longest(found: Iterable[_Found]) -> list[_Found]:
    """Those that no longer one overlaps, in the order of the text, without those that are no date."""
    kept: list[_Found] = []
    for one in sorted(found, key=lambda one: (one.start - one.stop, one.start)):
        if all(one.stop <= other.start or other.stop <= one.start for other in kept):
            kept.append(one)
    return sorted((one for one in kept if one.choices), key=lambda one: one.start)


def _joined(text: str, found: Sequence[_Found], today: date) -> list[_Found]:
    """Neighbours that make one date, or the two ends of a stretch of days, as one."""
    out: list[_Found] = []
    for one in found:
        out.append(one)
        while len(out) > 1 and (both := _together(out[-2], out[-1], text)):
            out[-2:] = [both]
    return [_since(one, text, today) for one in out]


def _together(first: _Found, second: _Found, text: str) -> _Found | None:
    words = second.words or first.words or languages()[0]
    between = text[first.stop : second.start]
    recurs = first.recurs and second.recurs
    if len(between) > _MOST_BETWEEN:
        return None
    if words.near.fullmatch(between) and (first.recurs or second.recurs):
        pairs = ((one, other) for one in first.choices for other in second.choices)
        common = [min(pair, key=lambda one: one.days) for pair in pairs if _within(*pair) or _within(*reversed(pair))]
        choices = tuple(sorted(set(common)))
    elif words.to.fullmatch(between) or (
        words.and_.fullmatch(between) and words.between and words.between.search(text[: first.start])
    ):
        ends = ((one, next((other for other in second.choices if other.start >= one.start), None)) for one in first.choices)
        last = {end: DateInterval(one.start, end.end) for one, end in ends if end}  # of several beginnings the latest one
        choices = tuple(one for one in last.values() if one.days <= LONGEST_DAYS)
    else:
        return None
    return _Found(first.start, second.stop, choices, recurs, words) if choices else None


def _within(one: DateInterval, other: DateInterval) -> bool:
    return other.start <= one.start and one.end <= other.end


def _since(one: _Found, text: str, today: date) -> _Found:
    begun = [choice for choice in one.choices if choice.start <= today]
    if one.words is None or one.words.since is None or not begun or not one.words.since.search(text[: one.start]):
        return one
    return replace(one, choices=(DateInterval(begun[-1].start, today),), recurs=False)


def _meant(one: _Found, text: str, today: date) -> tuple[DateInterval, ...]:
    """What is left open decided by the tense of the text, as far as it tells."""
    if not one.recurs:
        return one.choices
    past = [choice for choice in one.choices if choice.start <= today][-1:]
    future = [choice for choice in one.choices if choice.start > today][:1]
    words = one.words
    told = words is not None and words.past is not None and words.past.search(text) is not None
    coming = words is not None and words.future is not None and words.future.search(text) is not None
    if told != coming:
        return tuple((past or future) if told else (future or past))
    return (*past, *future)


# -- what one expression may mean --------------------------------------------------------------------------------------

_Choices = tuple[tuple[DateInterval, ...], bool]
"""In order of time, and whether one of many weeks or years is meant."""


def _resolved(kind: str, match: re.Match[str], words: DateWords, today: date) -> _Choices:
    groups = match.groupdict()
    shift = _shift(groups, words)
    match kind:
        case "day":
            away = [today + timedelta(int(end)) for end in words.days[groups["word"]].split("..")]
            return (DateInterval(away[0], away[-1]),), False
        case "date":
            month = str(words.values["month"][groups["month"]])
            first = groups.get("from") or groups["day"]
            return _dated(groups["year"], month, first, groups.get("until") or groups["day"], today)
        case "month":
            return _shifted(
                _dated(groups.get("year"), str(words.values["month"][groups["month"]]), None, None, today), shift, today
            )
        case "weekday":
            return _weekdays(words.values["weekday"][groups["weekday"]], shift, today, week_first=words.week_first)
        case "season":
            return _shifted(_seasons(words.values["season"][groups["season"]], groups.get("year"), today), shift, today)
        case "feast":
            ends = [end.split("-") for end in words.feasts[groups["word"]].split("..")]
            return _dated(groups["year"], ends[0][0], ends[0][1], ends[-1][1], today)
        case "lone":
            return _days_of_months(int(groups["day"]), today), True
        case "unit" if shift is not None and words.units[groups["unit"]] != "day":
            return (_period(words.units[groups["unit"]], shift, today),), False
        case "ago" | "ahead":
            number = _number(groups["number"], words) * (-1 if kind == "ago" else 1)
            return (_away(words.units[groups["unit"]], number, today),), False
        case "span" if shift in (-1, 1):
            end = _away(words.units[groups["unit"]], shift * _number(groups["number"], words), today)
            return (DateInterval(end.start, today) if shift < 0 else DateInterval(today, end.end),), False
    return (), False


def _shift(groups: dict[str, str | None], words: DateWords) -> int | None:
    for group in ("before", "after"):
        if word := groups.get(group):
            return words.values[group][word]
    return None


def _number(text: str, words: DateWords) -> int:
    return words.values["number"].get(text) or _figure(text)


def _figure(text: str) -> int:
    """A number below a hundred, in figures or in Chinese signs; 0 for what is none."""
    if text.isdecimal():
        return int(text)
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return _KANJI.get(text, 0)
    return 10 * (_KANJI.get(tens, 0) if tens else 1) + (_KANJI.get(ones, 0) if ones else 0)


def _dated(year: str | None, month: str, first: str | None, last: str | None, today: date) -> _Choices:
    """A month, or days of it, in a year or in every year around today."""
    years = [int(year)] if year else range(today.year - _YEARS, today.year + _YEARS + 1)
    found = [_in_month(one, _figure(month), first and _figure(first), last and _figure(last)) for one in years]
    return tuple(one for one in found if one is not None), year is None


def _in_month(year: int, month: int, first: int | str | None, last: int | str | None) -> DateInterval | None:
    try:
        begin = date(year, month, int(first or 1))
        end = date(year, month, int(last or monthrange(year, month)[1]))
    except ValueError:
        return None
    return DateInterval(begin, end) if begin <= end else None


def _numeric(match: re.Match[str], today: date) -> _Choices:
    """A date in figures; where day and month cannot be told apart by size or by sign, both readings."""
    groups = match.groupdict()
    if groups["y1"]:
        return _dated(groups["y1"], groups["m1"], groups["d1"], groups["d1"], today)
    if groups["y2"]:
        year = groups["y2"] if len(groups["y2"]) == 4 else f"20{groups['y2']}"
        one, _ = _dated(year, groups["b2"], groups["a2"], groups["a2"], today)
        other, _ = _dated(year, groups["a2"], groups["b2"], groups["b2"], today)
        return tuple(dict.fromkeys(one if one and groups["s2"] == "." else one + other)), False
    if groups["d5"]:
        return _dated(None, groups["m5"], groups["d5"], groups["d5"], today)
    if groups["year"]:
        return (DateInterval(date(int(groups["year"]), 1, 1), date(int(groups["year"]), 12, 31)),), False
    return _dated(groups["y3"] or groups["y4"], groups["m3"] or groups["m4"], None, None, today)


def _seasons(number: int, year: str | None, today: date) -> _Choices:
    """Spring is March to May; a winter is named by the year in which it begins."""
    years = [int(year)] if year else range(today.year - _YEARS, today.year + _YEARS + 1)
    return tuple(_months(one, 3 + 3 * number, 3) for one in years), year is None


def _months(year: int, month: int, count: int = 1) -> DateInterval:
    """`count` months from a month, which may be under 1 or over 12, of a year."""
    begin, after = (year * 12 + month - 1, year * 12 + month - 1 + count)
    return DateInterval(date(begin // 12, begin % 12 + 1, 1), date(after // 12, after % 12 + 1, 1) - timedelta(1))


def _weekdays(weekday: int, shift: int | None, today: date, *, week_first: bool) -> _Choices:
    this = today + timedelta(weekday - today.weekday())
    if shift is not None and (week_first or shift == 0):
        day = this + timedelta(7 * shift)
        return (DateInterval(day, day),), False
    days = (this + timedelta(7 * week) for week in range(-60, 61))
    every = tuple(DateInterval(day, day) for day in days if day != today)  # today is called "today"
    choices, recurs = _shifted((every, True), shift, today)
    if shift == 1 and choices[0].start - today <= timedelta(6 - today.weekday()):  # of this week, or of the next one
        choices = (*choices, every[every.index(choices[0]) + 1])
    return choices, recurs


def _days_of_months(day: int, today: date) -> tuple[DateInterval, ...]:
    months = (divmod(today.year * 12 + today.month - 1 + away, 12) for away in range(-14, 15))
    return tuple(one for year, month in months if (one := _in_month(year, month + 1, day, day)) is not None)


def _shifted(found: _Choices, shift: int | None, today: date) -> _Choices:
    """The one of recurring intervals that "last", "this" or "next" picks."""
    choices, recurs = found
    if shift is None or not recurs:
        return found
    if shift < 0:
        picked = [one for one in choices if one.end < today][shift : shift + 1 or None]
    elif shift:
        picked = [one for one in choices if one.start > today][shift - 1 : shift]
    else:
        picked = [one for one in choices if one.start.year == today.year]
    return tuple(picked), False


def _period(unit: str, shift: int, today: date) -> DateInterval:
    """The week, weekend, month or year that is `shift` away from the one in which today lies."""
    monday = today + timedelta(7 * shift - today.weekday())
    match unit:
        case "week":
            return DateInterval(monday, monday + timedelta(6))
        case "weekend":
            return DateInterval(monday + timedelta(5), monday + timedelta(6))
        case "fortnight":
            ends = sorted((today, today + timedelta(14 * shift)))
            return DateInterval(ends[0], ends[1])
        case "month":
            return _months(today.year, today.month + shift)
        case _:
            return _months(today.year + shift, 1, 12)


def _away(unit: str, number: int, today: date) -> DateInterval:
    """The time `number` units from today: a day, seven days around one, a month, or a year."""
    number = max(-1000, min(number, 1000))
    if unit in ("month", "year", "weekend"):
        return _period(unit, number, today)
    middle = today + timedelta(number * {"day": 1, "week": 7, "fortnight": 14}[unit])
    around = timedelta(0 if unit == "day" else 3)
    return DateInterval(middle - around, middle + around)
