"""Memory as a picture: what a model drafts, what of it is shown, and how it is taken back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers.memocr_memories import look, make, tell
from helpers.recording_model import RecordingModel

from memagent.errors import ConfigError, ModelError, UnknownName
from memagent.memory.memocr import drafts
from memagent.memory.memocr.memory import MemOcrMemory
from memagent.models.base import Request
from memagent.models.fake import FakeModel, GarbageModel
from memagent.models.scripted import ScriptedModel
from memagent.store import Store
from memagent.testing.contract import WORDS, files_with
from memagent.types import Message
from memagent_renderers.budget import Budget

_SECTION = "My dog Biscuit likes tea."
_CHUNK = 30
"""Tokens of a chunk that holds one message of `_SECTION`, and not two."""


def test_options_are_checked(store: Store) -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        make(store, drafter="model")
    with pytest.raises(ConfigError, match="salience, model"):
        make(store, drafter="magic")
    memory = make(store, engine="crayon")
    tell(memory, "hello there")
    with pytest.raises(UnknownName, match="crayon"):
        memory.recall("hello")
    assert make(store, model=FakeModel()).drafter.overwrites
    small = FakeModel()
    small.small = True
    assert not make(store, model=small).drafter.overwrites


def test_a_models_draft_is_drawn_in_its_own_tiers_and_its_messages_are_not_repeated(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["```markdown\n# Dog: Biscuit\n\n**Lyon**\n\nlikes tea\n```"]))
    first, second = tell(memory, "My dog is called Biscuit.", "I live in Lyon, I like tea.")
    flushed = memory.consolidate()
    assert (flushed.processed, flushed.usage.calls, memory.pending_count()) == (2, 1, 0)
    recall, text = look(memory, "anything")
    assert text == "Dog: Biscuit Lyon likes tea"
    assert recall.picture is not None
    assert recall.picture.sizes["h1"] > recall.picture.sizes["body"]
    assert [(source.id, source.messages) for source in recall.sources] == [
        ("draft", (first,)),
        ("draft", (second,)),
        ("draft", (second,)),
    ]
    (item,) = memory.items()
    assert set(item.sources) == {first, second}
    tell(memory, "My cat is called Tiger.")
    assert "Tiger" in look(memory, "What is my cat called?", 16)[1]


def test_forgetting_a_message_takes_back_every_draft_that_knew_it(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# Dog Biscuit", "# Dog Biscuit, home Lyon", "# Home Lyon, job gardener"]))
    tell(memory, "My dog is called Biscuit.")
    memory.consolidate()
    (second,) = tell(memory, "I live in Lyon.")
    memory.consolidate()
    assert look(memory, "x")[1] == "Dog Biscuit, home Lyon"
    memory.delete(second)
    assert look(memory, "x")[1] == "Dog Biscuit"
    memory.undo()
    assert look(memory, "x")[1] == "Dog Biscuit, home Lyon"
    memory.delete(memory.messages()[0].id or "")
    assert look(memory, "x", 16)[1] == "I live in Lyon."
    assert memory.pending_count() == 1
    tell(memory, "I work as a gardener.")
    memory.consolidate()
    assert look(memory, "x")[1] == "Home Lyon, job gardener"
    assert len(memory.history("draft")) == 3


def test_a_draft_can_be_edited_forgotten_and_purged_without_its_messages(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# Dog Zzyzxbiscuit", "# Dog again"]))
    tell(memory, "My dog is called Biscuit.")
    memory.consolidate()
    memory.update("draft", "# Dog Waffle")
    assert look(memory, "x")[1] == "Dog Waffle"
    memory.undo()
    assert look(memory, "x")[1] == "Dog Zzyzxbiscuit"
    memory.purge("draft")
    assert files_with(store.path, "Zzyzxbiscuit") == []
    assert "My dog is called Biscuit." in look(memory, "x")[1]


def test_purging_a_message_purges_the_drafts_that_knew_it(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# Dog Zzyzxbiscuit"]))
    name, _ = tell(memory, "My dog is called Zzyzxbiscuit.", "I like tea.")
    memory.consolidate()
    make(store).search("dog")
    store.memory("rag", user="ada").purge(name)
    assert files_with(store.path, "Zzyzxbiscuit") == []
    assert look(memory, "x", 16)[1] == "I like tea."


def test_a_garbage_model_loses_nothing_and_is_counted(store: Store) -> None:
    good = make(store, model=ScriptedModel(["# Dog: Biscuit"]))
    tell(good, "My dog is called Biscuit.")
    good.consolidate()
    memory = make(store, model=GarbageModel())
    tell(memory, "My cat is called Tiger.")
    flushed = memory.consolidate()
    assert flushed.processed == 0
    assert [(one.id, one.action) for one in flushed.outcomes] == [("draft", "skipped")]
    assert memory.pending_count() == 1
    _, text = look(memory, "What is my cat called?")
    assert "Tiger" in text
    assert "Dog: Biscuit" in text


def test_a_model_that_fails_raises_and_what_was_drafted_before_stands(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# one two three"]), chunk_tokens=30)
    tell(memory, *[f"one two three four five {number}" for number in range(6)])
    with pytest.raises(ModelError):
        memory.consolidate()
    assert 0 < memory.pending_count() < 6
    _, text = look(memory, "five")
    assert "one two three" in text
    assert "four five 5" in text
    again = make(store, model=ScriptedModel(["# one two"] * 9), chunk_tokens=30)
    again.consolidate()
    assert again.pending_count() == 0


def test_a_long_message_is_drafted_chunk_by_chunk_and_shown_while_one_failed(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# alpha", "", "# alpha again"]), chunk_tokens=60)
    tell(memory, "alpha beta gamma " * 25)
    flushed = memory.consolidate()
    assert [one.action for one in flushed.outcomes] == ["added", "skipped"]
    _, text = look(memory, "delta")
    assert text.count("alpha") > 5
    assert memory.pending_count() == 1


def test_a_draft_for_a_question_serves_that_question_only(store: Store) -> None:
    model = ScriptedModel([{"match": "Which dog", "text": "# Biscuit"}, {"match": "No question", "text": "# Tea, dog"}])
    memory = make(store, model=model)
    tell(memory, "My dog is called Biscuit.", "I like tea.")
    memory.consolidate(question="Which dog?")
    assert memory.pending_count() == 2
    assert look(memory, " which  DOG? ")[1] == "Biscuit"
    assert "tea" in look(memory, "What do I drink?")[1]
    memory.consolidate()
    assert look(memory, "What do I drink?")[1] == "Tea, dog"
    assert look(memory, "Which dog?")[1] == "Biscuit"
    assert memory.consolidate(question="Which dog?").usage.calls == 0


def test_a_document_is_not_shown_for_a_single_session_unless_it_is_of_that_session(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# Biscuit and tea"]), session="monday")
    tell(memory, "My dog is called Biscuit.")
    memory.add("I like tea.", session="tuesday")
    memory.consolidate()
    assert look(memory, "x", 16, session="monday")[1] == "My dog is called Biscuit."
    assert look(memory, "x")[1] == "Biscuit and tea"


def test_a_document_of_messages_that_the_reader_sees_anyway_is_not_shown(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# Biscuit and tea"]))
    ids = tell(memory, "My dog is called Biscuit.", "I like tea.")
    memory.consolidate()
    assert look(memory, "x", exclude=ids[:1])[1] == "Biscuit and tea"
    assert memory.recall("x", budget=Budget(64, WORDS), exclude=ids).text == ""
    (cat,) = tell(memory, "My cat is called Tiger.")
    assert look(memory, "x", 16, exclude=ids)[1] == "My cat is called Tiger."
    assert look(memory, "x", 16, exclude=[cat])[1] == "Biscuit and tea"


def test_failures_are_counted_and_a_resumed_run_counts_nothing_twice(store: Store) -> None:
    texts = [f"{_SECTION} Number {number}." for number in range(4)]
    model = RecordingModel([f"# {_SECTION}", "```\n```"])  # then it fails
    memory = store.memory("memocr", user="ada", engine="fake", model=model, chunk_tokens=_CHUNK)
    assert isinstance(memory, MemOcrMemory)
    memory.add([Message(role="user", content=text) for text in texts])
    with pytest.raises(ModelError):
        memory.consolidate()
    assert memory.pending_count() == 3  # the unusable one and the two that were not reached

    again = RecordingModel(["", f"# {_SECTION} two", f"# {_SECTION} three"])
    resumed = store.memory("memocr", user="ada", engine="fake", model=again, chunk_tokens=_CHUNK)
    flushed = resumed.consolidate()
    assert [outcome.action for outcome in flushed.outcomes] == ["skipped", "superseded", "superseded"]
    assert (flushed.processed, flushed.usage.calls, resumed.pending_count()) == (2, 3, 1)
    assert all("Number 0" not in section for section in again.between("article"))  # drafted before the failure

    last = resumed = store.memory(
        "memocr", user="ada", engine="fake", model=RecordingModel([f"# {_SECTION} one"]), chunk_tokens=_CHUNK
    )
    assert (last.consolidate().processed, resumed.pending_count()) == (1, 0)
    assert last.consolidate().usage.calls == 0


def test_one_draft_serves_all_budgets(store: Store) -> None:
    memory = make(store, model=ScriptedModel(["# Biscuit\n\n" + "likes tea " * 400]))  # a second request would raise
    tell(memory, "My dog is called Biscuit and likes tea.")
    assert memory.consolidate().usage.calls == 1
    for tokens in (4, 16, 64, 256, 1024):
        assert look(memory, "What is my dog called?", tokens)[1].startswith("Biscuit")
    assert len(memory.history("draft")) == 1
    assert memory.consolidate().usage.calls == 0


def test_a_draft_made_while_a_message_was_forgotten_is_made_anew(store: Store) -> None:
    class Interrupting(ScriptedModel):
        def _say(self, request: Request) -> str:
            if "secret" in request.messages[0].text and make(store).get(secret):
                make(store).purge(secret)
            return super()._say(request)

    memory = make(store, model=Interrupting(["# secret tea", "# tea"]))
    secret, _ = tell(memory, "My secret is Zzyzxbiscuit.", "I like tea.")
    memory.consolidate()
    assert look(memory, "x")[1] == "tea"
    assert files_with(store.path, "secret") == []


def test_drafts_are_thinned_with_age_and_forgetting_an_old_message_still_works(store: Store) -> None:
    memory = make(store, model=ScriptedModel([f"# fact draft {number}" for number in range(60)]))
    for number in range(60):
        tell(memory, f"The fact number {number}.")
        memory.consolidate()
    kept = [change.text for change in memory.history("draft")]
    assert kept[-8:] == [f"# fact draft {number}" for number in range(52, 60)]
    assert len(kept) < 30
    memory.delete(memory.messages()[20].id or "")
    text = look(memory, "fact", 1024)[1]
    assert "number 20" not in text
    assert "number 59" in text
    assert text.count("number") > 35
    assert drafts.outgrown([]) == []


_FLUSH = """
import sys
from memagent.models.scripted import ScriptedModel
from memagent.store import Store
with Store(sys.argv[1], embedder="hash") as store:
    model = ScriptedModel([{"match": ".", "text": "# friend"}], chunk_delay=0.02)
    memory = store.memory("memocr", user="ada", chunk_tokens=60, model=model)
    print(memory.consolidate().processed)
"""


def test_two_processes_draft_everything_once(store: Store) -> None:
    memory = make(store)
    tell(memory, *[f"My friend number {number} is called Name{number}." for number in range(12)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _FLUSH, str(store.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert sum(int(output) for output in outputs) == 12
    assert [item.id for item in memory.items()] == ["draft"]
    assert len(memory.items()[0].sources) == 12
