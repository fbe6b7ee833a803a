"""A turn of an agent: what it stores, what the model sees, and what happens when something fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from memagent.agent import SMALL_BUDGET, Agent
from memagent.errors import BudgetError, InputError, ModelError
from memagent.grounding import NOTED, UNKNOWN
from memagent.models.base import ChatModel, Reply, Request
from memagent.models.fake import FakeModel
from memagent.models.openai_compatible import OpenAICompatibleModel
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.fault_server import FaultServer
from memagent.types import Message, now
from memagent_renderers.budget import Budget, ReaderProfile

PNG = b"\x89PNG\r\n\x1a\n picture"


class Listening(ChatModel):
    """Repeats "ok" and keeps what it was shown."""

    name = "listening"

    def __init__(self, *, sees_images: bool = False) -> None:
        self.reader = ReaderProfile(name=self.name, count=lambda text: len(text.split()), exact=True, sees_images=sees_images)
        self.requests: list[Request] = []
        self.closed = 0

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        self.requests.append(request)
        yield "ok"
        return Reply(text="ok", model=self.name)

    def close(self) -> None:
        self.closed += 1


class Down(Listening):
    """A model that cannot be reached."""

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        raise ModelError("no route to the model", retryable=True)
        yield ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        yield store


def test_a_turn_stores_both_sides_and_shows_the_memory_as_data(store: Store) -> None:
    memory, model = store.memory("rag"), Listening()
    memory.add("My dog is called Biscuit.", session="monday")
    answer = Agent(model=model, memory=memory, budget=64).run("What is my dog called?")
    assert answer.text == "ok"
    assert [memory.get(id).text for id in answer.ids] == ["What is my dog called?", "ok"]
    assert "<memory>" in model.requests[0].messages[-1].text
    assert "Biscuit" in model.requests[0].messages[-1].text
    assert answer.recall is not None
    assert answer.recall.budget == 64


def test_earlier_turns_of_a_session_are_seen_and_their_number_can_be_chosen(store: Store) -> None:
    memory, model = store.memory("rag"), Listening()
    memory.add([Message(role="user", content=f"number {n}") for n in range(9)])
    Agent(model=model, memory=memory, recent_messages=2).run("and now?")
    assert [one.text for one in model.requests[0].messages[1:-1]] == ["number 7", "number 8"]
    Agent(model=model, memory=memory, recent_messages=0).run("and now?")
    assert len(model.requests[1].messages) == 2


@pytest.mark.parametrize("given", [{"role": "user", "content": "hi"}, Message(role="user", content="hi"), "hi"])
def test_a_turn_is_a_string_a_message_or_a_dict(given: Any) -> None:
    agent = Agent(model=Listening())
    assert agent.run(given).text == "ok"
    assert [turn.text for turn in agent.turns] == ["hi", "ok"]


@pytest.mark.parametrize("given", [None, 7, ["hi"], b"hi", {"role": "assistant", "content": "hi"}])
def test_anything_else_is_an_input_error_and_stores_nothing(store: Store, given: Any) -> None:
    memory = store.memory("rag")
    with pytest.raises(InputError):
        Agent(model=Listening(), memory=memory).run(given)
    assert memory.messages() == []


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({"memory": "rag"}, InputError, "store.memory"),
        ({"model": 7}, InputError, "model is a ChatModel"),
        ({"budget": 0}, BudgetError, "0"),
        ({"budget": "64"}, BudgetError, "64"),
        ({"budget": True}, BudgetError, "True"),
    ],
)
def test_arguments_that_cannot_be_are_refused_when_the_agent_is_made(options: Any, error: type[Exception], seen: str) -> None:
    with pytest.raises(error, match=seen):
        Agent(**{"model": Listening(), **options})


def test_a_budget_is_a_number_of_the_models_tokens_or_a_budget(store: Store) -> None:
    model, memory = Listening(), store.memory("rag")
    own = Budget(99)
    assert Agent(model=model, memory=memory, budget=64).budget == Budget(64, model.reader)
    assert Agent(model=model, memory=memory, budget=own).budget is own
    agent = Agent(model=model, memory=memory)
    assert agent.budget == Budget(memory.default_budget, model.reader)
    model.small = True
    assert agent.budget.tokens == memory.default_budget  # it reads no text itself
    drawn = Agent(model=model, memory=store.memory("memocr"))
    assert drawn.budget.tokens == SMALL_BUDGET
    agent.budget = 32
    assert agent.budget == Budget(32, model.reader)
    with pytest.raises(BudgetError):
        agent.budget = -1


def test_a_blind_model_reads_a_memory_of_pictures_by_ocr(store: Store) -> None:
    for number in range(8):
        store.memory("memocr", session=f"day {number}").add(f"Locker {number} has code {1000 + number}.")
    model = Listening()
    agent = Agent(model=model, memory=store.memory("memocr"), budget=128)
    answer = agent.run("Which code has locker 3?")
    assert answer.recall is not None
    assert answer.recall.picture is not None
    (request,) = model.requests
    assert not any(message.images for message in request.messages)
    assert "1003" in request.messages[-1].text
    other = Listening()
    agent.model = other
    agent.run("Which code has locker 5?")
    assert not any(message.images for message in other.requests[0].messages)


def test_a_model_that_sees_is_shown_the_picture(store: Store) -> None:
    store.memory("memocr", session="monday").add("Locker 3 has code 1003.")
    model = Listening(sees_images=True)
    Agent(model=model, memory=store.memory("memocr"), budget=128).run("Which code has locker 3?")
    assert len(model.requests[0].messages[-1].images) == 1


def test_pictures_of_the_user_reach_a_model_that_sees(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    model = Listening(sees_images=True)
    Agent(model=model).run("What is this?", images=[tmp_path / "cat.png", PNG])
    assert [part.data for part in model.requests[0].messages[-1].images] == [PNG, PNG]


def test_when_the_model_fails_the_message_is_stored_and_named(store: Store) -> None:
    memory = store.memory("rag")
    agent = Agent(model=Down(), memory=memory)
    with pytest.raises(ModelError):
        agent.run("I live in Porto.")
    assert [memory.get(id).text for id in agent.last_ids] == ["I live in Porto."]
    assert agent.turns == []


def test_an_interrupted_answer_is_kept_as_partial(store: Store) -> None:
    memory = store.memory("rag")
    stream = Agent(model=FakeModel("one two three four"), memory=memory).stream("count")
    next(stream)
    answer = stream.interrupt()
    assert answer is not None
    assert answer.usage.text_in > 0
    assert (answer.usage.text_out, answer.usage.calls) == (1, 1)
    assert answer.stop_reason == "interrupted"
    assert [item.origin for item in memory.items()] == ["said", "partial"]


def test_an_answer_that_is_left_is_stored_before_its_store_closes(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        streams = [
            Agent(model=FakeModel("one two three"), memory=store.memory("rag", user=user)).stream("count")
            for user in ("left", "not begun", "over")
        ]
        for stream, pieces in zip(streams, (1, 0, 9), strict=True):
            for _ in range(pieces):
                next(stream, None)
    assert [stream.answer and stream.answer.stop_reason for stream in streams] == ["interrupted", None, "stop"]
    with Store(tmp_path, embedder=None) as store:
        stored = [[item.origin for item in store.memory("rag", user=user).items()] for user in store.users()]
    assert stored == [["said", "partial"], ["said"], ["said", "said"]]


def test_read_only_writes_nothing_and_remembers_its_turns(store: Store) -> None:
    memory = store.memory("rag")
    agent = Agent(model=Listening(), memory=memory, read_only=True)
    agent.run("hi")
    assert memory.messages() == []
    assert [turn.text for turn in agent.turns] == ["hi", "ok"]


def test_run_consolidates_unless_told_not_to(store: Store) -> None:
    Agent(model=Listening(), memory=store.memory("notes", user="ada"), auto_consolidate=False).run("My dog is called Biscuit.")
    Agent(model=Listening(), memory=store.memory("notes", user="bob")).run("My dog is called Biscuit.")
    assert store.memory("notes", user="ada").pending_count() == 2
    assert store.memory("notes", user="bob").pending_count() == 0


def test_another_memory_begins_with_the_turns_of_its_session(store: Store) -> None:
    agent = Agent(model=Listening(), memory=store.memory("rag", session="monday"))
    agent.run("hi")
    store.memory("rag", session="tuesday").add("good morning")
    agent.memory = store.memory("rag", session="tuesday")
    assert [turn.text for turn in agent.turns] == ["good morning"]
    assert agent.last_ids == ()


def test_a_model_that_was_named_is_closed_with_the_agent_and_when_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Listening] = []
    monkeypatch.setattr("memagent.agent.load_model", lambda _: loaded.append(Listening()) or loaded[-1])
    own = Listening()
    with Agent(model="one") as agent:
        agent.model = "two"
        assert [model.closed for model in loaded] == [1, 0]
        agent.model = own
        assert [model.closed for model in loaded] == [1, 1]
    assert own.closed == 0


@pytest.mark.parametrize("fault", ["cut_by_close", "overloaded_late", "cut_by_reset"])
def test_an_answer_that_breaks_off_is_an_error_and_kept_as_partial(store: Store, fault: str) -> None:
    with FaultServer() as server, OpenAICompatibleModel("m", base_url=server.url(fault)) as model:
        agent = Agent(model=model, memory=store.memory("rag"))
        with pytest.raises(ModelError) as caught:
            agent.run("Where do I live?")
    said, partial = store.memory("long_context").items()
    assert partial.text == caught.value.partial != ""
    assert (said.origin, partial.origin, agent.last_ids) == ("said", "partial", (said.id, partial.id))


def test_thoughts_are_not_stored(store: Store) -> None:
    answer = Agent(model=FakeModel("<think>They ask.</think>\n\nLyon."), memory=store.memory("rag")).run("Where do I live?")
    assert answer.text == "Lyon."
    assert [item.text for item in store.memory("rag").items()] == ["Where do I live?", "Lyon."]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_message_said_again_after_a_failure_is_stored_once(store: Store, restarted: bool) -> None:
    agent = Agent(model=Down(), memory=store.memory("rag"))
    for _ in range(3):
        with pytest.raises(ModelError):
            agent.run("I live in Porto.")
    if restarted:
        agent = Agent(model=Down(), memory=store.memory("rag"))
    agent.model = listening = Listening()
    first = agent.run("I live in Porto.")
    assert [item.text for item in store.memory("rag").items()] == ["I live in Porto.", "ok"]
    assert first.ids == tuple(item.id for item in store.memory("rag").items())
    agent.run("I live in Porto.")  # which was answered: it is said a second time
    assert [message.text for message in listening.requests[-1].messages[1:3]] == ["I live in Porto.", "ok"]
    assert len(store.memory("rag").items()) == 4


def test_a_message_that_was_never_answered_is_no_turn_of_the_prompt(store: Store) -> None:
    agent = Agent(model=Down(), memory=store.memory("rag"))
    with pytest.raises(ModelError):
        agent.run("Bonjour !")
    agent.model = listening = Listening()
    agent.run("Good morning!")
    assert [message.role for message in listening.requests[0].messages] == ["system", "user"]
    assert [item.text for item in store.memory("rag").items()] == ["Bonjour !", "Good morning!", "ok"]


def test_every_prompt_tells_the_day_the_weekday_and_the_zone_of_the_turn(store: Store) -> None:
    model = Listening()
    tokyo = datetime(2026, 5, 2, 8, 0, tzinfo=timezone(timedelta(hours=9)))
    agent = Agent(model=model, memory=store.memory("rag"))
    agent.run(Message(role="user", content="Where did I go last week?", time=tokyo))
    agent.run("And today?")
    assert "Today is Saturday, 2 May 2026 (UTC+09:00)." in model.requests[0].messages[0].text
    assert f"Today is {now():%A}" in model.requests[1].messages[0].text  # made anew


class Rambling(Listening):
    """A small model that makes things up."""

    small = True

    def _stream(self, request: Request) -> Generator[str, None, Reply]:
        self.requests.append(request)
        yield "Emily."
        return Reply(text="Emily.", model=self.name)


@pytest.mark.parametrize("kind", ["rag", "long_context", "notes"])
def test_a_small_model_is_not_asked_about_the_user_whose_words_are_quoted(store: Store, kind: str) -> None:
    model = Rambling()
    agent = Agent(model=model, memory=store.memory(kind))
    assert agent.run("What is my name?").text == UNKNOWN
    assert agent.run("My tortoise is called Clementine.").text == NOTED
    assert agent.run("Good. My boat is a Bavaria 37.").text == NOTED
    fresh = Agent(model=model, memory=store.memory(kind, session="another"), recent_messages=0)
    assert "“My tortoise is called Clementine.”" in fresh.run("What is my tortoise called?").text
    assert "Bavaria" in agent.run("Which boat do I have?").text  # seen among the recent turns
    assert "Brutus" in agent.run("My goat is called Brutus. What is my goat called?").text
    assert not model.requests


def test_a_question_about_the_world_reaches_a_small_model_with_recent_turns_and_without_memory(store: Store) -> None:
    memory, model = store.memory("rag"), Rambling()
    memory.add("My uncle in Delft collects clocks.", session="before")
    agent = Agent(model=model, memory=memory)
    assert agent.run("Who wrote Hamlet?").text == "Emily."
    assert agent.run("What is my goat called?").text == UNKNOWN
    agent.run("Why?")
    agent.run("Please write me a packing list for the beach.")
    shown = [[message.text for message in request.messages] for request in model.requests]
    assert not any("clocks" in text for texts in shown for text in texts)
    assert [texts[1:] for texts in shown[:2]] == [["Who wrote Hamlet?"], ["Who wrote Hamlet?", "Emily.", "Why?"]]
    assert shown[2][-1].startswith("Please")
    assert model.requests[0].messages[0].role == "system"
