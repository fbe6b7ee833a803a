"""A talk is told, asked and judged through the agent and the memories that users get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import InputError
from memagent.evaluation import chat
from memagent.memory.notes.memory import NotesMemory
from memagent.memory.rag import RagMemory
from memagent.models.fake import FakeModel

TALK = {
    "said": ["My goat is called Berta.", "I keep bees in Kotor.", "My goat died, the new one is called Ute."],
    "asked": [["What is my goat called?", ["ute"], ["berta"]], ["What do I keep in Kotor?", ["bees"], []]],
    "unknown": ["What is my horse called?"],
    "empty": ["What is my goat called?"],
}


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    file = tmp_path / "talk.json"
    file.write_text(json.dumps(TALK), "utf-8")
    return file


def values(report: Any, method: str) -> dict[str, float]:
    return {row.metric: row.value for row in report.rows if row.method == method}


def test_the_shipped_memories_are_asked_through_the_agent(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    for kind in (RagMemory, NotesMemory):
        recall = kind.recall

        def noted(self: Any, query: str, recall: Any = recall, **options: Any) -> Any:
            entered.append(self.kind)
            return recall(self, query, **options)

        monkeypatch.setattr(kind, "recall", noted)
    report = chat.run(talk, methods=("rag", "notes"), model="fake", embedder="hash")
    assert entered.count("rag") == entered.count("notes") == 4
    assert values(report, "rag").keys() == {"right", "right_and_certain", "invented", "first_token_s"}
    assert report.meta["model"] == "fake"


def test_a_small_models_agent_is_right_and_invents_nothing(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = FakeModel("Your horse is called Emily.")
    small.small = True
    monkeypatch.setattr(chat, "load_model", lambda _: small)
    report = chat.run(talk.parent, methods=("rag", "notes", "long_context"), embedder="hash")
    for method in ("rag", "notes", "long_context"):
        assert values(report, method)["right"] == 1
        assert values(report, method)["invented"] == 0
    assert not any(report.meta["wrong"].values())


def test_an_invention_is_counted_and_named(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "load_model", lambda _: FakeModel("It is called Emily."))
    report = chat.run(talk, methods=("rag",), embedder="hash")
    assert (values(report, "rag")["right"], values(report, "rag")["invented"]) == (0, 1)
    assert {"talk": "talk", "question": "What is my horse called?", "answer": "It is called Emily."} in report.meta["wrong"][
        "rag"
    ]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Ute.", True),
        ("Ute; Berta before that.", True),
        ("Berta, now UTE.", False),
        ("I don't know.", False),
    ],
)
def test_a_right_answer_names_the_newest_value_first(answer: str, right: bool) -> None:
    assert chat.is_right(answer, ["ute"], ["berta"]) is right


@pytest.mark.parametrize(
    ("answer", "admitted"),
    [
        ("I don't know yet.", True),
        ("I do not know for sure. The closest: “my goat never sleeps”", True),
        ("You said: “I don't drink.”", False),
        ("That was never mentioned.", True),
        ("Emily.", False),
    ],
)
def test_not_knowing_is_admitted_in_ones_own_words(answer: str, admitted: bool) -> None:
    assert chat.admits(answer) is admitted


@pytest.mark.parametrize("content", ["[]", "{", '{"said": "a"}', '{"said": [], "ask": []}', '{"asked": []}'])
def test_a_file_that_is_no_talk_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"bad\.json is no talk"):
        chat.run(file, model="fake")


def test_a_folder_without_talks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no talk"):
        chat.run(tmp_path, model="fake")


@pytest.mark.parametrize(
    "talk", sorted((Path(__file__).parents[1] / "data" / "talks").glob("*.json")), ids=lambda one: one.stem
)
def test_of_a_talk_most_is_answered_right_and_nothing_is_invented(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up talks in four languages, without an embedder: what is right here is right by words alone."""
    small = FakeModel("It is called Emily.")
    small.small = True
    monkeypatch.setattr(chat, "load_model", lambda _: small)
    report = chat.run(talk, methods=("rag", "notes"), embedder=None)
    for method in ("rag", "notes"):
        assert values(report, method)["right"] >= 0.85
        assert values(report, method)["invented"] == 0
