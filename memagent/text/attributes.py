"""What a sentence gives a value for, and whether two sentences say the same, without a model.

Words that mean the same here are folded into one ("called", "named" and "name"; "job" and "work"), function words are left
out, and what remains is compared as a set. Patterns name the attribute of the commonest statements about oneself (where one
lives, what one's dog is called, a favourite colour), so that a paraphrase is recognised by its value and another value of
something one has only one of is seen as a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from memagent.text import tokens

_SYNONYMS = """
name named call called nickname
live lives living lived home based reside residing moved move relocate relocated settled
work works working job profession occupation employed employer employment career
allergy allergic allergies
birthday born birth
like likes love enjoy adore fond favourite favorite prefer preferred best fan loved liked
colour color
mum mom mother
dad father
dog puppy
cat kitten
child children kid kids
phone telephone mobile cellphone
email mail
teach teacher teaching
student study studying
marry married wedding
run runner running
vegetarian vegetarianism
1 one
2 two
3 three
4 four
5 five
6 six
7 seven
8 eight
9 nine
10 ten
11 eleven
12 twelve
"""
_FOLD = {
    tokens.terms(word)[0]: tokens.terms(group.split()[0])[0]
    for group in _SYNONYMS.strip().splitlines()
    for word in group.split()
}
_FILLERS = frozenset(
    tokens.terms(
        "now currently still actually already got own get gets getting have thing always so much lot these days day nowadays "
        "anymore any longer well know by way remember please note tell told said say just recently current year years old "
        "place where that who which because since am been being going feel let fyi give gives use go goes"
    )
) - frozenset(_FOLD)
LIGHT = frozenset(_FOLD[tokens.terms(word)[0]] for word in ("name", "live", "work", "like", "birthday"))
"""Folded words that only name a relation: two statements that differ by one of these say the same."""
_NEGATIVE = re.compile(
    r"\b(not|no longer|never|cannot (?:stand|bear)|cannot|stopped|quit|gave up|neither|without|no|hate|dislike|detest|"
    r"loathe)\b",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"\b(used to|formerly|previously|as a (child|kid|boy|girl|teenager)|when i was|lived|worked|had|were|was(?! born))\b", re.I
)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_MARKED = re.compile(r"[^\W_]*\d[^\W_]*|\b[A-Z][^\W_]+")
_FIRST_PERSON = re.compile(r"\b(i|we|me)\b", re.IGNORECASE)
_SUBJECT = re.compile(
    r"^\W*(?:(?:yes|no|so|and|also|well|oh),? )*(?:(?P<own>my|our) (?P<what>\w+(?: \w+)?)|(?P<who>\w+))", re.IGNORECASE
)

_WHAT = r"(?P<what>\w+(?: \w+){0,3}?)"
_VALUE = (
    r"(?P<value>[^,.;!?]+?)"
    r"(?=\s*(?:[,.;!?]|$)| (?:and|but|because|since|with|which|now|these days|nowadays|from)\b)"
)
_SOME = r"(?:a |an |the )?"
_I = r"\b(?:i|we) (?:(?:now|currently|still|also|just|recently|am|have|are|really|actually) )*"
_BEST = r"i (?:like|love|prefer) (?:best|most|the most)"
_YEARS = r"(?: years?\b.*|(?=\s*(?:[.,;!]|$)| now| and))"
_ONE_EACH = (
    "phone|phone number|number|email|email address|address|age|height|weight|shoe size|size|birthday|job|profession|"
    "occupation|employer|nationality|religion|blood type|hometown|home town|deadline|budget|car|native language|"
    "mother tongue|major|school|university|city|time zone|timezone|anniversary|salary|nickname|full name|"
    "first name|last name|surname|middle name|name"
)
_SAME_SLOT = {"profession": "job", "occupation": "job", "email address": "email", "phone number": "phone", "city": "home"}
# (slot, pattern, whether one has only one of it); "{}" in a slot is the noun phrase `what`.
_PATTERNS: tuple[tuple[str, re.Pattern[str], bool], ...] = tuple(
    (slot, re.compile(pattern, re.IGNORECASE), single)
    for slot, pattern, single in (
        ("name of {}", rf"\b(?:my|our) {_WHAT}(?: is| are|,)? (?:now )?(?:called|named) {_VALUE}", True),
        ("name of {}", rf"\b(?:my|our) {_WHAT}'s name is (?:now )?{_VALUE}", True),
        ("name of {}", rf"\bname of (?:my|our) {_WHAT} is (?:now )?{_VALUE}", True),
        ("name of {}", rf"^(?P<value>[^,.;!?]+?) is the name of (?:my|our) {_WHAT}(?=[.!,;]|$)", True),
        ("name of {}", rf"{_I}(?:call|called|named|renamed) (?:my|our) {_WHAT} (?-i:(?P<value>[A-Z]\w+))", True),
        ("name of {}", rf"{_I}(?:own |got )?(?:a|an) {_WHAT},? (?:(?:who|that|which) is )?(?:called|named) {_VALUE}", False),
        ("name of {}", rf"{_I}(?:own |got )?(?:a|an) {_WHAT},? (?:whose|and (?:his|her|its)) name is {_VALUE}", False),
        ("name", rf"\b(?:my (?:full |first )?name is|call me|i am (?:called|named)) {_VALUE}", True),
        ("home", rf"{_I}(?:live|reside|based|living|residing|settled) (?:now )?(?:in|at|near) {_VALUE}", True),
        ("home", rf"{_I}(?:moved|relocated)(?: (?:from|out of) \w+)? to {_VALUE}", True),
        ("home", rf"\bmy home is (?:now )?(?:in |at )?{_VALUE}", True),
        ("home", r"^(?P<value>[^,.;!?]+?) is (?:where i live|my home)\b", True),
        ("job", rf"{_I}(?:work|working|employed) (?:now )?as {_SOME}{_VALUE}", True),
        ("job", rf"\bmy (?:job|profession|occupation) is (?:now )?(?:being |to be )?{_SOME}{_VALUE}", True),
        ("employer", rf"{_I}(?:work|working|employed) (?:now )?(?:at|for|by) {_SOME}{_VALUE}", True),
        ("age", rf"\b(?:i am|i just turned|i turned|my age is) (?P<value>\d{{1,3}}){_YEARS}", True),
        ("birthday", r"\bmy birthday (?:is |falls )?(?:on )?(?P<value>(?=[^,.;!?]*\d)[^,.;!?]+)", True),
        ("birthday", rf"{_I}was born on (?P<value>(?=[^,.;!?]*\d)[^,.;!?]+)", True),
        ("diet", rf"{_I}(?:an? |eat |follow |keep )*(?P<value>vegan|vegetarian|pescatarian)\b", True),
        ("car", rf"{_I}drive {_SOME}{_VALUE}", True),
        ("studies", rf"{_I}(?:study|studying) (?!at\b|in\b){_SOME}{_VALUE}", True),
        ("favourite {}", rf"\bmy favou?rite {_WHAT} (?:is|are) (?:now )?{_SOME}{_VALUE}", True),
        ("favourite {}", rf"^(?P<value>[^,.;!?]+?) (?:is|are) my favou?rite {_WHAT}(?=[.!,;]|$)", True),
        ("favourite {}", rf"\bthe {_WHAT} {_BEST} is {_VALUE}", True),
        ("favourite {}", rf"^(?P<value>[^,.;!?]+?) is the {_WHAT} {_BEST}", True),
        ("{}", rf"\b(?:my|our) (?P<what>{_ONE_EACH}) is (?:now )?{_SOME}{_VALUE}", True),
    )
)


@dataclass(frozen=True)
class Attribute:
    """A value of something, as a sentence states it."""

    slot: str
    """What has the value, such as "home", "name of dog", "favourite colour"."""
    value: str
    """The words of the sentence."""
    single: bool
    """Whether one has only one of it, so that another value takes this one's place."""


@dataclass(frozen=True)
class Statement:
    """A sentence as it is compared with others."""

    content: frozenset[str]
    """Folded terms that carry content."""
    marked: frozenset[str]
    """Those among them that are names or numbers: sentences that differ in one say different things."""
    attribute: Attribute | None
    subject: frozenset[str]
    """Terms of whom or what it is about; empty when about the speaker."""
    negative: bool
    past: bool


def folded(text: str) -> frozenset[str]:
    """Terms of a text that carry content, words of the same meaning as one."""
    return frozenset(fold(tokens.content_terms(_ORDINAL.sub(r"\1", text)))) - _FILLERS


def fold(terms: Iterable[str]) -> list[str]:
    """Stemmed terms, those of the same meaning as one."""
    return [_FOLD.get(term, term) for term in terms]


@lru_cache(maxsize=16_384)
def meaning(sentence: str) -> Statement:
    """What a sentence says, for comparing."""
    text = _plain(sentence)
    first, _, rest = _ORDINAL.sub(r"\1", text).partition(" ")  # the first word is capitalised anyway
    digits = [first] if any(sign.isdigit() for sign in first) else []
    marked = frozenset(term for word in [*_MARKED.findall(rest), *digits] for term in folded(word))
    negative, past = _NEGATIVE.search(text) is not None, _PAST.search(text) is not None
    stated = None if negative or past else _attribute(text)
    return Statement(folded(_NEGATIVE.sub(" ", text)), marked, stated, _subject(text), negative, past)


def same_value(first: Attribute, second: Attribute) -> bool:
    """Whether two values of one slot agree, as "Lyon" and "Lyon in France" do."""
    one, other = folded(first.value), folded(second.value)
    return one <= other or other <= one


def compatible(first: Statement, second: Statement) -> bool:
    """Whether two sentences can be true at once, as far as their form tells."""
    if (first.negative, first.past) != (second.negative, second.past):
        return False
    one, other = first.attribute, second.attribute
    return one is None or other is None or one.slot != other.slot or same_value(one, other)


def changes(new: Statement, old: Statement) -> bool:
    """Whether the new sentence says that the old one no longer holds."""
    if new.past or old.past:
        return False
    if new.negative != old.negative:
        return _close(new.content, old.content) and not (new.subject ^ old.subject) - LIGHT
    if new.attribute is None or old.attribute is None or new.attribute.slot != old.attribute.slot:
        return False
    return new.attribute.single and not same_value(new.attribute, old.attribute)


def repeats(new: Statement, old: Statement) -> bool:
    """Whether the new sentence tells nothing that the old one does not."""
    if not compatible(new, old) or not _about_the_same(old, new):
        return False
    more = new.content - old.content - LIGHT
    if not more:
        return True
    if new.marked - old.content:
        return False
    return _slot(new) is not None and _slot(new) == _slot(old) and len(more) == 1


def completes(new: Statement, old: Statement) -> bool:
    """Whether the new sentence says all that the old one does, and more."""
    if not compatible(new, old) or old.content - new.content - LIGHT:
        return False
    return bool(old.content - LIGHT) and _about_the_same(new, old)


def _about_the_same(longer: Statement, shorter: Statement) -> bool:
    """Whether two sentences share enough, and the longer one is about nobody whom the shorter one does not name."""
    shared = longer.content & shorter.content
    if not shared - LIGHT or longer.subject - LIGHT - shorter.content:
        return False
    same_slot = _slot(longer) is not None and _slot(longer) == _slot(shorter)
    return same_slot or len(shared) > 1 or _close(longer.content, shorter.content)


def _close(first: frozenset[str], second: frozenset[str]) -> bool:
    return not (first ^ second) - LIGHT and bool((first & second) - LIGHT)


def _plain(sentence: str) -> str:
    """The sentence with contractions written out, so that patterns need to know one form only."""
    text = sentence.replace("’", "'")
    text = re.sub(r"\bcan't\b", "cannot", text, flags=re.IGNORECASE)
    text = re.sub(r"n't\b", " not", text)
    text = re.sub(r"\bi'm\b", "I am", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(i|we)'ve\b", r"\1 have", text, flags=re.IGNORECASE)
    text = re.sub(r"\bwe're\b", "we are", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def _slot(one: Statement) -> str | None:
    return None if one.attribute is None else one.attribute.slot


def _attribute(text: str) -> Attribute | None:
    for slot, pattern, single in _PATTERNS:
        match = pattern.search(text)
        if match is None:
            continue
        what = (match.groupdict().get("what") or "").lower().replace("favorite", "favourite").replace("color", "colour")
        if slot.startswith("name of"):
            what = " ".join(fold(tokens.terms(what)))
        name = slot.format(what)
        return Attribute(_SAME_SLOT.get(name, name), match["value"].strip(), single)
    return None


def _subject(text: str) -> frozenset[str]:
    match = _SUBJECT.match(text)
    if match is None:
        return frozenset()
    if match["own"]:
        return folded(match["what"].split()[0]) or folded(match["what"])
    return frozenset() if _FIRST_PERSON.search(text) else folded(match["who"])
