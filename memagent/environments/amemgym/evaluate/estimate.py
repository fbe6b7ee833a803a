"""What a run will cost: calls by number, tokens by an estimate, before anything is called.

The numbers of replies, follow-ups, questions, probes and options are exact; follow-ups that leak and calls that fail are
made again, which is not foreseen. Tokens are counted as `renderers.reader` estimates them; how long replies will be nobody
knows, so they are taken to be `Lengths` long. Equal calls are made once, which makes a run cheaper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memagent.environments.amemgym.data import Item, Period
from memagent.environments.amemgym.evaluate.bound import told_prompt
from memagent.environments.amemgym.interaction import Rounds, opening, read_interactions
from memagent.environments.amemgym.probe import question_prompt, state_prompt
from memagent.environments.amemgym.simulated_user import PROMPT
from memagent.prompts import MEMORY_IS_DATA, SYSTEM
from renderers.reader import estimate_tokens

BOUND, USER = "upper_bound", "simulated_user"


@dataclass(frozen=True)
class Lengths:
    """Tokens that are taken for what will be said."""

    reply: int = 1000
    """The dialogues of a published user are 60,000 to 140,000 tokens long, some 83 rounds."""
    follow_up: int = 40
    answer: int = 16
    values: int = 32


@dataclass(frozen=True)
class Cost:
    """Calls and their tokens."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def price(self, per_million_in: float, per_million_out: float) -> float:
        """In the currency of the prices."""
        return (self.tokens_in * per_million_in + self.tokens_out * per_million_out) / 1e6


_FRAME = estimate_tokens(SYSTEM) + estimate_tokens(MEMORY_IS_DATA)


def estimate(
    items: Sequence[Item],
    arms: Mapping[str, int | None],
    *,
    rounds: Rounds,
    user_model: bool,
    bound: bool,
    source: Path | None = None,
    lengths: Lengths | None = None,
) -> dict[str, Cost]:
    """The cost of each arm (name to what a view may cost, None: the whole history), of its simulated user, of the bound."""
    told = lengths or Lengths()
    found: dict[str, Cost] = {}
    talk = Cost()
    for arm, budget in arms.items():
        found[arm] = sum((_life(item, budget, rounds, source, told) for item in items), Cost())
        if user_model and source is None:
            talk += sum((_follow_ups(item, rounds, told) for item in items), Cost())
    if talk.calls:
        found[USER] = talk
    if bound:
        found[BOUND] = sum((_bound(item, told) for item in items), Cost())
    return found


def _life(item: Item, budget: int | None, rounds: Rounds, source: Path | None, told: Lengths) -> Cost:
    """Replies, questions and probes of one user."""
    cost, history = Cost(), 0
    asked = [(estimate_tokens(question_prompt(one)), told.answer) for one in item.qas]
    asked += [(estimate_tokens(state_prompt(item, one)), told.values) for one in item.qas]
    for number, period in enumerate(item.periods):
        if source is None:
            for said in _said(period, rounds.of(number), told):
                cost += Cost(1, _FRAME + _view(history, budget) + said, told.reply)
                history += said + told.reply
        else:
            stored = read_interactions(source, item.id, number)
            history += sum(estimate_tokens(one.content) for dialogue in stored for one in dialogue)
        view = _FRAME + _view(history, budget)
        cost += Cost(len(asked), sum(view + size for size, _ in asked), sum(size for _, size in asked))
    return cost


def _said(period: Period, rounds: int, told: Lengths) -> Iterator[int]:
    """Tokens of each message of the user."""
    for session in period.sessions:
        yield estimate_tokens(opening(session))
        yield from [told.follow_up] * (rounds - 1)


def _view(history: int, budget: int | None) -> int:
    return history if budget is None else min(history, budget)


def _follow_ups(item: Item, rounds: Rounds, told: Lengths) -> Cost:
    schema = "\n".join(f"{name}: {', '.join(values)}" for name, values in item.state_schema.items())
    frame = estimate_tokens(PROMPT) + estimate_tokens(item.user_profile.formatted_str) + estimate_tokens(schema)
    cost = Cost()
    for number, period in enumerate(item.periods):
        for session in period.sessions:
            read = frame + 2 * estimate_tokens(opening(session)) + told.reply
            more = rounds.of(number) - 1
            cost += Cost(more, more * read, more * told.follow_up)
    return cost


def _bound(item: Item, told: Lengths) -> Cost:
    prompts = [told_prompt(question, k) for question in item.qas for k in range(len(question.answer_choices))]
    return Cost(len(prompts), sum(map(estimate_tokens, prompts)), len(prompts) * told.answer)
