"""What a run will cost: calls by number, tokens by an estimate, before anything is called.

The numbers of replies, follow-ups, questions, probes and options are exact; follow-ups that leak and calls that fail are
made again, which is not foreseen. Tokens are counted as `memagent_renderers.budget` estimates them; how long replies will be
nobody knows, so they are taken to be `Lengths` long; so are memories that a model writes. Equal calls are made once, which
makes a run cheaper; answers of the wrong form are asked for again, which makes it dearer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memagent.environments.amemgym.assistants.window import Schedule, moved
from memagent.environments.amemgym.data import Item, Period
from memagent.environments.amemgym.dialogues import Rounds, first_message, read_interactions
from memagent.environments.amemgym.evaluate.bound import told_prompt
from memagent.environments.amemgym.rule_reader import question_prompt, state_prompt
from memagent.environments.amemgym.simulated_user import PROMPT
from memagent.prompts import MEMORY_IS_DATA, SYSTEM
from memagent_renderers.budget import estimate_tokens

BOUND, USER = "upper_bound", "simulated_user"


@dataclass(frozen=True)
class Lengths:
    """Tokens that are taken for what will be said."""

    reply: int = 1000
    """The dialogues of a published user are 60,000 to 140,000 tokens long, some 83 rounds."""
    follow_up: int = 40
    answer: int = 16
    values: int = 32
    memory: int = 20
    """One that a model wrote."""
    instruction: int = 300
    """The prompt of writing without what is to be written; also the policy."""


@dataclass(frozen=True)
class Plan:
    """What an method shows its model, and how often a model writes for it."""

    budget: int | None = None
    """Most tokens of a view; None is the whole history, unless there is a schedule."""
    schedule: Schedule | None = None
    """Of a window and as many memories as it looks up, whatever they cost."""
    writes: int = 0
    """Most calls for each writing."""
    learns: bool = False
    """Whether each period ends with a call that rewrites the policy."""


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
    methods: Mapping[str, Plan],
    *,
    rounds: Rounds,
    user_model: bool,
    bound: bool,
    source: Path | None = None,
    lengths: Lengths | None = None,
) -> dict[str, Cost]:
    """The cost of each method, of the simulated user of all of them, and of the bound."""
    told = lengths or Lengths()
    found: dict[str, Cost] = {}
    talk = Cost()
    for method, plan in methods.items():
        found[method] = sum((_life(item, plan, rounds, source, told) for item in items), Cost())
        if user_model and source is None:
            talk += sum((_follow_ups(item, rounds, told) for item in items), Cost())
    if talk.calls:
        found[USER] = talk
    if bound:
        found[BOUND] = sum((_bound(item, told) for item in items), Cost())
    return found


def _life(item: Item, plan: Plan, rounds: Rounds, source: Path | None, told: Lengths) -> Cost:
    """Replies, writing, questions and probes of one user."""
    cost, talk = Cost(), _Talk(plan, told)
    asked = [(estimate_tokens(question_prompt(one)), told.answer) for one in item.qas]
    asked += [(estimate_tokens(state_prompt(item, one)), told.values) for one in item.qas]
    for number, period in enumerate(item.periods):
        if source is None:
            for said in _said(period, rounds.of(number), told):
                cost += Cost(1, _FRAME + talk.view() + said, told.reply) + talk.add(said, told.reply)
        else:
            for dialogue in read_interactions(source, item.id, number):
                sizes = [estimate_tokens(one.content) for one in dialogue]
                cost += sum((talk.add(*pair) for pair in zip(sizes[::2], sizes[1::2], strict=True)), Cost())
        view = _FRAME + talk.view()
        cost += Cost(len(asked), sum(view + size for size, _ in asked), sum(size for _, size in asked))
        if plan.learns:
            questions = sum(view + size for size, _ in asked[: len(item.qas)])
            cost += Cost(1, 2 * told.instruction + questions, told.instruction)
    return cost


class _Talk:
    """What an assistant holds, in tokens."""

    def __init__(self, plan: Plan, told: Lengths) -> None:
        self._plan, self._told = plan, told
        self._window: list[int] = []
        self._history = 0
        self._memories: list[int] = []

    def add(self, said: int, reply: int) -> Cost:
        """A round; what writing it costs."""
        plan, told = self._plan, self._told
        self._history += said + reply
        if plan.schedule is None:
            return Cost()
        self._window, leaving = moved(self._window, (said, reply), plan.schedule)
        self._memories += [told.memory] * bool(leaving) if plan.writes else leaving
        if not leaving:
            return Cost()
        read = told.instruction + sum(leaving) + sum(self._memories[-plan.schedule.top :])
        return Cost(plan.writes, plan.writes * read, plan.writes * 2 * told.memory)

    def view(self) -> int:
        """What is shown for a text."""
        plan = self._plan
        if plan.schedule is not None:
            return sum(self._window) + sum(self._memories[-plan.schedule.top :])
        return self._history if plan.budget is None else min(self._history, plan.budget)


def _said(period: Period, rounds: int, told: Lengths) -> Iterator[int]:
    """Tokens of each message of the user."""
    for session in period.sessions:
        yield estimate_tokens(first_message(session))
        yield from [told.follow_up] * (rounds - 1)


def _follow_ups(item: Item, rounds: Rounds, told: Lengths) -> Cost:
    schema = "\n".join(f"{name}: {', '.join(values)}" for name, values in item.state_schema.items())
    frame = estimate_tokens(PROMPT) + estimate_tokens(item.user_profile.formatted_str) + estimate_tokens(schema)
    cost = Cost()
    for number, period in enumerate(item.periods):
        for session in period.sessions:
            read = frame + 2 * estimate_tokens(first_message(session)) + told.reply
            more = rounds.of(number) - 1
            cost += Cost(more, more * read, more * told.follow_up)
    return cost


def _bound(item: Item, told: Lengths) -> Cost:
    prompts = [told_prompt(question, k) for question in item.qas for k in range(len(question.answer_choices))]
    return Cost(len(prompts), sum(map(estimate_tokens, prompts)), len(prompts) * told.answer)
