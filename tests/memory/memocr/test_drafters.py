"""Drafters of MemOCR: by a model, and by picking sentences."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from helpers.recording_model import RecordingModel

from memagent.db.log import Stored
from memagent.errors import ConfigError, ModelError
from memagent.memory.memocr import loops
from memagent.memory.memocr.drafters import DraftLine, ModelDrafter, SalienceDrafter, grounded
from memagent.models.fake import GarbageModel
from memagent.models.scripted import ScriptedModel
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.types import Message


def stored(*texts: str, role: str = "user", origin: str = "said", first: int = 1) -> list[Stored]:
    time = datetime(2025, 3, 2, tzinfo=UTC)
    return [
        Stored(seq, "s", Message(role=role, content=text, time=time, id=f"m{seq}"), origin, True)  # type: ignore[arg-type]
        for seq, text in enumerate(texts, first)
    ]


def test_a_model_draft_rests_on_its_messages_and_needs_no_question() -> None:
    model = RecordingModel(["# Biscuit is the dog"])
    (line,) = ModelDrafter(model).draft(stored("My dog is called Biscuit."), known={}).lines
    assert (line.text, line.tier, line.sources) == ("# Biscuit is the dog", "document", (1,))
    assert "[2 Mar 2025] user: My dog is called Biscuit." in model.prompts[0]
    assert loops.ANY_PROBLEM in model.prompts[0]


def test_a_long_question_is_capped_in_drafting() -> None:
    model = RecordingModel(["# Biscuit is the dog"])
    ModelDrafter(model).draft(stored("My dog is called Biscuit."), known={}, question="why " * 3000 + "END")
    assert "why why" in model.prompts[0]
    assert "END" not in model.prompts[0]


def test_garbage_is_no_draft_and_a_failing_model_raises() -> None:
    drafted = ModelDrafter(GarbageModel()).draft(stored("My dog is called Biscuit."), known={"draft": "# Biscuit"})
    assert (drafted.lines, drafted.unusable) == ((), 1)
    with pytest.raises(ModelError):
        ModelDrafter(ScriptedModel([])).draft(stored("hello there, dog"), known={})
    with pytest.raises(ConfigError, match="chunk_tokens"):
        ModelDrafter(GarbageModel(), chunk_tokens=0)


def test_a_translated_draft_is_grounded_and_noise_is_not() -> None:
    assert grounded("# Hund: Biscuit\nWohnt in Lyon.", "My dog is called Biscuit and I live in Lyon.", "")
    assert not grounded(GarbageModel.text, "My dog is called Biscuit and I live in Lyon.", "")


def test_messages_are_drafted_in_runs_of_one_chunk() -> None:
    drafter = ModelDrafter(GarbageModel(), chunk_tokens=40)
    runs = drafter.batches(stored(*["one two three four five six"] * 7, "long " * 100, "short"))
    assert [one.seq for run in runs for one in run] == list(range(1, 10))
    assert [one.message.text.startswith("long") for one in runs[-2]] == [True]
    assert len(runs) > 3


@pytest.mark.parametrize("embedder", [None, HashEmbedder()])
def test_salience_keeps_what_is_told_with_its_message_and_grades_it(embedder: HashEmbedder | None) -> None:
    messages = stored(
        "Hi there! I am allergic to peanuts. Lovely day. What can I cook?",
        "My daughter Emma was born on 3 May 2019 in Lyon.",
        "The soup was nice.",
    )
    lines = SalienceDrafter(lambda: embedder).draft(messages, known={}).lines
    told = {line.text: line for line in lines}
    assert set(told) == {
        "I am allergic to peanuts.",
        "My daughter Emma was born on 3 May 2019 in Lyon.",
        "The soup was nice.",
        "Hi there!",
        "Lovely day.",
        "What can I cook?",
    }
    assert told["I am allergic to peanuts."].sources == (1,)
    assert told["My daughter Emma was born on 3 May 2019 in Lyon."].tier == "heading"
    assert {told[text].tier for text in ("The soup was nice.", "Hi there!", "Lovely day.", "What can I cook?")} == {"small"}


def test_salience_skips_repeats_and_moves_a_line_to_where_the_user_said_it_again() -> None:
    known = {"d1": "I live in Lyon."}
    again = SalienceDrafter().draft(stored("i LIVE in Lyon!", "I live in Lyon"), known=known).lines
    assert [(line.item, line.sources) for line in again] == [("d1", (1,)), ("d1", (2,))]
    assert SalienceDrafter().draft(stored("I live in Lyon.", role="assistant"), known=known).lines == ()
    assert len(SalienceDrafter().draft(stored("I do not live in Lyon."), known=known).lines) == 1


def test_an_assistant_counts_half_and_what_was_added_counts_more() -> None:
    text = "I sing with Anna in Lyon."
    (user,) = SalienceDrafter().draft(stored(text), known={}).lines
    (assistant,) = SalienceDrafter().draft(stored(text, role="assistant"), known={}).lines
    (added,) = SalienceDrafter().draft(stored("The key is under the mat.", origin="added"), known={}).lines
    assert assistant.importance == user.importance / 2
    assert added.tier == "bold"


def test_salience_for_a_question_reads_all_messages_for_what_bears_on_it() -> None:
    text = " ".join(f"Room {number} holds nothing of note." for number in range(300))
    messages = stored(text + " The amber vase stands in the cellar. " + text)
    (held,) = [line for line in SalienceDrafter().draft(messages, known={}).lines if "amber" in line.text]
    assert (held.tier, held.text != "The amber vase stands in the cellar.") == ("small", True), "among the rest of the message"
    lines = SalienceDrafter().draft(messages, known={}, question="Where is the amber vase?").lines
    assert isinstance(lines[0], DraftLine)
    assert [line.text for line in lines] == ["The amber vase stands in the cellar."]
