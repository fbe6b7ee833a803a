"""Reference assistants: they remember nothing said, and show by what is known the range within which others lie.

The oracle is told the present values before each question, the stale one those of the start; the random one knows nothing,
so that every option is as good as another; the constant one always names the same option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from memagent.environments.amemgym.data import Item, Question, golden_index
from memagent.environments.amemgym.scoring.bounds import Pick, constant

__all__ = ["REFERENCES", "constant", "oracle", "oracle_view", "random_choice", "random_view", "stale_view"]

View = Callable[[Item, int], str]
"""What a reference shows of a user after a period."""


def oracle_view(item: Item, period: int) -> str:
    """The present values."""
    return state_text(item.periods[period].state)


def stale_view(item: Item, period: int) -> str:
    """The values of the start."""
    return state_text(item.periods[0].state)


def random_view(item: Item, period: int) -> str:
    """Nothing: a reader of it can only guess."""
    return ""


REFERENCES: Mapping[str, View] = {"oracle": oracle_view, "stale": stale_view, "random": random_view}


def state_text(state: Mapping[str, str]) -> str:
    """Values by name, a line each."""
    return "\n".join(f"{name}: {value}" for name, value in state.items())


def oracle(item: Item, period: int, question: Question) -> int | None:
    """The option that suits, as a policy for `bounds.policy_scores`."""
    return golden_index(question, item.periods[period].state)


def random_choice(seed: int) -> Pick:
    """A random option as a policy, each cell with a draw of its own."""

    def pick(item: Item, period: int, question: Question) -> int:
        return Random(f"{seed}:{item.id}:{period}:{question.query}").randrange(len(question.answer_choices))

    return pick
