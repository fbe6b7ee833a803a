"""Items 1 to 8 and 25 of the conformance checklist (MemOCR specification, section 8), through the model drafter and the memory.

The loops themselves are tested by item in test_drafting.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from recorder import Recorder

from memagent.db.log import Stored
from memagent.errors import ModelError
from memagent.memory.memocr import loops
from memagent.memory.memocr.drafters import DraftResult, ModelDrafter
from memagent.memory.memocr.memory import MemOcrMemory
from memagent.models.base import Reply, Request
from memagent.models.scripted import ScriptedModel
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store
from memagent.text.token_chunks import TokenCutter
from memagent.types import ImagePart, Message
from memagent_renderers.budget import Budget
from memagent_renderers.document import parse
from memagent_renderers.engines.fake import FakeEngine
from memagent_renderers.picture import render

SECTION = "My dog Biscuit likes tea."
CHUNK = 30
"""Tokens of a chunk that holds one message of `SECTION`, and not two."""
HOSTILE = ("", "```\n```", "<think>never ends", "\x00\ud800", "\u202e\u200b", "# ", "|-|-|", "</think>", "[](x)")


class Characters:
    """A tokenizer with a token for each character."""

    def encode(self, text: str) -> list[int]:
        return [ord(char) for char in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def drafted(model: ScriptedModel, text: str, *, known: str = "", chunk_tokens: int = loops.CHUNK_TOKENS) -> DraftResult:
    stored = Stored(1, "s", Message(role="user", content=text, id="m1"), "said", True)
    drafter = ModelDrafter(model, chunk_tokens=chunk_tokens, tokenizer=Characters())
    return drafter.draft([stored], known={"draft": known} if known else {}, question="Which dog?")


@pytest.mark.parametrize(("tokens", "turns"), [(0, 0), (1, 1), (5000, 1), (5001, 2), (28_000, 6)])
def test_item_1_turns_by_tokens(tokens: int, turns: int) -> None:
    text = "".join(chr(ord("a") + place % 26) for place in range(tokens))
    chunks = TokenCutter(Characters()).chunks(text, loops.CHUNK_TOKENS)
    model = Recorder([f"# {SECTION}"] * turns)
    assert loops.drive(loops.draft(chunks, problem="q"), model).turns == turns
    assert "".join(model.between("article")) == text  # nothing twice, nothing lost
    assert [len(section) for section in model.between("article")[:-1]] == [5000] * (turns - 1 if turns else 0)


@pytest.mark.parametrize("most", [7, 8])
def test_item_2_middle_truncation(most: int) -> None:
    kept = TokenCutter(Characters()).without_middle("abcdefghijklm", most)
    assert kept == {7: "abcjklm", 8: "abcdjklm"}[most]  # floor(n / 2) in front, the rest at the end


def test_item_3_one_user_message_a_turn_and_one_picture_for_reading() -> None:
    model = Recorder([f"# {SECTION}"] * 3 + ["\\boxed{Biscuit}"])
    memory = drafted(model, SECTION * 4, chunk_tokens=40).lines[0].text
    picture = render(memory, Budget(16), engine=FakeEngine())
    loops.drive(loops.read("Which dog?", picture), model)
    assert all([message.role for message in request.messages] == ["user"] for request in model.requests)
    assert not any(isinstance(part, ImagePart) for request in model.requests[:-1] for part in request.messages[0].content)
    first, *rest = model.requests[-1].messages[0].content
    assert first == ImagePart(data=picture.png)
    assert not any(isinstance(part, ImagePart) for part in rest)
    assert "Biscuit" not in model.requests[-1].messages[0].text


def test_item_4_the_placeholder_stands_for_no_memory_and_only_then() -> None:
    model = Recorder([f"# {SECTION}"] * 2)
    drafted(model, SECTION)
    drafted(model, SECTION, known="# Biscuit")
    assert model.between("memory") == ["No previous memory", "# Biscuit"]


def test_item_5_one_prompt_without_a_budget_serves_all_budgets(tmp_path: Path) -> None:
    model = Recorder([f"# {SECTION}"])  # a second request would raise
    with Store(tmp_path / "store", embedder=HashEmbedder()) as store:
        memory = store.memory("memocr", user="ada", engine="fake", model=model)
        memory.add(SECTION)
        memory.consolidate(question="Which dog?")
        costs = [memory.recall("Which dog?", budget=budget).cost for budget in (4, 16, 1024)]
    assert all(0 < cost <= budget for cost, budget in zip(costs, (4, 16, 1024), strict=True))
    (request,) = model.requests
    assert not any(word in request.messages[0].text.lower() for word in ("budget", "1024", "visual token", "pixel"))


def test_item_6_a_draft_replaces_the_memory_and_asks_for_2048_tokens() -> None:
    model = Recorder(["# Biscuit", f"# {SECTION}"])
    done = drafted(model, SECTION * 2, known="# older dog", chunk_tokens=40)
    assert model.between("memory") == ["# older dog", "# Biscuit"]
    assert [line.text for line in done.lines] == [f"# {SECTION}"]
    assert {request.max_tokens for request in model.requests} == {2048}


def test_item_7_unusable_drafts_abort_no_batch() -> None:
    def answer(requests: Sequence[Request]) -> list[Reply]:
        turn = next(turns)
        replies = [*HOSTILE, f"# {SECTION}"] if turn == 1 else [f"# turn {turn}"] * len(requests)
        return [Reply(text=text) for text in replies]

    turns = iter(range(3))
    loops = [loops.draft([SECTION] * 2, problem="q") for _ in (*HOSTILE, "good")]
    *failed, good = loops.drive_together(loops, answer)
    assert good.memory == f"# {SECTION}"
    assert good.unusable == ()
    assert [(one.memory, one.unusable) for one in failed] == [("# turn 0", (1,))] * len(HOSTILE)


@pytest.mark.parametrize(
    "memory", ["# a\n\n`code` first", "`code` first", "last is `code`", "`a` and `b`", "``a ` b``", "`only`"]
)
@pytest.mark.parametrize("fence", ["", "```markdown", "```", "~~~~md"])
def test_item_8_the_outer_fence_goes_and_inline_code_stays(fence: str, memory: str) -> None:
    marks = fence.rstrip("markdown")
    found = loops.parse_draft(f"{fence}\n{memory}\n{marks}\n")
    assert found == memory
    assert any(run.style.code and run.text for block in parse(found) for run in block.runs)
    assert not any(block.kind == "code" for block in parse(found))


def test_item_25_failures_are_counted_and_a_resumed_run_counts_nothing_twice(tmp_path: Path) -> None:
    texts = [f"{SECTION} Number {number}." for number in range(4)]
    model = Recorder([f"# {SECTION}", "```\n```"])  # then it fails
    with Store(tmp_path / "store", embedder=HashEmbedder()) as store:
        memory = store.memory("memocr", user="ada", engine="fake", model=model, chunk_tokens=CHUNK)
        assert isinstance(memory, MemOcrMemory)
        memory.add([Message(role="user", content=text) for text in texts])
        with pytest.raises(ModelError):
            memory.consolidate()
        assert memory.pending_count() == 3  # the unusable one and the two that were not reached

        again = Recorder(["", f"# {SECTION} two", f"# {SECTION} three"])
        resumed = store.memory("memocr", user="ada", engine="fake", model=again, chunk_tokens=CHUNK)
        flushed = resumed.consolidate()
        assert [outcome.action for outcome in flushed.outcomes] == ["skipped", "superseded", "superseded"]
        assert (flushed.processed, flushed.usage.calls, resumed.pending_count()) == (2, 3, 1)
        assert all("Number 0" not in section for section in again.between("article"))  # drafted before the failure

        last = resumed = store.memory(
            "memocr", user="ada", engine="fake", model=Recorder([f"# {SECTION} one"]), chunk_tokens=CHUNK
        )
        assert (last.consolidate().processed, resumed.pending_count()) == (1, 0)
        assert last.consolidate().usage.calls == 0
