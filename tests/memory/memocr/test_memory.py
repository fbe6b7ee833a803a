"""Memory as a picture: the contract, the page, and what an eye reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers.memocr_memories import look, make, tell
from helpers.recording_model import RecordingModel

from memagent.agent import Agent
from memagent.errors import BudgetError
from memagent.memory.memocr.memory import MemOcrMemory
from memagent.models.ocr_reader import OcrReader
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.testing.contract import WORDS, MemoryContract, files_with
from memagent.types import Message
from memagent_renderers.budget import Budget

CONVERSATION = Path(__file__).parents[3] / "examples" / "data" / "conversation.jsonl"


class TestMemOcr(MemoryContract):
    memory_class = MemOcrMemory


@pytest.fixture
def chat(store: Store) -> MemOcrMemory:
    """The made-up conversation of the docs."""
    memory = make(store)
    for line in CONVERSATION.read_text("utf-8").splitlines():
        fields = json.loads(line)
        memory.add(Message(**{key: fields[key] for key in ("role", "content", "time")}), session=fields["session"])
    memory.consolidate()
    return memory


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [4, 8, 16, 31, 64, 256, 1024])
def test_a_page_costs_at_most_its_budget_and_names_exactly_what_stands_on_it(chat: MemOcrMemory, tokens: int) -> None:
    recall, text = look(chat, "What is my dog called?", tokens)
    assert recall.picture is not None
    assert recall.cost == recall.picture.tokens == WORDS.image_cost(recall.picture.width, recall.picture.height)
    joined = text.replace(" ", "")
    for source in recall.sources:
        assert source.text.replace(" ", "") in joined
    shown = {source.id for source in recall.sources if source.text}
    absent = [item for item in chat.items() if item.id not in shown]
    assert all(item.text.replace(" ", "") not in joined for item in absent)
    whole = sum(item.text in source.text for source in recall.sources for item in chat.items() if item.id == source.id)
    assert recall.dropped == len(chat.items()) - whole
    assert recall.sources[0].text.startswith("My dog is called Biscuit"[: 4 * tokens])


def test_a_budget_below_the_floor_is_named(store: Store) -> None:
    memory = make(store)
    tell(memory, "My dog is called Biscuit.")
    with pytest.raises(BudgetError, match="4"):
        memory.recall("dog", budget=Budget(3, WORDS))


def test_lines_take_their_tiers_from_the_question(chat: MemOcrMemory) -> None:
    for query, best in (
        ("What is my dog called?", "Biscuit"),
        ("Where do I live now?", "Grenoble"),
        ("Who is my manager?", "Paulette"),
        ("Which food am I allergic to?", "peanuts"),
    ):
        recall, text = look(chat, query)
        assert best in recall.sources[0].text
        assert best in text[:120]
        assert recall.picture is not None
        assert recall.picture.sizes["h2"] > recall.picture.sizes["body"] > recall.picture.sizes["small"]


def test_without_a_question_the_drafters_tiers_hold_within_quotas(chat: MemOcrMemory) -> None:
    recall, text = look(chat, "")
    assert recall.picture is not None
    assert {"h2", "bold", "body", "small"} <= set(recall.picture.sizes)
    assert "Nora Lindqvist" in text
    assert "assistant:" not in text[: len(text) // 2]
    tiers = [item.tier for item in chat.items()]
    assert tiers.count("heading") < len(tiers) / 3
    assert set(tiers) == {"heading", "bold", "body", "small"}


def test_dates_are_shown_where_they_are_worth_their_room(chat: MemOcrMemory) -> None:
    assert "2025" in look(chat, "What is my dog called?", 256)[1]
    assert "Mar 2025" not in look(chat, "What is my dog called?", 16)[1]
    assert "2025" in look(chat, "When did I move to Grenoble?", 16)[1]


@pytest.mark.parametrize(
    "hostile", ["# big <b>bold</b> **x** &lt; `code` [a](http://x)", "1. a", "- b", "---", "> q", "a | b", "![x](y)", "\\*"]
)
def test_text_of_a_message_fakes_no_markup(store: Store, hostile: str) -> None:
    memory = make(store)
    tell(memory, hostile, "My dog is called Biscuit.")
    _, text = look(memory, "What is my dog called?")
    assert text.startswith("My dog is called Biscuit.")
    assert hostile in text


def test_what_was_said_a_moment_ago_is_drawn_unless_it_is_excluded(store: Store) -> None:
    memory = make(store)
    tell(memory, "I like tea.")
    memory.consolidate()
    (name,) = tell(memory, "My dog is called Biscuit.")
    assert "Biscuit" in look(memory, "dog")[1]
    assert "Biscuit" not in look(memory, "dog", exclude=[name])[1]
    memory.remember("My cat is called Tiger.")
    assert "Tiger" in look(memory, "cat")[1]


def test_an_earlier_question_never_takes_the_place_of_its_answer(store: Store) -> None:
    memory = make(store)
    tell(memory, "My dog is called Biscuit.", "What is my dog called?", "I like tea.")
    assert "Biscuit" in look(memory, "What is my dog called?")[0].sources[0].text


def test_forget_takes_a_line_off_the_page_and_undo_brings_it_back(store: Store) -> None:
    memory = make(store)
    first, _ = tell(memory, "My dog is called Biscuit.", "I work as a gardener.")
    memory.consolidate()
    recall, before = look(memory, "What is my dog called?")
    line = recall.sources[0]
    assert line.messages == (first,)
    for name in (first, line.id):
        memory.delete(name)
        assert "Biscuit" not in look(memory, "What is my dog called?")[1]
        memory.undo()
        assert look(memory, "What is my dog called?")[1] == before


def test_a_line_is_an_item_with_a_history(store: Store) -> None:
    memory = make(store)
    tell(memory, "My dog is called Biscuit.")
    memory.consolidate()
    (item,) = memory.items()
    assert (item.kind, item.tier, memory.get(item.id)) == ("draft", "bold", item)
    memory.update(item.id, "My dog is called Waffle.")
    assert "Waffle" in look(memory, "dog")[1]
    assert [change.text for change in memory.history(item.id)] == ["My dog is called Biscuit.", "My dog is called Waffle."]
    assert memory.stats().notes == 1


def test_a_fact_said_again_survives_the_forgetting_of_one_of_its_messages(store: Store) -> None:
    memory = make(store)
    tell(memory, "My dog is called Biscuit.")
    memory.consolidate()
    (again,) = tell(memory, "my dog is called Biscuit!")
    memory.consolidate()
    (item,) = memory.items()
    assert item.sources == (again,)
    memory.delete(again)
    assert "Biscuit" in look(memory, "dog")[1]


def test_consolidating_for_a_question_drafts_what_bears_on_it(store: Store) -> None:
    memory = make(store)
    before, after = (" ".join(f"Room {number} holds nothing of note." for number in range(n, n + 300)) for n in (0, 300))
    fact = "The amber vase stands in the cellar."
    tell(memory, f"{before} {fact} {after}")
    memory.consolidate()
    assert fact not in {one.text for one in memory.items()}, "it stands in a small line with its neighbours"
    memory.consolidate(question="Where is the amber vase?")
    assert fact in {one.text for one in memory.items()}
    assert "cellar" in look(memory, "Where is the amber vase?", 16)[1]


def test_lines_of_documents_are_ranked_by_themselves(store: Store) -> None:
    memory = make(store)
    filler = " ".join(f"Room number {n} of the old museum holds several quite ordinary wooden chairs." for n in range(6))
    for number in range(6):
        text = f"{filler} The amber vase of gallery {number} stands in the cellar." if number == 4 else filler
        memory.add(Message(role="user", speaker=f"Museum {number}", content=text), session=f"document {number}")
    assert memory._backend.searcher("ada").holds_documents()
    memory.consolidate()
    recall, text = look(memory, "Where is the amber vase?", 16)
    assert recall.sources[0].text.startswith("Museum 4: The amber vase")
    assert "cellar" in text


def test_pictures_are_drawn_once_and_go_with_a_purge(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from memagent_renderers.engines.fake import FakeEngine
    from memagent_renderers.layout import Page

    drawn: list[str] = []
    draw: Callable[..., bytes] = FakeEngine.draw

    def counted(self: FakeEngine, page: Page) -> bytes:
        drawn.append(page.lines[0].text)
        return draw(self, page)

    monkeypatch.setattr(FakeEngine, "draw", counted)
    memory = make(store)
    (name,) = tell(memory, "My dog is called Zzyzxbiscuit.")
    for one in (memory, memory, make(store)):
        assert "Zzyzx" in look(one, "dog")[1]
    assert len(drawn) == 1
    assert files_with(store.path, "Zzyzxbiscuit")
    memory.purge(name)
    assert files_with(store.path, "Zzyzxbiscuit") == []


# -- agents -----------------------------------------------------------------------------------------------------------


def test_a_model_that_cannot_see_answers_from_what_ocr_reads(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("memocr", session="told")
        memory.add("My dog is called Biscuit and I live in Lyon.")
        memory.add("I work as a gardener in the park.")
        memory.consolidate()
        asked = store.memory("memocr", session="asked")
        model = RecordingModel(["Biscuit"])
        answer = Agent(model=OcrReader(model), memory=asked, budget=64).run("What is my dog called?")
        (request,) = model.requests
        assert "Biscuit" in request.messages[-1].text
        assert not request.messages[-1].images
        assert answer.recall is not None
        assert answer.recall.picture is not None
        assert 0 < answer.usage.visual <= 64
        assert "Lyon" in answer.recall.sources[0].text


@pytest.mark.parametrize(
    "text",
    [
        "Shopping:\n- milk\n- eggs\n- 2 kg flour\n- salt",
        "Loves jazz. Hates rain. Drinks tea.",
        "| day | dish |\n|---|---|\n| Mon | soup |\n| Tue | fish |",
        "host: nas\nport: 22\nuser: ada",
        "```\ndef f(x):\n    return x + 1\n```",
        "x" * 500,
        "Где мы были? На даче. Да!",
        "Hi! How are you? Thanks. My dog is called Rex.",
    ],
)
def test_while_the_budget_is_free_everything_is_on_the_page(store: Store, text: str) -> None:
    memory = make(store)
    tell(memory, text)
    for _ in ("before it is drafted", "after"):
        recall = memory.recall("What do I know?", budget=256)
        shown = "".join(source.text for source in recall.sources)
        assert not Counter("".join(text.split())) - Counter(shown), "every sign is there"
        assert recall.dropped == 0
        memory.consolidate()


def test_a_fact_said_twice_in_one_batch_rests_on_either_message(store: Store) -> None:
    memory = make(store)
    first, second = tell(memory, "My dog is called Biscuit.", "My dog is called Biscuit.")
    memory.consolidate()
    assert len(memory.items()) == 1
    memory.delete(first)
    assert "Biscuit" in look(memory, "dog")[1]
    memory.delete(second)
    assert "Biscuit" not in look(memory, "dog")[1]


def test_what_no_font_draws_is_named_and_counted(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    memory = make(store)
    tell(memory, "我的猫叫豆豆。")
    tell(memory, "Our symbol is 👩\u200d🚀 for now.")
    for _ in range(2):
        recall = memory.recall("What is our symbol?", budget=64)
    (source,) = recall.sources
    assert (source.text.startswith("Our symbol is �"), "👩" in source.text) == (True, False)
    assert recall.dropped == 1
    assert recall.picture is not None
    assert set("我猫👩🚀") <= set(recall.picture.missing)
    assert [record.message.count("猫") for record in caplog.records] == [1], "said once"


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("Where did I go on 28 October?", "28 October"),
        ("Wo war ich am 28. Oktober?", "28 October"),
        ("Where did I go yesterday?", "24 November"),
        ("Where did I go last week?", "Place 1"),
        ("我前天去哪儿了？", "23 November"),
    ],
)
def test_lines_of_the_days_that_a_question_names_stand_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, question: str, place: str
) -> None:
    today = datetime(2026, 11, 25, 12, tzinfo=UTC)
    monkeypatch.setattr("memagent.memory.memocr.document.now", lambda: today)
    memory = make(store)
    for number in range(36):
        said = today - timedelta(days=number)
        week = "Place 1" if 16 <= said.day <= 22 and said.month == 11 else "Place"
        text = f"I went to {week} of {said.day} {said:%B}, as planned."
        memory.add(Message(role="user", content=text, time=said))
    memory.consolidate()
    assert place in memory.recall(question, budget=32).sources[0].text


def test_a_day_named_in_a_message_is_seen_from_the_day_it_was_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime(2026, 5, 3, 12, tzinfo=UTC)
    monkeypatch.setattr("memagent.memory.memocr.document.now", lambda: today)
    memory = make(store)
    memory.add(Message(role="user", content="Dentist in a fortnight.", time=today - timedelta(days=14)))
    memory.add([Message(role="user", content=f"I read chapter {n}.", time=today - timedelta(days=16)) for n in range(20)])
    assert memory.recall("What is on today?", budget=16).sources[0].text.startswith("Dentist")


@pytest.mark.parametrize(
    ("said", "question", "largest", "small"),
    [
        (
            ("My name is Marta and I live in Lyon.", "I cooked soup.", "I moved from Lyon to Gdansk last week."),
            "Where do I live now?",
            "Gdansk last week",
            "Lyon\\.",
        ),
        (("My phone number is 555-1234.", "I like tea.", "My new phone number is 555-9876."), "Phone number?", "9876", "1234"),
        (("The wedding is on 14 June.", "I like tea.", "The wedding moved to 21 June."), "When is the wedding?", "21 June", ""),
    ],
)
def test_the_newest_value_stands_in_the_largest_type(
    store: Store, said: tuple[str, ...], question: str, largest: str, small: str
) -> None:
    memory = make(store)
    tell(memory, *said)
    for _ in ("before it is drafted", "after"):
        page = memory.page(question, budget=64)
        assert largest in page.split("\n")[0]
        assert any(line.startswith("<small>") and small in line for line in page.split("\n"))
        memory.consolidate()
