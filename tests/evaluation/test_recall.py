"""Recall of search on dialogues, and the bars that the shipped score holds on real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memagent.errors import InputError
from memagent.evaluation.recall import fill, load, run
from memagent.retrieval.embedders.minilm import model_folder
from memagent.store import Store

ASKED = Path(__file__).parents[1] / "data" / "search" / "asked_of_assistant.json"


def beam_file(path: Path) -> Path:
    said = [("user", "My cat is called Miso."), ("assistant", "A lovely name."), ("user", "I moved to Oslo.")]
    messages = [
        {"id": row, "role": role, "content": text, "date": "2024-03-15", "session": 1 + row // 2}
        for row, (role, text) in enumerate(said)
    ]
    questions = [
        {"category": "information_extraction", "question": "What is my cat called?", "evidence": [0, 99]},
        {"category": "abstention", "question": "What is my dog called?", "evidence": []},
    ]
    file = path / "chats.json"
    file.write_text(json.dumps([{"chat": 7, "messages": messages, "questions": questions}]), "utf-8")
    return file


def test_beam_chats_are_measured_by_category(tmp_path: Path) -> None:
    file = beam_file(tmp_path)
    [chat] = load(file)
    assert (chat.name, [name for name, _ in chat.sessions]) == ("chat-7", ["session_1", "session_2"])
    assert chat.questions[0].evidence == ("0",)
    report = run(file, embedder="hash")
    found = {(row.method, row.metric, row.at): row.value for row in report.rows}
    assert found["fused", "evidence_recall_information_extraction", 5] == 1.0
    assert report.meta["excluded"]["questions_without_evidence"] == 1


def test_a_file_that_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('[{"messages": [{"id": 1}], "questions": []}]', "utf-8")
    with pytest.raises(InputError, match=r"other\.json: KeyError 'session'"):
        run(tmp_path / "other.json", embedder="hash")
    (tmp_path / "list.json").write_text("[1]", "utf-8")
    with pytest.raises(InputError, match="LoCoMo"):
        run(tmp_path / "list.json", embedder="hash")


needs_weights = pytest.mark.skipif(model_folder() is None, reason="MiniLM weights are not installed")


@pytest.mark.slow
@pytest.mark.model
@needs_weights
@pytest.mark.timeout(3600)
def test_evidence_recall_on_chats_with_an_assistant_reaches_the_bar(beam: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    part.write_text(json.dumps(json.loads(beam.read_text("utf-8"))[3:5]), "utf-8")  # the two cheapest to embed
    asked = [one for one in json.loads(ASKED.read_text("utf-8")) if one["chat"] in (4, 5)]
    with Store(tmp_path / "store", embedder="minilm") as store:
        recalls, answers = [], []
        for chat in load(part):
            fill(store, chat)
            searcher = store.backend.searcher(chat.name)
            of_chat = [(one["question"], one["evidence"]) for one in asked if f"chat-{one['chat']}" == chat.name]
            with_evidence = [(one.text, one.evidence) for one in chat.questions if one.evidence]
            for questions, values in ((with_evidence, recalls), (of_chat, answers)):
                for question, evidence in questions:
                    found = {hit.stored.message.id for hit in searcher.search(question, limit=10)}
                    values.append(len(found & set(evidence)) / len(evidence))
    assert sum(recalls) / len(recalls) >= 0.5
    assert sum(answers) / len(answers) >= 0.9, "what the assistant said is found when it is asked for"
