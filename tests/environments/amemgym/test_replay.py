"""All stored dialogues of a real run, held by another assistant, are remembered by every memory without a word of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.slow import slow

from memagent.environments.amemgym.assistants.base import Assistant
from memagent.environments.amemgym.assistants.memory import MemoryAssistant
from memagent.environments.amemgym.assistants.published import AweAssistant, AwiAssistant
from memagent.environments.amemgym.data import Period, UserSession
from memagent.environments.amemgym.dialogues import Dialogue, Rounds, read_interactions, replay
from memagent.memory import BUILT_IN
from memagent.models.scripted import ScriptedModel
from memagent.store import Store

BUDGET = 256
_TIME = re.compile(r"\A\[Current Time: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\]\n")
ROUNDS = Rounds(first=1, later=2)
"""Of both users: sessions have 2 messages in the period 0 and 4 later."""


@pytest.fixture(scope="module")
def lives(amemgym_run: Path) -> dict[str, list[list[Dialogue]]]:
    """User to the conversations of all periods."""
    periods = {one.name: len(list((one / "interactions").iterdir())) for one in sorted(amemgym_run.iterdir())}
    return {user: [read_interactions(amemgym_run, user, p) for p in range(count)] for user, count in periods.items()}


@pytest.fixture(scope="module")
def asked(amemgym_run: Path) -> dict[str, list[str]]:
    """User to the questions that the real run asked."""
    results = {path.parent.name: json.loads(path.read_text("utf-8")) for path in amemgym_run.glob("*/overall_results.json")}
    return {user: [one["query"] for one in rows[0]] for user, rows in results.items()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", embedder=None) as found:
        yield found


def _period(dialogues: list[Dialogue]) -> Period:
    """The period on which conversations were held, as their openings tell it."""
    heads = [_TIME.match(dialogue[0].content) for dialogue in dialogues]
    openings = [(head[1], one[0].content[head.end() :]) for one, head in zip(dialogues, heads, strict=True) if head]
    assert len(openings) == len(dialogues)
    sessions = tuple(UserSession(query=query, session_time=at) for at, query in openings)
    return Period(period_end=sessions[-1].session_time[:10], sessions=sessions, state={}, updates={})


def test_the_real_run_has_the_sizes_that_the_benchmark_says(
    lives: dict[str, list[list[Dialogue]]],
) -> None:
    assert [len(periods) for periods in lives.values()] == [11, 21]
    for periods in lives.values():
        times = [one.session_time for dialogues in periods for one in _period(dialogues).sessions]
        assert times == sorted(times)
        for p, dialogues in enumerate(periods):
            assert {len(one) for one in dialogues} == {2 * ROUNDS.of(p)}


@pytest.mark.parametrize("kind", ["long_context", slow("rag"), slow("notes"), "awe", "awi"])
def test_every_stored_dialogue_replays_without_a_model_call(
    kind: str, lives: dict[str, list[list[Dialogue]]], asked: dict[str, list[str]], store: Store
) -> None:
    """Both users whole: 114 conversations of 416 messages. The model of a memory fails at the first call, so none is made."""
    began = time.process_time()  # other programs on the machine do not lengthen it
    for user, periods in lives.items():
        assistant = _assistant(kind, user, store)
        for _ in _replayed(assistant, periods):
            pass
        _remembers_all(assistant, periods, store)
        _is_asked(assistant, asked[user])
    assert sum(len(dialogues) for periods in lives.values() for dialogues in periods) == 114
    assert time.process_time() - began < 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_question_of_the_real_run_is_asked_after_every_period(
    kind: str, lives: dict[str, list[list[Dialogue]]], asked: dict[str, list[str]], store: Store
) -> None:
    """320 views a memory, each within its budget."""
    views = 0
    for user, periods in lives.items():
        assistant = _assistant(kind, user, store)
        for _ in _replayed(assistant, periods):
            views += _is_asked(assistant, asked[user])
        _remembers_all(assistant, periods, store)
    assert views == 320


def _replayed(assistant: Assistant, periods: list[list[Dialogue]]) -> Iterator[int]:
    """A user's life, period by period."""
    for p, dialogues in enumerate(periods):
        replay(dialogues, assistant.add, period=_period(dialogues), rounds=ROUNDS.of(p))
        assistant.consolidate()
        yield p


def _remembers_all(assistant: Assistant, periods: list[list[Dialogue]], store: Store) -> None:
    if isinstance(assistant, MemoryAssistant):
        said = [one.content for dialogues in periods for dialogue in dialogues for one in dialogue]
        heard = [message.text for message in assistant.memory.messages()]
        assert [_TIME.sub("", text) for text in said] == heard
        assert len(store.sessions(assistant.memory.user)) == sum(map(len, periods))


def _is_asked(assistant: Assistant, questions: list[str]) -> int:
    """The number of views, each of which shows something within the budget."""
    for question in questions:
        recall = assistant.recall(question, budget=BUDGET)
        assert not recall.empty
        assert 0 < recall.cost <= BUDGET
    return len(questions)


def _assistant(kind: str, user: str, store: Store) -> Assistant:
    mute = ScriptedModel([])
    if kind == "awe":
        return AweAssistant("awe")
    if kind == "awi":
        return AwiAssistant("awi")
    return MemoryAssistant(store.memory(kind, user=f"{kind} {user}"), model=mute)
