"""The page for a question: what is told last of a thing stands first and largest."""

from __future__ import annotations

import pytest
from helpers.corrections import AMENDED, CORRECTIONS, Correction, talk
from helpers.memocr_memories import drawn, look, make, tell

from memagent.store import Store


@pytest.fixture(autouse=True)
def _every_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMAGENT_FALLBACK_FONT", raising=False)


@pytest.mark.parametrize("one", CORRECTIONS)
@pytest.mark.parametrize("tokens", [64, 256])
def test_the_newest_value_is_drawn_first_and_in_the_largest_type(store: Store, one: Correction, tokens: int) -> None:
    memory = make(store)
    tell(memory, *talk(one.told))
    for _ in ("before it is consolidated", "after"):
        picture = look(memory, one.question, tokens)[0].picture
        assert picture is not None
        (newest, size), (older, before) = drawn(picture, one.newest), drawn(picture, one.older)
        assert 0 <= newest < older, "the older value still stands there"
        assert size == max(line.size for line in picture.lines)
        assert before < size or tokens == 64
        memory.consolidate()


@pytest.mark.parametrize(("message", "question", "newest"), AMENDED)
def test_a_sentence_stands_with_the_one_of_its_message_that_amends_it(
    store: Store, message: str, question: str, newest: str
) -> None:
    memory = make(store)
    tell(memory, *talk((message,)))
    for _ in ("before it is consolidated", "after"):
        recall, _ = look(memory, question)
        assert recall.picture is not None
        assert newest in recall.sources[0].text
        assert drawn(recall.picture, newest)[1] == max(line.size for line in recall.picture.lines)
        memory.consolidate()


def test_what_only_sounds_like_a_correction_takes_nobodys_place(store: Store) -> None:
    memory = make(store)
    tell(memory, "I live in Rome.", "Sorry, I am late.", "Wait for me at the station.", "No one came to the party.")
    assert "Rome" in look(memory, "Where do I live?")[0].sources[0].text
