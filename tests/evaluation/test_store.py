"""The store bench on a small store."""

from __future__ import annotations

from memagent.evaluation.runner import Progress
from memagent.evaluation.store import made_up_texts, run


def test_the_report_has_the_rows_of_its_table() -> None:
    said: list[str] = []
    report = run(sizes=(40,), turns=4, import_texts=10, embedder="hash", progress=Progress(said.append))
    found = {(row.method, row.metric): row for row in report.rows}
    for metric in (
        "add_p50_ms",
        "add_p95_ms",
        "recall_overhead_p50_ms",
        "recall_overhead_p95_ms",
        "edit_then_search_ms",
        "open_ms",
    ):
        assert found["sqlite", metric].at == 40
        assert found["sqlite", metric].value > 0
    assert found["bare_commit", "add_p95_ms"].value > 0
    assert 0 < found["sqlite", "import_share_of_embedder"].value < 1
    assert said[0] == "filling a store with 40 messages"


def test_made_up_texts_are_the_same_for_a_seed() -> None:
    assert made_up_texts(3, seed=1) == made_up_texts(3, seed=1) != made_up_texts(3, seed=2)
