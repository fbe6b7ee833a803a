"""What a question asks for, about whom, and whether a sentence holds it; by word lists, in several languages.

It tells an answer from its absence for readers that cannot: a language model of some hundred million parameters names a dog
that nobody mentioned. Sentence vectors do not tell either: by MiniLM "father" is as near to "mother" (.73) as "language" to
"Spanish" (.68). The lists are in `questions.toml`; a language that is not there is compared by its longer words alone.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import snowballstemmer

from memagent.text.owners import Mention, mentions
from memagent.text.sentences import sentences
from memagent.text.tokens import tells_time

Kind = Literal["age", "number", "when", "where", "who", "why"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_SIGNS = re.compile("[\u3400-\u9fff々]+|[\u30a0-\u30ffー]+|[a-z0-9]+")
_KANA_NAME = re.compile("(?:^|[\\s、。])([\u3041-\u3093]{2,6}?)(?=[はのが])")
_YES_NO = re.compile(
    r"^\W*(?:do|does|did|is|are|am|was|were|have|has|can|will|bin|ist|hab|habe|hat|sind|est-ce|ai-je|suis-je|tengo|es|ho|sono)\b",
    re.IGNORECASE,
)
_OR = re.compile(r"\b(?:or|oder|ou|o)\b|还是", re.IGNORECASE)
_STILL = re.compile(r"\bstill\b|\bnoch\b|\bencore\b|\btoujours\b|\btodavía\b|\bancora\b|まだ|还", re.IGNORECASE)
_CASED = re.compile(r"[^\W\d_][\w'’]*|\d+")
_LABEL = re.compile(r"^\W*(?:\w+ ){0,2}\w+: ?\S")
_LONG_WORD = 4
"""Letters of a word that counts as content in a language without a list, and of a part of a compound."""
_SUGGESTED = 0.9
"""Share of the anchors that a sentence is taken to hold which may tell one's name or job."""
_BESIDE = 2
"""Words between a thing and its name at most."""
_PREFIX = 5
"""Letters of a word that an inflected form begins with."""


def fold(text: str) -> str:
    """Text as words are compared: lower case, without accents, straight apostrophes."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return unicodedata.normalize("NFC", "".join(sign for sign in plain if not unicodedata.combining(sign)))


def _words(text: str) -> list[str]:
    return [word.removesuffix("'s") for word in _WORD.findall(fold(text))]


class Language:
    """The lists of one language; an empty table is the language that has none."""

    def __init__(self, name: str, table: dict[str, str]) -> None:
        self.name = name
        self._table = table
        self.spaced = not (table and not table["stemmer"])
        self._stemmer = snowballstemmer.stemmer(table["stemmer"]) if table.get("stemmer") else None
        self._groups: dict[str, set[str]] = {}
        for line in table.get("synonyms", "").split("\n"):
            both, _, one_way = line.partition("|")
            heads = [self.stem(fold(word)) for word in both.split()]
            for head in heads:
                self._groups.setdefault(head, set()).update(heads, (self.stem(fold(word)) for word in one_way.split()))

    @cache  # noqa: B019  # a language lives as long as the process
    def words(self, name: str) -> frozenset[str]:
        """A list, folded."""
        return frozenset(fold(self._table.get(name, "")).split())

    @cache  # noqa: B019
    def pattern(self, name: str) -> re.Pattern[str]:
        """A pattern of the table; where there is none, one that matches nothing."""
        return re.compile(self._table.get(name, "").replace("\n", "") or r"(?!)", re.IGNORECASE)

    def stem(self, word: str) -> str:
        """The word without its ending."""
        return str(self._stemmer.stemWord(word)) if self._stemmer else word

    def has(self, name: str, text: str) -> bool:
        """Whether a text has one of the words of a list."""
        if self.spaced:
            return not self.words(name).isdisjoint(_words(text))
        return any(word in fold(text) for word in self.words(name))

    def rewritten(self, question: str) -> str:
        """The question with its set phrases in plain words."""
        for line in self._table.get("phrases", "").split("\n"):
            asked, _, told = line.partition(" = ")
            if asked:
                question = re.sub(rf"\b{re.escape(asked)}\b", told, question, flags=re.IGNORECASE)
        return question

    def content(self, text: str) -> list[str]:
        """The words of a text that carry content, unstemmed."""
        without = self.words("function") | self.words("self")
        if self.spaced:
            least = 1 if self._table else _LONG_WORD
            return [word for word in _words(text) if word not in without and len(word) >= least]
        plain = fold(text)
        named = _KANA_NAME.findall(plain)
        for word in sorted(without, key=len, reverse=True):
            plain = plain.replace(word, " ")
        return named + _SIGNS.findall(plain)

    def supports(self, asked: str, sentence: str) -> bool:
        """Whether a sentence holds a word of a question: itself, inflected, in a compound, or one that means as much."""
        if not self.spaced:
            told = fold(sentence)
            return asked in told or any(word in told for head, group in self._groups.items() if head in asked for word in group)
        wanted = self.stem(asked)
        near = self._groups.get(wanted, set()) | {wanted}
        words = set(_words(sentence))
        if asked in self.words("kin"):  # stems mix up Spanish "hermano" and "hermana", French "mère" and "mer"
            words = {word for word in words if word.startswith(asked) or self.stem(word) != wanted}
        return any(self.stem(word) in near or self._inflected(word, asked) for word in words)

    def _inflected(self, word: str, asked: str) -> bool:
        short, long = sorted((word, asked), key=len)
        if len(short) >= _PREFIX and long.startswith(short):
            return True
        compounds = self.name == "de"
        return compounds and len(short) >= _LONG_WORD and (long.startswith(short) or long.endswith(short))


@cache
def _languages() -> dict[str, Language]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {name: Language(name, table) for name, table in tables.items()}


_NO_LANGUAGE = Language("", {})


def language_of(text: str) -> Language:
    """The language whose function words a text has most of; of equals the first, English before all."""
    plain = fold(text)
    if _UNSPACED.search(plain):
        return _languages()["ja" if re.search("[\u3040-\u30ff]", plain) else "zh"]
    words = set(_words(plain))
    spaced = {name: one for name, one in _languages().items() if one.spaced}
    found = {
        name: len(words & (one.words("function") | one.words("self"))) + bool(one.pattern("letters").search(text))
        for name, one in spaced.items()
    }
    best = max(found, key=lambda name: found[name])
    return spaced[best] if found[best] else spaced["en"] if plain.isascii() else _NO_LANGUAGE


def _names(sentence: str, language: Language) -> list[tuple[int, str]]:
    """The proper nouns of a sentence, folded, and which words of it they are: those with a capital letter."""
    if language.words("capitals"):
        return []
    without = language.words("function") | language.words("self") | language.words("openers")
    cased = [(place, word) for place, word in enumerate(_CASED.findall(sentence)) if word[0].isupper()]
    found = [(place, word) for place, word in cased if not (tells_time(word) or tells_time(word.removesuffix("s")))]
    folded = [(place, fold(word).removesuffix("'s")) for place, word in found]
    return [(place, word) for place, word in folded if word not in without]


@dataclass(frozen=True)
class ParsedQuestion:
    """A question as it is compared with what was told."""

    text: str
    language: Language
    kind: Kind | None
    """The form of its answer, where the question tells."""
    anchors: tuple[str, ...]
    """The words that a sentence must hold to answer it, folded."""
    about_self: bool
    """Whether the one who asks speaks of himself."""
    requested: bool
    """Whether it began as a request, such as "tell me"."""

    @classmethod
    def of(cls, text: str) -> ParsedQuestion:
        """Analyse a question; one that names nothing has no anchors."""
        language = language_of(text)
        asked = language.pattern("request").sub("", text)
        plain = language.rewritten(asked)
        kind = _kind(language, plain)
        content = language.content(plain)
        kind_words = frozenset() if kind is None else language.words(kind) | language.words(f"{kind}_words")
        general = language.words("generic") | (kind_words if kind != "number" else language.words("number"))
        anchors = [word for word in content if word not in general]
        if not anchors:
            anchors = [word for word in content if word in language.words("relations") - kind_words]
        about_self = language.has("self", plain) or language.has("subject", plain)
        return cls(plain, language, kind, tuple(dict.fromkeys(anchors)), about_self, asked != text)

    @property
    def yes_no(self) -> bool:
        """Whether it asks if something is, or still is, the case."""
        return _OR.search(self.text) is None and bool(_YES_NO.match(self.text) or _STILL.search(self.text))

    @property
    def people(self) -> list[str]:
        """The anchors that name somebody: by a proper noun, or as kin."""
        named = {name for _, name in _names(self.text, self.language)} | self.language.words("kin")
        return [anchor for anchor in self.anchors if anchor in named]

    @cached_property
    def _own(self) -> list[str]:
        """The anchors that are the speaker's: "wife" of "my wife's name"."""
        own = [one.word for one in mentions(self.text, self.language) if one.own]
        return [anchor for anchor in self.anchors if any(fold(word) == anchor for word in own)]

    def share(self, sentence: str) -> float:
        """Share of the anchors that a sentence holds, 0 to 1; 0 without anchors."""
        language = self.language
        held = [anchor for anchor in self.anchors if language.supports(anchor, sentence)]
        if held and language.pattern("coded").search(sentence):  # "My pager is 4471" tells a number
            held += [anchor for anchor in self.anchors if anchor in language.words("labels") and anchor not in held]
        share = len(held) / len(self.anchors) if self.anchors else 0.0
        return max(share, self._suggested_by(sentence))

    def _suggested_by(self, sentence: str) -> float:
        """The share of a sentence that may tell the speaker's own name or job, when these are asked for: "I'm a nurse"."""
        language = self.language
        if not (self.about_self and self.anchors and language.words("relations").issuperset(self.anchors)):
            return 0.0
        asks_job = not language.words("jobs").isdisjoint(self.anchors)
        if asks_job:
            return _SUGGESTED * bool(language.pattern("own_job").search(sentence))
        if not language.pattern("name").search(fold(self.text)):
            return 0.0
        introduced = language.pattern("introduced").search(sentence) is not None
        return max(_SUGGESTED * bool(language.pattern("own_name").search(sentence)), float(introduced))

    def unreal(self, sentence: str) -> bool:
        """Whether a sentence tells of a wish, a condition or the words of others, which the question does not ask for."""
        pattern = self.language.pattern("unreal")
        return bool(pattern.search(sentence)) and not (
            pattern.search(self.text) or self.language.pattern("wished").search(self.text)
        )

    def answered_by(self, sentence: str) -> bool:
        """Whether a sentence holds what is asked, about whom it is asked, as a fact and in the form of an answer."""
        language = self.language
        if (self.share(sentence) < 1 and (self.anchors or self.kind != "age")) or self.unreal(sentence):
            return False
        found = list(mentions(sentence, language))
        if not (self.form_fits(sentence) and self.speaks_of_self(sentence, found) and self._of_the_right_one(found)):
            return False
        alone = language.words("relations").issuperset(self.anchors)
        return not (alone and self.about_self) or self._about_the_speaker(sentence)

    def _of_the_right_one(self, found: Sequence[Mention]) -> bool:
        """Whether the words are of the one who is asked about: not Ada's mother for "my mother", nor for "Ada"."""
        language = self.language
        kin = [one for one in found if one.owner and language.has("kin", one.word) and not self.names(one.word)]
        mine = self.anchors if self.about_self and not self.people else self._own
        for anchor in self.anchors:
            held = [one for one in found if language.supports(anchor, one.word)]
            if held and anchor in mine and all(one.owner and not self.names(one.owner) for one in held):
                return False
            led = sum(language.supports(anchor, one.owner) for one in kin if one.owner)
            if held and anchor in self.people and led >= len(held):
                return False
        return True

    def names(self, word: str) -> bool:
        """Whether a word is one of the anchors, or means as much."""
        return any(self.language.supports(anchor, word) for anchor in self.anchors)

    def form_fits(self, sentence: str, *, beside: bool = True) -> bool:
        """Whether a sentence has the form of an answer: a place, a time, a number, an age, a name.

        A name has to stand `beside` what it is the name of, unless the sentence goes on about what another one has named.
        """
        language = self.language
        if self.kind not in (None, "who") and not language.pattern(f"{self.kind}_is").search(sentence):
            return False
        named = [(place, name) for place, name in _names(sentence, language) if name not in _words(self.text)]
        if self.kind == "who":
            return bool(named)
        if (only_one := self._one_of(sentence)) is not None and not named:
            return not only_one or any(map(str.isdigit, sentence))
        if not language.pattern("name").search(fold(self.text)) or language.pattern("name_is").search(fold(sentence)):
            return True
        if _LABEL.match(sentence) and self.share(sentence.partition(":")[0]) > 0:
            return True
        if self.about_self and not self.people and language.pattern("introduced").search(sentence):
            return True
        return self._name_beside(sentence, {place for place, _ in named}) if beside else bool(named)

    def _name_beside(self, sentence: str, named: Container[int]) -> bool:
        """Whether one of the names stands beside the thing that is asked for; "which" may have a clause between them."""
        language, words = self.language, list(enumerate(_CASED.findall(sentence)))
        if self._one_asked_for:
            light = language.words("function") | language.words("self") | language.words("other") | language.words("generic")
            words = [(place, word) for place, word in words if place in named or fold(word) not in light]
        held = [at for at, (_, word) in enumerate(words) if any(language.supports(one, word) for one in self.anchors)]
        return any(abs(at - where) <= _BESIDE for at, (place, _) in enumerate(words) if place in named for where in held)

    @cached_property
    def _one_asked_for(self) -> str | None:
        """The kind of thing of which one is asked for: "college" of "which college"."""
        asked = self.language.pattern("which").search(fold(self.text))
        noun = None if asked is None else _WORD.match(fold(self.text), asked.end())
        return noun[0] if noun is not None and noun[0] in self.anchors else None

    def _one_of(self, sentence: str) -> bool | None:
        """Whether a sentence only says that there is one of the kind that is asked for: "a college", not "the art college"."""
        noun, plain = self._one_asked_for, fold(sentence)
        if noun is None or noun not in _words(sentence):
            return None
        found = list(re.finditer(rf"\b{noun}\b", plain))
        kinds = [self.language.pattern("kind_before").search(plain[: match.start()]) for match in found]
        return not any(kinds) and not any(self.language.pattern("equals").match(plain, match.end()) for match in found)

    def speaks_of_self(self, sentence: str, found: Sequence[Mention]) -> bool:
        """Whether a sentence may be about the one who asks: not of others alone. True of all where he asks about others."""
        language = self.language
        if not self.about_self or any(one.own and language.supports(anchor, one.word) for anchor in self._own for one in found):
            return True
        if not language.has("self", sentence) and self._begins_with_another(sentence):
            return False
        if language.has("subject", sentence) or not (self._own or language.has("subject", self.text)):  # "who drives me"
            return True
        others = language.words("kin") & frozenset(_words(sentence))
        return not language.has("other", sentence) and all(self.names(kin) for kin in others)

    def _begins_with_another(self, sentence: str) -> bool:
        """Whether it says something of somebody by name: "Yusuf has a boat"."""
        first = next(iter(_names(sentence, self.language)), None)
        if first is None or first[0] or self.names(first[1]):
            return False
        return any(self.language.has("theirs", word) for word in _CASED.findall(sentence)[1:3])

    def _about_the_speaker(self, sentence: str) -> bool:
        """Whether the fact is the speaker's own: not "my friend is called ...", not "Ruth lives in ..."."""
        language = self.language
        mine = " ".join(word for word in _words(sentence) if not language.has("theirs", word))
        if language.spaced and any(language.supports(one, sentence) > language.supports(one, mine) for one in self.anchors):
            return False
        if language.has("subject", sentence) and not language.has("other", sentence):
            return True
        return not (language.has("kin", sentence) or language.has("other", sentence) or _names(sentence, language))


def _kind(language: Language, text: str) -> Kind | None:
    if language.pattern("age").search(fold(text)) or language.pattern("age").search(text):
        return "age"
    for kind in ("number", "when", "where", "who", "why"):
        if language.has(kind, text) or language.has(f"{kind}_words", text):
            return kind
    return None


def current_part(text: str, question: ParsedQuestion) -> str:
    """The part of what was said that holds now and answers the question, word for word; "…" stands for what is left out within.

    Without what it says to have ended, without "from X" of a change "from X to Y", and without clauses before the one that
    holds most of the question.
    """
    language = question.language
    plain = " ".join(text.split())
    kept, place = "", 0
    for sentence in sentences(text, join=False):
        start = plain.find(sentence, place)
        rest = _after_end(sentence, question)
        if start < 0:
            return plain
        if rest:
            begin = start + len(sentence) - len(rest)
            between = plain[place:begin]
            kept += (between if not between.strip() else " … ") * bool(kept) + rest
            place = start + len(sentence)
    kept = kept or plain
    if language.has("changed", kept):
        kept = language.pattern("dropped").sub("… ", kept)
    cuts = [0, *(match.end() for match in language.pattern("clause").finditer(kept)), len(kept)]
    clauses = [kept[start:stop] for start, stop in pairwise(cuts)]
    first = max(range(len(clauses)), key=lambda one: (question.share(clauses[one]) if clauses[one].strip() else -1, one))
    earlier, later = kept[: cuts[first]], kept[cuts[first] :]
    return (later if question.share(earlier) < question.share(later) else kept).strip(" ,;、，")


def _after_end(sentence: str, question: ParsedQuestion) -> str:
    """What a sentence says after it has told that something ended; all of it where it tells of none, or that is asked for."""
    language = question.language
    ends = list(language.pattern("ended").finditer(sentence))
    if not ends or question.kind == "why" or any(question.names(match[0]) for match in ends):
        return sentence
    *_, rest = language.pattern("then").split(sentence[ends[-1].end() :], maxsplit=1)
    return rest if len(rest) < len(sentence) - ends[-1].end() else ""
