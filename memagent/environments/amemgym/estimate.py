"""What a run, or making users by a model, will cost: calls by number, tokens by an estimate, before anything is called.

The numbers of replies, follow-ups, questions, probes and options are exact; follow-ups that leak, answers that are rejected and
calls that fail are made again, which is not foreseen. Tokens are counted as `memagent_renderers.budget` estimates them; how
long replies will be nobody knows, so they are taken to be `Lengths` long; so are memories that a model writes. Equal calls are
made once, which makes a run cheaper.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memagent.environments.amemgym.answerers import utilization_prompt
from memagent.environments.amemgym.assistants.windowed import Schedule
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.dialogues import Rounds, first_message, read_interactions
from memagent.environments.amemgym.generate.pipeline import generate_user
from memagent.environments.amemgym.generate.presets import GeneratorSettings
from memagent.environments.amemgym.methods import WINDOWED, WRITE_CALLS, Method
from memagent.environments.amemgym.rule_reader import question_prompt, state_prompt
from memagent.environments.amemgym.simulated_user import PROMPT
from memagent.prompts import MEMORY_IS_DATA, SYSTEM
from memagent_renderers.budget import estimate_tokens

BOUND, USER = "upper_bound", "simulated_user"
_FRAME = estimate_tokens(SYSTEM) + estimate_tokens(MEMORY_IS_DATA)


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
    """The prompt of writing without what is to be written; also what it is to keep."""


LENGTHS = Lengths()


@dataclass(frozen=True)
class Cost:
    """Calls and their tokens."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def price(self, per_million_in: float, per_million_out: float) -> float:
        return (self.tokens_in * per_million_in + self.tokens_out * per_million_out) / 1e6


def estimate_run(
    items: Sequence[UserItem],
    methods: Sequence[Method],
    *,
    budget: int,
    rounds: Rounds,
    user_model: bool,
    upper_bound: bool,
    source: Path | None = None,
) -> dict[str, Cost]:
    """The cost of each method, of the simulated user of all of them, and of the upper bound."""
    found = {method.name: sum((_user(item, method, budget, rounds, source) for item in items), Cost()) for method in methods}
    if user_model and source is None:
        talk = sum((_follow_ups(item, rounds) for item in items for _ in methods), Cost())
        found |= {USER: talk} if talk.calls else {}
    if upper_bound:
        questions = [question for item in items for question in item.qas]
        prompts = [utilization_prompt(question, k) for question in questions for k in range(len(question.answer_choices))]
        found[BOUND] = Cost(len(prompts), sum(map(estimate_tokens, prompts)), len(prompts) * LENGTHS.answer)
    return found


def _user(item: UserItem, method: Method, budget: int, rounds: Rounds, source: Path | None) -> Cost:
    """Replies, writing, questions and probes of one method and user."""
    cost, held = Cost(), _Held(method, budget)
    asked = [(estimate_tokens(question_prompt(one)), LENGTHS.answer) for one in item.qas]
    probed = [(estimate_tokens(state_prompt(item, one)), LENGTHS.values) for one in item.qas]
    for number, period in enumerate(item.periods):
        if source is None:
            for session in period.sessions:
                for said in [estimate_tokens(first_message(session)), *[LENGTHS.follow_up] * (rounds.of(number) - 1)]:
                    cost += Cost(1, _FRAME + held.view() + said, LENGTHS.reply) + held.add(said, LENGTHS.reply)
        else:
            for dialogue in read_interactions(source, item.id, number):
                sizes = [estimate_tokens(one.content) for one in dialogue]
                cost += sum((held.add(*pair) for pair in zip(sizes[::2], sizes[1::2], strict=True)), Cost())
        view = _FRAME + held.view()
        for size, answer in (*asked, *probed):
            cost += Cost(1, view + size, answer)
        if method.kind.endswith("-evolve") and method.evolution.learns:
            cost += Cost(1, 2 * LENGTHS.instruction + sum(view + size for size, _ in asked), LENGTHS.instruction)
    return cost


class _Held:
    def __init__(self, method: Method, budget: int) -> None:
        self._schedule: Schedule | None = method.schedule if method.kind in WINDOWED else None
        self._writes = WRITE_CALLS.get(method.kind, 0)
        self._most = None if method.kind == "native" else budget
        self._window: list[int] = []
        self._history = 0
        self._memories: list[int] = []

    def add(self, said: int, reply: int) -> Cost:
        """A round; what writing it costs."""
        self._history += said + reply
        if self._schedule is None:
            return Cost()
        self._window += [said, reply]
        count = self._schedule.leaving(len(self._window))
        leaving, self._window = self._window[:count], self._window[count:]
        self._memories += [LENGTHS.memory] * bool(leaving) if self._writes else leaving
        if not leaving:
            return Cost()
        read = LENGTHS.instruction + sum(leaving) + sum(self._memories[-self._schedule.top :])
        return Cost(self._writes, self._writes * read, self._writes * 2 * LENGTHS.memory)

    def view(self) -> int:
        if self._schedule is not None:
            return sum(self._window) + sum(self._memories[-self._schedule.top :])
        return self._history if self._most is None else min(self._history, self._most)


def _follow_ups(item: UserItem, rounds: Rounds) -> Cost:
    schema = "\n".join(f"{name}: {', '.join(values)}" for name, values in item.state_schema.items())
    frame = estimate_tokens(PROMPT) + estimate_tokens(item.user_profile.formatted_str) + estimate_tokens(schema)
    cost = Cost()
    for number, period in enumerate(item.periods):
        for session in period.sessions:
            read, more = frame + 2 * estimate_tokens(first_message(session)) + LENGTHS.reply, rounds.of(number) - 1
            cost += Cost(more, more * read, more * LENGTHS.follow_up)
    return cost


# -- users by a model -------------------------------------------------------------------------------------------------

_STAND_INS = 20
"""Users out of the bank from which more are estimated."""
_INSTRUCTION = 220
"""Of a prompt that writes or checks a user, without what it shows."""


def generation_calls(item: UserItem) -> int:
    """Calls that a user takes when every answer will do (arXiv 2603.01966, section 3, and a check of each period's events).

    Profile, questions, merging and the start; changes, events, their check and utterances of each
    period; options of each question; the utterances of the start; a check of each option and each utterance.
    """
    periods, questions = len(item.periods) - 1, len(item.qas)
    checks = sum(len(one.answer_choices) for one in item.qas) + sum(len(one.sessions) for one in item.periods)
    return 4 + 4 * periods + questions + 1 + checks


def estimate_generation(users: int, *, settings: GeneratorSettings, seed: int | None = None) -> Cost:
    """The cost of users that a model writes when nothing goes wrong, by procedural users of the same settings.

    Raises `InputError` where the bank cannot make them.
    """
    taken = min(users, _STAND_INS)
    found = sum((_generation(generate_user(index, settings=settings, seed=seed)) for index in range(taken)), Cost())
    share = users / taken if taken else 0.0
    return Cost(*(round(number * share) for number in (found.calls, found.tokens_in, found.tokens_out)))


def _generation(item: UserItem) -> Cost:
    profile, schema = _size(item.user_profile.formatted_str), _size(item.state_schema)
    questions = _size([[one.query, {name: item.state_schema[name] for name in one.required_info}] for one in item.qas])
    shown, written = 3 * profile + questions, profile + questions + schema // 2  # profile, questions, merging
    told = 0
    for number, period in enumerate(item.periods):
        state, queries = _size(period.state), sum(_size(one.query) for one in period.sessions)
        summary, events = _size(period.period_summary), sum(_size(one.event) for one in period.sessions)
        changes = 40 * len(period.updates) if number else 0
        shown += profile + schema + (state + told if number else 0)  # start, or changes
        shown += profile + schema + (events + changes if number else state)  # utterances
        shown += (summary + changes + state) + (events + schema) if number else 0  # events and their check
        shown += queries + len(period.sessions) * schema
        written += (summary + events + 2 * changes if number else state) + 2 * queries
        told += summary + changes // 2
    for question in item.qas:
        options = sum(_size(one.answer) for one in question.answer_choices)
        variants = sum(_size(dict(zip(question.required_info, one.state, strict=True))) for one in question.answer_choices)
        asked = _size(question.query) + variants
        shown += asked + len(question.answer_choices) * asked + options
        written += options + 6 * len(question.answer_choices)
    calls = generation_calls(item)
    return Cost(calls, shown + calls * _INSTRUCTION, written)


def _size(value: object) -> int:
    return estimate_tokens(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=list))
