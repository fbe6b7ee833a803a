"""HotpotQA (Yang et al. 2018): questions over Wikipedia paragraphs, with the sentences that support each answer.

Read are JSON lines or one JSON list, in the authors' own form (`context` a list of [title, sentences]) or in the form of
the datasets library (`context` an object of two lists). A paragraph keeps empty sentences, so that ids stay right.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from memagent.environments.long_qa.cases import Case, Document
from memagent.errors import InputError


def parse(text: str, name: str) -> list[Case]:
    """Questions of a file called `name`. Raises `InputError` saying where it is no HotpotQA file."""
    samples = _samples(text, name)
    cases = [_case(sample, number, name) for number, sample in enumerate(samples, 1)]
    if not cases:
        raise InputError(f"{name} holds no questions")
    twice = [id for id, times in Counter(case.id for case in cases).items() if times > 1]
    if twice:
        raise InputError(f"{name} holds question `{twice[0]}` twice; each needs an id of its own")
    return cases


def _samples(text: str, name: str) -> list[Any]:
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise InputError(f"{name} is neither JSON nor JSON lines: {error}") from error


def _case(sample: Any, number: int, name: str) -> Case:
    try:
        documents = tuple(
            Document(str(title), tuple(str(sentence).strip() for sentence in sentences))
            for title, sentences in _pairs(sample["context"], "title", "sentences")
        )
        places = {document.title: place for place, document in enumerate(documents)}
        facts = [(places.get(title), int(at)) for title, at in _pairs(sample["supporting_facts"], "title", "sent_id")]
        return Case(
            str(sample.get("id") or sample.get("_id") or number),
            str(sample["question"]),
            (str(sample["answer"]),),
            documents,
            # the published data name a few sentences that do not exist
            tuple((place, at) for place, at in facts if place is not None and 0 <= at < len(documents[place].sentences)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name}: question {number}: {type(error).__name__} {error}; is it a HotpotQA file?") from error


def _pairs(value: Any, first: str, second: str) -> list[tuple[Any, Any]]:
    """Pairs of either form."""
    if isinstance(value, dict):
        return list(zip(value[first], value[second], strict=True))
    return [(one, other) for one, other in value]
