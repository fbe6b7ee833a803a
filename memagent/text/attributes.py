"""What a sentence gives a value for, and how two sentences stand to each other, without a model.

A sentence has an attribute only when the whole of it is one of the plain statements in `attributes.toml` ("I live in {V}", "my
dog is called {V}") and what stands in the value's place can be one: a name has capitals, an age is a number. "I live in fear",
"my phone is broken" and "if I moved to Rome" therefore give nothing a value. From this follow four relations, each of which
holds only on evidence that would convince a careful person:

`repeats`   the new sentence tells nothing that the old one does not;
`completes` the old one stands in the new one as it is, and more after it;
`replaces`  both cannot be true of one person at once, so that the older no longer holds;
`corrects`  the new one speaks of a change in what the old one is about. The old one may hold all the same.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from memagent.text import amendments, tokens, wordlists

_DATA: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("attributes.toml").read_text("utf-8"))
_LANGUAGES = tuple(_DATA["opening"])


def _any_of(table: str) -> tokens.WholeWords:
    """A whole word or phrase of a table, in any language, for text in lower case."""
    return tokens.WholeWords("|".join(_DATA[table].values()))


def _words_of(table: str) -> frozenset[str]:
    return frozenset(word for text in _DATA[table].values() for word in text.split("|"))


_FOLD = {tokens.terms(word)[0]: tokens.terms(group[0])[0] for group in wordlists.lines("synonyms") for word in group}
_LIGHT = frozenset(_FOLD[tokens.terms(word)[0]] for word in wordlists.words("relations"))
_FILLERS = frozenset(tokens.terms(" ".join(wordlists.words("fillers")))) - frozenset(_FOLD)
_FUNCTION = _words_of("function")
_CHANGE, _RENEWED, _UNREAL, _ME = map(_any_of, ("change", "renewed", "unreal", "me"))
_NEGATION = re.compile(tokens.whole_words("|".join(_DATA["negation"].values())))
_LEANING = re.compile(
    rf"\W*(?:(?:{'|'.join(_DATA['opening'].values())})[,:]? )*(?:{'|'.join(_DATA['leaning'].values())})(?!\w)", re.I
)
_UNSPACED, _ENDING, _HANGUL = (re.compile(f"[{signs}]") for signs in (tokens.UNSPACED, "\u3040-\u309f", "\uac00-\ud7a3"))
_FREE, _JOINS = _words_of("free"), _words_of("joins")
_TOPICS = {name: re.compile(tokens.whole_words(words)) for name, words in _DATA["topics"].items()}
_VALUES = {name: frozenset(words.split("|")) for name, words in _DATA["values"].items()}
_QUOTING = re.compile(r"[\"“”„«»「『]|^\s*>|```|(?<!\w)'[^']+'(?!\w)", re.MULTILINE)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_TOKEN = re.compile(rf"(?:[^\W_]|[{tokens.MARKS}])+")
_SIGN = re.compile(r"(?<![\w)])[-−](?=[\d.])|[^\w\s.,;:!?…'\"“”„‘’«»()\[\]{}*`~–—-]")
"""Says something by itself: "C++" is not "C", -5 is not 5. Stops, quotes, brackets and dashes say nothing."""
_WORD = re.compile(rf"{_TOKEN.pattern}|{_SIGN.pattern}")
_STOPS = re.compile(r"[.!?…。！？｡؟۔।॥။።།]+[\s\"'”’»)\]]*$")
_LOOSE = (
    "a",
    "an",
    "the",
    "de",
    "del",
    "der",
    "den",
    "la",
    "le",
    "les",
    "el",
    "van",
    "von",
    "zu",
    "of",
    "am",
    "an",
    "di",
    "da",
)
"""Words that may be small within a name."""


class _Pattern(NamedTuple):
    slot: str
    kind: str
    one: str
    regex: re.Pattern[str]


@dataclass(frozen=True)
class Attribute:
    """A value of something, as a sentence states it."""

    slot: str
    """What has the value, such as "home", "name of dog", "favourite colour"."""
    value: str
    """The words of the sentence."""
    one: str
    """When another value ends this one: "always", "renewed" (when it is said outright that it changed), or "never"."""
    before: str | None = None
    """The value before, when the sentence names it."""

    @property
    def terms(self) -> frozenset[str]:
        """The value for comparing."""
        return (folded(self.value) or frozenset(tokens.terms(self.value))) | set(_SIGN.findall(self.value))

    def says(self, other: Attribute) -> bool:
        """Whether the value is the other one, or that and more ("Lyon, France" for "Lyon", but not "New York" for "York")."""
        begins = re.match(rf"{re.escape(other.value)}[\s,]", self.value, re.IGNORECASE) is not None
        longer = begins or self.value[:1].isdigit() != other.value[:1].isdigit()
        return self.terms == other.terms or (self.terms > other.terms and longer)


@dataclass(frozen=True)
class Statement:
    """A sentence as it is compared with others. Each side of it is looked at when it is first needed."""

    text: str
    """With contractions written out, without an opening that takes back what was said before."""
    amends: bool = False
    """Whether it had such an opening."""

    @cached_property
    def negative(self) -> bool:
        """Whether it says that something is not so."""
        return _NEGATION.search(self._small) is not None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All of it in lower case, without what a repetition may lack and without negation."""
        return tuple(word for word in _WORD.findall(_STOPS.sub("", self._bare.casefold())) if word not in _FREE)

    @cached_property
    def content(self) -> frozenset[str]:
        """Folded terms that carry content."""
        found = folded(" ".join(word for word in _TOKEN.findall(self._bare) if word.casefold() not in _FUNCTION))
        return frozenset(term for term in found if _UNSPACED.match(term) is None or _is_word(term))

    @cached_property
    def attribute(self) -> Attribute | None:
        """What it gives a value for."""
        return None if self.negative else _attribute(self.text)

    @cached_property
    def changed(self) -> bool:
        """Whether it speaks of a change."""
        return self.amends or _CHANGE.within(self._small)

    @cached_property
    def renewed(self) -> bool:
        """Whether it says outright that something was otherwise before."""
        return _RENEWED.within(self._small)

    @cached_property
    def leaning(self) -> bool:
        """Whether it goes on about what was spoken of before ("It is on Monday now")."""
        return _LEANING.match(self.text) is not None

    @cached_property
    def topics(self) -> frozenset[str]:
        """The sides of the speaker's own life that it is about; none when it does not name the speaker."""
        if not _ME.within(self._small):
            return frozenset()
        return frozenset(name for name, words in _TOPICS.items() if words.search(self._small))

    @property
    def _bare(self) -> str:
        return _NEGATION.sub(" ", self._small) if self.negative else self._small

    @cached_property
    def _small(self) -> str:
        return self.text.lower()


def folded(text: str) -> frozenset[str]:
    """Terms of a text that carry content, words of the same meaning as one."""
    return frozenset(fold(tokens.content_terms(_ORDINAL.sub(r"\1", text)))) - _FILLERS


def fold(terms: Iterable[str]) -> list[str]:
    """Stemmed terms, those of the same meaning as one."""
    return [_FOLD.get(term, term) for term in terms]


@lru_cache(maxsize=16_384)
def in_earnest(text: str) -> bool:
    """Whether the sentences of a message can be taken for what its writer says is so.

    Not when something in it is quoted, supposed, dreamed, or said by others: a sentence cut out of that looks like any other.
    """
    plain = amendments.without_own_words(_plain(text))
    return _QUOTING.search(plain) is None and not _UNREAL.within(plain.lower())


@lru_cache(maxsize=16_384)
def meaning(sentence: str) -> Statement:
    """What a sentence says, for comparing."""
    plain = " ".join(unicodedata.normalize("NFC", _plain(sentence)).split())
    start = amendments.opening(plain)
    return Statement(plain[start:], amends=True) if re.search(r"\w", plain[start:]) and start else Statement(plain)


def repeats(new: Statement, old: Statement) -> bool:
    """Whether the new sentence tells nothing that the old one does not."""
    if not new.words or new.negative != old.negative:
        return False
    if new.words == old.words or _goes_on(old, new):
        return True
    one = new.attribute
    other = None if one is None else old.attribute
    return one is not None and other is not None and one.slot == other.slot and other.says(one)


def completes(new: Statement, old: Statement) -> bool:
    """Whether the new sentence says all that the old one does, and more."""
    if not old.words or new.negative != old.negative:
        return False
    one = new.attribute
    other = None if one is None else old.attribute
    fuller = one is not None and other is not None and one.slot == other.slot and one.one != "never" and one.says(other)
    return fuller or _goes_on(new, old)


def replaces(new: Statement, old: Statement) -> bool:
    """Whether the old sentence cannot hold any more if the new one, said later in earnest, does."""
    if new.negative != old.negative:
        return len(new.words) > 1 and new.words == old.words
    return new.attribute is not None and old.attribute is not None and ends(new, old.attribute)


def ends(new: Statement, value: Attribute) -> bool:
    """Whether a value cannot be right any more if the sentence, said later in earnest, holds."""
    one = new.attribute
    if one is None or one.slot != value.slot or _agree(one, value):
        return False
    if one.before is not None and not _agree(Attribute(one.slot, one.before, one.one), value):
        return False
    if one.slot == "age" and int(one.value) < int(value.value):
        return False
    return one.one == "always" or (one.one == "renewed" and new.renewed)


def corrects(new: Statement, old: Statement) -> float:
    """How likely the new sentence, said later, corrects or outdates the old one; 0 where nothing speaks for it.

    It names another value of the same thing, or tells of a change and shares words, or the side of the speaker's life, with it.
    """
    other = old.attribute  # first: one old sentence is compared with many new ones
    one = None if other is None else new.attribute
    weight = 2.0 * (one is not None and other is not None and one.slot == other.slot and not _agree(one, other))
    if new.changed or (new.negative and not old.negative):
        shared = new.content & old.content
        shared -= {sign for pair in shared if _UNSPACED.match(pair) for sign in pair if pair != sign}
        weight += sum(0.5 if term.isdigit() else 1.0 for term in shared - _LIGHT)
        weight += bool(new.topics & old.topics)
    return weight if weight >= 1 else 0.0


def topic_words(topics: Iterable[str]) -> list[str]:
    """The words by which sides of a life are known, for a search."""
    return [word.rstrip("?") for name in topics for word in _DATA["topics"][name].split("|") if "[" not in word]


def _is_word(term: str) -> bool:
    """Whether a term of a script without blanks may be a word: one ideograph or two signs, no particle and no ending."""
    ending = _ENDING.search(term) or not _FUNCTION.isdisjoint({term, *term})
    return not ending and (len(term) > 1 or _HANGUL.match(term) is None)


def _goes_on(longer: Statement, shorter: Statement) -> bool:
    """Whether a sentence is the other one and a harmless addition ("... with my wife Anna")."""
    size = len(shorter.words)
    return len(longer.words) > size > 1 and longer.words[:size] == shorter.words and longer.words[size] in _JOINS


def _agree(one: Attribute, other: Attribute) -> bool:
    """Whether two values of one slot can both be right, as "Lyon", "Lyon in France" and "France" can."""
    wide = [one.value.casefold() in _VALUES["wide"], other.value.casefold() in _VALUES["wide"]]
    last = (
        not any(map(str.isdigit, one.value)) and one.value.split()[-1:] == other.value.split()[-1:]
    )  # "Lovelace" beside "Ada Lovelace"
    return one.says(other) or other.says(one) or last or wide[0] != wide[1]


# -- reading a value ---------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """The text with contractions written out, so that patterns need to know one form only."""
    text = text.replace("’", "'")
    if "'" not in text:
        return text
    text = re.sub(r"\bcan't\b", "cannot", text, flags=re.IGNORECASE)
    text = re.sub(r"n't\b", " not", text)
    text = re.sub(r"\bi'm\b", "I am", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(i|we)'ve\b", r"\1 have", text, flags=re.IGNORECASE)
    return re.sub(r"\bwe're\b", "we are", text, flags=re.IGNORECASE)


@cache
def _patterns(language: str) -> tuple[_Pattern, ...]:
    return tuple(
        _Pattern(slot["name"], slot["kind"], slot["one"], _clause(pattern, language))
        for slot in _DATA["slot"]
        for pattern in slot[language]
    )


@cache
def _statements() -> dict[str, re.Pattern[str]]:
    """For each language what matches if any of its patterns does: most sentences give nothing a value."""
    every = {language: [pattern for slot in _DATA["slot"] for pattern in slot[language]] for language in _LANGUAGES}
    return {language: _clause("|".join(found), language, named=False) for language, found in every.items() if found}


def _clause(pattern: str, language: str, *, named: bool = True) -> re.Pattern[str]:
    """A statement as a whole clause; its parts have names, unless it is one of several."""
    for mark, meant in (
        ("{J}", rf"(?:(?:{_DATA['just'][language]}) )*"),
        ("{V}", r"(?P<value>[^;!?]+?)"),
        ("{O}", r"(?P<before>[^;!?]+?)"),
        ("{W}", r"(?P<what>[^\W\d_][\w'-]*(?: [^\W\d_][\w'-]*){0,3}?)"),
    ):
        pattern = pattern.replace(mark, meant if named else re.sub(r"P<\w+>", ":", meant))
    opening, closing = _DATA["opening"][language], _DATA["closing"][language]
    whole = rf"\s*(?:(?:{opening})[,:!]? +)*(?:{pattern})(?:,? (?:{closing}))*[\s.!…]*"
    return re.compile(whole, re.IGNORECASE)


def _attribute(text: str) -> Attribute | None:
    spoken = [language for language, statement in _statements().items() if statement.fullmatch(text)]
    for slot, kind, one, regex in chain.from_iterable(map(_patterns, spoken)):
        match = regex.fullmatch(text)
        if match is None or not _can_be(match["value"], kind):
            continue
        groups = match.groupdict()
        what = (
            " ".join(fold(tokens.terms(groups.get("what") or "")))
            if slot == "name of {}"
            else (groups.get("what") or "").lower()
        )
        return Attribute(slot.format(what), match["value"].strip(), one, groups.get("before"))
    return None


def _can_be(value: str, kind: str) -> bool:
    """Whether some words can be a value of a kind."""
    small = value.casefold()
    match kind:
        case "age":
            return re.fullmatch(r"\d{1,3}", value) is not None
        case "phone":
            return re.fullmatch(r"\+?[\d\s()./-]+", value) is not None and sum(map(str.isdigit, value)) >= 5
        case "email":
            return re.fullmatch(r"[^\s@]+@[^\s@]+", value) is not None
        case "date":
            known = not _VALUES["month"].isdisjoint(_TOKEN.findall(small)) or re.search(r"\d[./-]\d", value)
            return bool(known) and any(map(str.isdigit, value)) and len(value.split()) <= 5
        case "noun":
            return len(value.split()) <= 4
        case "name" | "place":
            return all(map(_is_name, value.split(", ") if kind == "place" else [value]))
    return small in _VALUES[kind]


def _is_name(text: str) -> bool:
    """Whether this is written as names are: up to four words with capitals, none of them a word of the calendar."""
    words = text.split()
    large = [word for word in words if word.casefold() not in _LOOSE]
    proper = all(word[0].isupper() and re.fullmatch(r"[^\W\d_][\w.'-]*", word) for word in large)
    named = proper and bool(large) and len(words) <= 4
    return text.casefold() in _VALUES["wide"] or (named and _VALUES["unnamed"].isdisjoint(text.casefold().split()))
