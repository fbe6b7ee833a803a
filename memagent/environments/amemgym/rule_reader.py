"""Answers without a model: which of a user's values a recalled view shows, and the option that suits them.

A value is shown where its evidence stands in the view: the sentence of the session's opening that gave it away, by the
annotation of the data (`exposed_states`), or the variable and the value by their names in one line, as a sheet or a model's
note has them. A sentence stands there when at least 80 % of its words do, at the distances that they have in it: words that
were misread or cut count as missing. Of several shown statements about one variable the latest one counts. A question
is answered by the options that agree with most of the values known; between equals the score is a guess's expectation.

What this measures: whether what is needed reaches the reader within the budget: writing, selection, space, legibility.
What it cannot measure: whether a model would understand a hint, use it, and tell old from new. It reads as one who knows
what every opening meant and when it was said: take its scores for a ceiling of models that see the same view. Values that a
memory put into words of its own are missed, so such memories are scored too low. The options' own words are not looked for:
options name no value, and among procedural hints they would find the right one in about 40 % (chance: 33 %).

The reader knows the data's annotation, not the words of the generator, and nothing of it reaches a memory. By this reading
what is known is used: failures of use appear only where the view for the question lacks what the view for its values shows.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from memagent.environments.amemgym.data import UserItem, UserQuestion, UserSession, golden_index
from memagent.environments.amemgym.official_format import Probe, state_probe

SHOWN_FROM = 0.8
"""Share of a sentence's words from which it counts as shown."""
_SLACK = 2
"""Words that may have come between, or gone, before a word stands elsewhere."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|·+")
_SENTENCE = re.compile(r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)\s+")


# -- what is asked ----------------------------------------------------------------------------------------------------


def question_text(question: UserQuestion) -> str:
    options = "\n".join(f"{number}: {choice.answer}" for number, choice in enumerate(question.answer_choices, 1))
    asked = "Which of these answers suits me best, given my present situation and preferences?"
    return f"{question.query}\n\n{asked}\n{options}"


def question_prompt(question: UserQuestion) -> str:
    form = 'Reply with a JSON object in a ```json fence and nothing else, such as {"answer": 1}.'
    return f"{question_text(question)}\n\n{form}"


def state_prompt(item: UserItem, question: UserQuestion) -> str:
    """The question for the present values that an answer depends on."""
    schema = {name: list(item.state_schema[name]) for name in question.required_info}
    return (
        "Going by our earlier conversations, which value comes closest to my present situation? Choose one for each key.\n"
        f"{json.dumps(schema, ensure_ascii=False, indent=2)}\n\n"
        "Reply with a JSON object in a ```json fence and nothing else: each key with its value."
    )


# -- reading a view ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """A sentence, or several, by which a user gave a value away."""

    variable: str
    value: str
    sentences: tuple[tuple[str, ...], ...]
    """As words; all of them must be shown."""
    period: int


class RuleBasedReader:
    """Reads the views of one user's memory."""

    def __init__(self, item: UserItem) -> None:
        self.item = item
        self._told: dict[str, list[Evidence]] = defaultdict(list)
        for number, period in enumerate(item.periods):
            for session in period.sessions:
                for one in evidence_of(session, number):
                    self._told[one.variable].append(one)
        self._names = {
            name: (_words(name), {value: _words(value) for value in values}) for name, values in item.state_schema.items()
        }

    def values(self, view: str, variables: Sequence[str], *, period: int) -> dict[str, str]:
        """The values that a view shows, without the variables of which it shows nothing."""
        page = _Page(view)
        found = {name: self._stated_in(page, name, period) or self._named_in(page, name) for name in variables}
        return {name: value for name, value in found.items() if value is not None}

    def _stated_in(self, page: _Page, variable: str, period: int) -> str | None:
        for one in reversed(self._told[variable]):
            if one.period <= period and all(map(page.shows, one.sentences)):
                return one.value
        return None

    def _named_in(self, page: _Page, variable: str) -> str | None:
        name, values = self._names[variable]
        for line in reversed(page.lines):
            if not _stands(name, line):
                continue
            named = {value: said for value, said in values.items() if _stands(said, line)}
            whole = [  # not a part of another, as "day hikes" of "multi day hikes"
                one
                for one, said in named.items()
                if not any(len(said) < len(other) and _stands(said, other) for other in named.values())
            ]
            if len(whole) == 1:
                return whole[0]
        return None

    # -- answers -------------------------------------------------------------------------------------------------------

    def options(self, view: str, question: UserQuestion, *, period: int) -> list[int]:
        """The 0-based options that agree with most of the values shown: one, or several between which it is a guess."""
        known = self.values(view, question.required_info, period=period)
        agree = [
            sum(known.get(name) == value for name, value in zip(question.required_info, choice.state, strict=True))
            for choice in question.answer_choices
        ]
        return [k for k, number in enumerate(agree) if number == max(agree)]

    def score(self, view: str, question: UserQuestion, *, period: int) -> float:
        """The accuracy to expect of the answer; 0 where no option suits the user."""
        golden = golden_index(question, self.item.periods[period].state)
        options = self.options(view, question, period=period)
        return 1 / len(options) if golden in options else 0.0

    def probe(self, view: str | None, question: UserQuestion, *, period: int) -> Probe:
        """The state probe of a question. A value that is not shown, and every one of a view that failed, is not known."""
        known = {} if view is None else self.values(view, question.required_info, period=period)
        return state_probe(known, self.item, period, question, json_errors=question.required_info if view is None else ())


def evidence_of(session: UserSession, period: int) -> list[Evidence]:
    """What of an opening gives each value away.

    Sentences that ask are the request, not evidence, unless there is nothing else. With as many other sentences as values
    or more, the last ones belong to the values in their order; with fewer, each value needs the whole opening.
    """
    sentences = _SENTENCE.split(session.query.strip())
    told = [tuple(_words(one)) for one in sentences if not one.rstrip().endswith("?")]
    told = [one for one in told if one] or [tuple(_words(one)) for one in sentences]
    exposed = list(session.exposed_states.items())
    own = [(one,) for one in told[-len(exposed) :]] if len(told) >= len(exposed) else [tuple(told)] * len(exposed)
    return [Evidence(variable, value, words, period) for (variable, value), words in zip(exposed, own, strict=True)]


class _Page:
    def __init__(self, view: str) -> None:
        self.lines = [_words(line) for line in view.splitlines()]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, word in enumerate(_words(view)):
            self._places[word].append(place)
        self._known: dict[tuple[str, ...], bool] = {}

    def shows(self, sentence: tuple[str, ...]) -> bool:
        """Whether enough words stand as far from one another as in the sentence."""
        if sentence not in self._known:
            starts: Counter[int] = Counter()  # words of the sentence at one place of the view, `_SLACK` words to and fro
            for offset, word in enumerate(sentence):
                at = self._places.get(word, ())
                starts.update({place - offset + off for place in at for off in range(-_SLACK, _SLACK + 1)})
            self._known[sentence] = max(starts.values(), default=0) >= SHOWN_FROM * len(sentence)
        return self._known[sentence]


def _stands(phrase: Sequence[str], line: Sequence[str]) -> bool:
    """Whether the words of a phrase follow one another in a line."""
    size = len(phrase)
    return size > 0 and any(list(line[at : at + size]) == list(phrase) for at in range(len(line) - size + 1))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("’", "'").replace("_", " "))
