"""The words of the token policy: a question and its world as token ids, a draft as text and back.

A prompt is the name in question, `asked`, the relations to follow, then every fact as seven words and its mark `[k]`, then
`memory:`. A draft is a run of lines: tier, mark of a fact, the fact's seven words, a full stop. Names are three tokens (two
syllables and an ending; the first syllable is capitalised, so it is another token than the same syllable within a name), years
are three (century and two digits). The filler of a sentence is no token: it says nothing, and the page adds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from memagent.environments.long_qa.synthetic_qa import ENDINGS, RELATIONS, SYLLABLES, WorldFact, WorldQuestion
from memagent.errors import InputError
from training.experiments.memocr.page import TIERS, Line

PAD, END, UNKNOWN, ASKED, DRAFT, STOP = "<pad>", "<end>", "<unk>", "asked", "memory:", "."
MAX_FACTS = 24
NAME = 3
"""Tokens of a name or a year."""
WORDS = 2 * NAME + 1
"""Tokens of a fact: subject, relation, value."""
LINE = WORDS + 3
"""Tokens of a line of a draft: tier, mark, words, full stop."""

_SAID = {name: name.replace(" ", "-") for name in RELATIONS}
_ASKED = {name: f"?{said}" for name, said in _SAID.items()}
_MARKS = tuple(f"[{number}]" for number in range(MAX_FACTS))
_FIRST = tuple(one.capitalize() for one in SYLLABLES)
_ENDINGS = tuple(one for endings in ENDINGS.values() for one in endings)
_CENTURIES = ("18", "19")
_DIGITS = tuple("0123456789")
TOKENS = (
    *(PAD, END, UNKNOWN, ASKED, DRAFT, STOP),
    *TIERS,
    *_MARKS,
    *_ASKED.values(),
    *_SAID.values(),
    *_FIRST,
    *SYLLABLES,
    *_ENDINGS,
    *_CENTURIES,
    *_DIGITS,
)
ID = {token: number for number, token in enumerate(TOKENS)}
TIER_IDS = tuple(ID[one] for one in TIERS)
MARK_IDS = tuple(ID[one] for one in _MARKS)
RELATION_IDS = tuple(ID[one] for one in _ASKED.values())
_NAME = re.compile(f"({'|'.join(_FIRST)})({'|'.join(SYLLABLES)})({'|'.join(_ENDINGS)})")
_YEAR = re.compile(r"(1[89])(\d)(\d)")


def spell(name: str) -> tuple[str, ...]:
    """A name or a year as three tokens. Raises `InputError` for what is neither."""
    found = _NAME.fullmatch(name) or _YEAR.fullmatch(name)
    if found is None:
        raise InputError(f"`{name}` is no name of a made-up world and no year from 1800 to 1999")
    return found.groups()


def fact_words(fact: WorldFact) -> tuple[str, ...]:
    """The seven tokens of a fact."""
    return (*spell(fact.subject), _SAID[fact.relation], *spell(fact.value))


def prompt_words(question: WorldQuestion) -> list[str]:
    """The prompt's tokens. Raises `InputError` for a world with more facts than there are marks."""
    if len(question.facts) > MAX_FACTS:
        raise InputError(f"a world of {len(question.facts)} facts is too large; the vocabulary has marks for {MAX_FACTS}")
    asked = [*spell(question.start), ASKED, *(_ASKED[name] for name in question.relations)]
    told = [word for fact, mark in zip(question.facts, _MARKS, strict=False) for word in (*fact_words(fact), mark)]
    return [*asked, *told, DRAFT]


def prompt_ids(question: WorldQuestion) -> list[int]:
    """The prompt as ids."""
    return [ID[word] for word in prompt_words(question)]


def line_words(line: Line, question: WorldQuestion) -> list[str]:
    """The ten tokens of a line."""
    return [line.tier, _MARKS[line.fact], *fact_words(question.facts[line.fact]), STOP]


def read_draft(text: str) -> list[Line]:
    """The lines of a draft's text (tokens and blanks); words are not looked at, the mark says which fact it is."""
    words = text.split()
    return [Line(tier, int(mark[1:-1])) for tier, mark in pairwise(words) if tier in TIERS and mark in _MARKS]


def tokenizer() -> Any:
    """A tokenizer with one token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(ID, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)


def token_ids(words: Sequence[str]) -> list[int]:
    """Ids of known tokens."""
    return [ID[word] for word in words]


def words_of(ids: Sequence[int]) -> list[str]:
    """Tokens of ids, pad and end left out."""
    return [TOKENS[one] for one in ids if TOKENS[one] not in (PAD, END)]
