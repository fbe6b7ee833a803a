"""Baselines: what an assistant that remembers nothing said would score, as policies and as assistants whose view is known.

The oracle is told the present values before each question, the stale one those of the start; the random one knows nothing, so
that every option is as good as another. The keyword assistant is a yardstick: it keeps what the generator's own words give
away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from memagent.environments.amemgym.assistants.base import BUDGET, Assistant
from memagent.environments.amemgym.assistants.snapshot import read
from memagent.environments.amemgym.data import UserItem, UserQuestion, golden_index, required_values, write_json
from memagent.environments.amemgym.generate.value_matcher import ValueMatcher
from memagent.environments.amemgym.scoring.metrics import Accuracies, similarity
from memagent.memory.view import ViewLine
from memagent.types import Message, Recall, Source

Policy = Callable[[UserItem, int, UserQuestion], int | None]
"""The 0-based option for a user after a period; None for none."""


# -- policies ---------------------------------------------------------------------------------------------------------


def random_baseline(items: Sequence[UserItem]) -> Accuracies:
    """What a random option scores: the share of options that suit; 0 where none does."""

    def share(question: UserQuestion, state: Mapping[str, str]) -> float:
        wanted = required_values(question, state)
        return sum(choice.state == wanted for choice in question.answer_choices) / len(question.answer_choices)

    return [[[share(question, period.state) for question in item.qas] for period in item.periods] for item in items]


def first_option(_item: UserItem, _period: int, _question: UserQuestion) -> int:
    """Always the same option."""
    return 0


def initial_state(item: UserItem, _period: int, question: UserQuestion) -> int | None:
    """The option that suited at the start."""
    return golden_index(question, item.periods[0].state)


def policy_scores(items: Sequence[UserItem], policy: Policy) -> Accuracies:
    """[users][periods][questions]: 1 where the policy's option suits, 0 where it or every option does not."""

    def score(item: UserItem, period: int, question: UserQuestion) -> float:
        option, golden = policy(item, period, question), golden_index(question, item.periods[period].state)
        choices = question.answer_choices
        return 0.0 if option is None or golden is None else similarity(choices[golden].state, choices[option].state)

    return [[[score(item, p, one) for one in item.qas] for p in range(len(item.periods))] for item in items]


# -- assistants -------------------------------------------------------------------------------------------------------


def state_text(state: Mapping[str, str]) -> str:
    """A state as `variable: value` lines."""
    return "\n".join(f"{name}: {value}" for name, value in state.items())


SHOWN: Mapping[str, Callable[[UserItem, int], str]] = {
    "oracle": lambda item, period: state_text(item.periods[period].state),
    "stale": lambda item, period: state_text(item.periods[0].state),
    "random": lambda item, period: "",
}
"""What a baseline shows of a user after a period."""


class BaselineAssistant(Assistant):
    """Shows what is known of the user, whatever the budget. `consolidate` tells it that a period is over."""

    def __init__(self, name: str, item: UserItem) -> None:
        super().__init__(name)
        self._item, self._period = item, -1

    def consolidate(self) -> None:
        self._period += 1

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        text = SHOWN[self.name](self._item, self._period)
        return Recall(text=text, cost=0, budget=self.budget if budget is None else budget, kind=self.name, exact=True)

    def save(self, folder: Path) -> None:
        write_json(self._period, folder / "period.json")

    def load(self, folder: Path) -> None:
        self._period = read(folder / "period.json", TypeAdapter(int))

    def _remember(self, said: Message, reply: Message, session: str) -> None:
        return None


class KeywordAssistant(Assistant):
    """Keeps the last value of each variable that procedural users give away, and shows the newest that fit."""

    def __init__(self, item: UserItem, *, budget: int = BUDGET) -> None:
        super().__init__("keyword", budget=budget)
        self._matcher = ValueMatcher(item.state_schema)
        self.values: dict[str, str] = {}
        """By variable, the one that was set last at the end."""

    def recall(self, prompt: str, *, budget: int | None = None) -> Recall:
        texts = [(name, f"{name}: {value}") for name, value in self.values.items()]
        lines = [ViewLine(text, Source(id=name, text=text), (0, place)) for place, (name, text) in enumerate(texts)]
        return self._view(lines[::-1], budget, total=len(lines))

    def stored_texts(self) -> list[str]:
        return [state_text(self.values)]

    def save(self, folder: Path) -> None:
        write_json(self.values, folder / "values.json")

    def load(self, folder: Path) -> None:
        self.values = read(folder / "values.json", TypeAdapter(dict[str, str]))

    def _remember(self, said: Message, reply: Message, session: str) -> None:
        for name, values in self._matcher.exposed(said.text).items():
            if len(values) == 1:  # not where it contradicts itself
                self.values.pop(name, None)
                self.values[name] = min(values)
