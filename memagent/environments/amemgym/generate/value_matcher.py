"""What a text gives away, by looking up the phrases of the bank: the check of procedural utterances and options.

A phrase counts as said where its words follow one another, whatever the case and the punctuation. Every phrase belongs to
one variable, so a lookup never takes one value for another. It recognises nothing said in other words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from memagent.environments.amemgym.generate.templates import load_bank, words_of

_KEY = 2
"""Words by which phrases are found; no phrase is shorter."""


class _Phrases:
    """Phrases with what they mean, found in one pass over a text."""

    def __init__(self) -> None:
        self._by_start: dict[tuple[str, ...], list[tuple[tuple[str, ...], str, str | None]]] = defaultdict(list)

    def add(self, text: str, variable: str, value: str | None) -> None:
        words = words_of(text)
        self._by_start[words[:_KEY]].append((words, variable, value))

    def find(self, text: str) -> list[tuple[str, str | None]]:
        """Variable and value of each phrase; no value where the phrase fits several, as events do."""
        words = words_of(text)
        return [
            (variable, value)
            for at in range(len(words) - _KEY + 1)
            for phrase, variable, value in self._by_start.get(words[at : at + _KEY], ())
            if words[at : at + len(phrase)] == phrase
        ]


class ValueMatcher:
    """Finds cues, events and advices of some variables, or of all, in a text."""

    def __init__(self, variables: Iterable[str] | None = None) -> None:
        known = load_bank().variables
        self._cues, self._events, self._advice = _Phrases(), _Phrases(), _Phrases()
        for name in known if variables is None else variables:
            variable = known[name]
            for value, cues, advice in zip(variable.values, variable.cues, variable.advice, strict=True):
                for cue in cues:
                    self._cues.add(cue, name, value)
                self._advice.add(advice, name, value)
            for event in variable.all_events():
                self._events.add(event, name, None)

    def exposed(self, text: str) -> dict[str, set[str]]:
        """Variables that a text gives away by cues, with the values; more than one where it contradicts itself."""
        return _values(self._cues.find(text))

    def advised(self, text: str) -> dict[str, set[str]]:
        """Variables that an answer option speaks to, with the values that it suits."""
        return _values(self._advice.find(text))

    def hinted(self, text: str) -> set[str]:
        """Variables of which a text says anything: by a cue or by an event that explains a change."""
        return {variable for variable, _ in (*self._cues.find(text), *self._events.find(text))}


def _values(found: Iterable[tuple[str, str | None]]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = defaultdict(set)
    for variable, value in found:
        if value is not None:
            values[variable].add(value)
    return dict(values)
