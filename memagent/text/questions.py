"""What a question asks for, about whom, and whether a sentence holds it; by word lists, in several languages.

It tells an answer from its absence for readers that cannot: a language model of some hundred million parameters names a dog
that nobody mentioned. Sentence vectors do not tell either: by MiniLM "father" is as near to "mother" (.73) as "language" to
"Spanish" (.68). The lists are in `questions.toml`; a language that is not there is compared by its longer words alone.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import snowballstemmer

from memagent.text.sentences import sentences
from memagent.text.tokens import tells_time

Kind = Literal["age", "number", "when", "where", "who"]

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
        if asked in self.words("kin"):  # a brother is no sister, though their stems be one, as of Spanish "hermano", "hermana"
            words -= {word for word in self.words("kin") if word != asked and self.stem(word) == wanted}
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
    found = {name: len(words & (one.words("function") | one.words("self"))) for name, one in spaced.items()}
    best = max(found, key=lambda name: found[name])
    return spaced[best] if found[best] else spaced["en"] if plain.isascii() else _NO_LANGUAGE


def _names(sentence: str, language: Language) -> list[tuple[int, str]]:
    """The proper nouns of a sentence, folded, and which words of it they are: those with a capital letter."""
    if language.words("capitals"):
        return []
    without = language.words("function") | language.words("self")
    found = [(place, word) for place, word in enumerate(_CASED.findall(sentence)) if word[0].isupper() and not tells_time(word)]
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
        return cls(plain, language, kind, tuple(dict.fromkeys(anchors)), language.has("self", plain), asked != text)

    @property
    def yes_no(self) -> bool:
        """Whether it asks if something is, or still is, the case."""
        return _OR.search(self.text) is None and bool(_YES_NO.match(self.text) or _STILL.search(self.text))

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(_words(self.text))

    @property
    def people(self) -> list[str]:
        """The anchors that name somebody: by a proper noun, or as kin."""
        named = {name for _, name in _names(self.text, self.language)} | self.language.words("kin")
        return [anchor for anchor in self.anchors if anchor in named]

    def share(self, sentence: str) -> float:
        """Share of the anchors that a sentence holds, 0 to 1; 0 without anchors."""
        held = sum(self.language.supports(anchor, sentence) for anchor in self.anchors)
        share = held / len(self.anchors) if self.anchors else 0.0
        return max(share, _SUGGESTED) if share < 1 and self._suggested_by(sentence) else share

    def _suggested_by(self, sentence: str) -> bool:
        """Whether a sentence may tell the speaker's own name or job, which is asked for: "I'm Hamish", "I'm a nurse"."""
        language = self.language
        if not (self.about_self and language.words("relations").issuperset(self.anchors)):
            return False
        asks_job = not language.words("jobs").isdisjoint(self.anchors)
        asks_name = not asks_job and language.pattern("name").search(fold(self.text)) is not None
        kinds = [kind for kind, asked in (("own_job", asks_job), ("own_name", asks_name)) if asked]
        return any(language.pattern(kind).search(sentence) for kind in kinds)

    def answered_by(self, sentence: str) -> bool:
        """Whether a sentence holds what is asked, about whom it is asked, as a fact and in the form of an answer."""
        language = self.language
        if (self.share(sentence) < 1 and (self.anchors or self.kind != "age")) or language.pattern("unreal").search(sentence):
            return False
        if not self.form_fits(sentence):
            return False
        if not self.speaks_of_self(sentence):
            return False
        alone = language.words("relations").issuperset(self.anchors)
        return not (alone and self.about_self) or self._about_the_speaker(sentence)

    def form_fits(self, sentence: str) -> bool:
        """Whether a sentence has the form of an answer: a place, a time, a number, an age, a name."""
        language = self.language
        if self.kind not in (None, "who") and not language.pattern(f"{self.kind}_is").search(sentence):
            return False
        named = [(place, name) for place, name in _names(sentence, language) if name not in self._words]
        if self.kind == "who" or (self._one_of(sentence) and not named):
            return bool(named)
        if not language.pattern("name").search(fold(self.text)) or language.pattern("name_is").search(fold(sentence)):
            return True
        if _LABEL.match(sentence) and self.share(sentence.partition(":")[0]) > 0:
            return True
        words = _CASED.findall(sentence)
        held = [place for place, word in enumerate(words) if any(language.supports(one, word) for one in self.anchors)]
        return any(abs(place - where) <= _BESIDE for place, _ in named for where in held)

    def _one_of(self, sentence: str) -> bool:
        """Whether it asks for one of a kind ("which college") of which a sentence only says that there is one ("a college")."""
        asked = self.language.pattern("which").search(fold(self.text))
        noun = None if asked is None else _WORD.match(fold(self.text), asked.end())
        return noun is not None and noun[0] in self.anchors and noun[0] in _words(sentence)

    def speaks_of_self(self, sentence: str) -> bool:
        """Whether a sentence may be about the one who asks: not of others alone. True of all where he asks about others."""
        language = self.language
        if not self.about_self or language.has("subject", sentence):
            return True
        others = language.words("kin") & frozenset(_words(sentence))
        return not language.has("other", sentence) and all(
            any(language.supports(one, kin) for one in self.anchors) for kin in others
        )

    def _about_the_speaker(self, sentence: str) -> bool:
        """Whether the fact is the speaker's own: not "my friend is called ...", not "Ruth lives in ..."."""
        language = self.language
        if language.has("subject", sentence) and not language.has("other", sentence):
            return True
        return not (language.has("kin", sentence) or language.has("other", sentence) or _names(sentence, language))


def _kind(language: Language, text: str) -> Kind | None:
    if language.pattern("age").search(fold(text)) or language.pattern("age").search(text):
        return "age"
    for kind in ("number", "when", "where", "who"):
        if language.has(kind, text) or language.has(f"{kind}_words", text):
            return kind
    return None


def current_part(text: str, question: ParsedQuestion) -> str:
    """The part of what was said that holds now and answers the question.

    Without what it says to have ended, without "from X" of "from X to Y", and without clauses before the one that holds most of
    the question.
    """
    language = question.language
    lasting = [_after_end(sentence, language) for sentence in sentences(text, join=False)]
    text = " ".join(part for part in lasting if part) or text
    text = language.pattern("dropped").sub("", text)
    clauses = [part for part in language.pattern("clause").split(text) if part and part.strip()]
    first = max(range(len(clauses)), key=lambda place: (question.share(clauses[place]), place), default=0)
    start = first if question.share(" ".join(clauses[:first])) < question.share(" ".join(clauses[first:])) else 0
    return " ".join(clauses[start:]).strip(" ,;、，")


def _after_end(sentence: str, language: Language) -> str:
    """What a sentence says after it has told that something ended; all of it where it tells of none."""
    ends = list(language.pattern("ended").finditer(sentence))
    if not ends:
        return sentence
    *_, rest = language.pattern("then").split(sentence[ends[-1].end() :], maxsplit=1)
    return rest if len(rest) < len(sentence) - ends[-1].end() else ""
