"""A few made-up questions in HotpotQA's form."""

from __future__ import annotations

from typing import Any


def sample(number: int, question: str, answer: str, documents: dict[str, list[str]], facts: list[tuple[str, int]]) -> Any:
    return {
        "id": f"q{number}",
        "question": question,
        "answer": answer,
        "supporting_facts": {"title": [title for title, _ in facts], "sent_id": [at for _, at in facts]},
        "context": {"title": list(documents), "sentences": list(documents.values())},
    }


SAMPLES = [
    sample(
        1,
        "Which town did the keeper of the Selden lighthouse move to?",
        "Port Carrick",
        {
            "Selden lighthouse": ["The Selden lighthouse was lit in 1871.", " Its last keeper was Tom Ferris."],
            "Tom Ferris": ["Tom Ferris repaired clocks in winter.", " He moved to Port Carrick in 1934.", ""],
            "Bergen": ["Bergen is a city in Norway."],
        },
        [("Selden lighthouse", 1), ("Tom Ferris", 1)],
    ),
    sample(
        2,
        "Is Ghent larger than Lyon?",
        "no",
        {
            "Ghent": ["Ghent has 265,000 inhabitants."],
            "Lyon": ["Lyon has 522,000 inhabitants.", "Its silk was famous."],
        },
        [("Ghent", 0), ("Lyon", 0)],
    ),
    sample(
        3,
        "Who wrote the ledgers of the harbour?",
        "Margaret Hale",
        {
            "Harbour ledgers": ["The ledgers of the harbour were written by Margaret Hale.", "Historians read them."],
            "Dredging": ["The harbour was dredged in 1911 after two coal ships ran aground within a week."],
        },
        [("Harbour ledgers", 0)],
    ),
]
