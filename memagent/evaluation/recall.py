"""`memagent bench recall`: does search find the turns that hold the answer?

Each dialogue of a LoCoMo or BEAM file is imported into a store of its own user through the public path. For each question
with evidence all messages are ranked; evidence recall at k is the share of the evidence messages among the first k. Category
5 of LoCoMo, whose questions have no answer in the dialogue, is reported apart and is in no average.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from memagent.errors import InputError
from memagent.evaluation import beam, locomo
from memagent.evaluation.dialogues import Dialogue, DialogueQuestion
from memagent.evaluation.metrics import mean_interval, percentile
from memagent.evaluation.report import Report, Row, file_digest, machine_facts
from memagent.evaluation.runner import SILENT, Progress
from memagent.retrieval.scoring import Mode
from memagent.retrieval.searcher import Searcher
from memagent.store import Store

DEPTHS = (5, 10, 20)
METHODS: tuple[Mode, ...] = ("dense", "lexical", "fused")
UNANSWERABLE = "c5"
Values = dict[tuple[str, int], list[float]]  # (category, k) -> a value for each question


def load(path: Path) -> list[Dialogue]:
    """The dialogues of a LoCoMo or BEAM file. Raises `InputError` naming the file and what is wrong with it."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path.name} is not JSON: {error}") from error
    if not beam.is_beam(data):
        return [_of_locomo(one) for one in locomo.load(path)]
    try:
        return beam.dialogues(data)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name}: {type(error).__name__} {error}; is it a BEAM file?") from error


def _of_locomo(one: locomo.LocomoConversation) -> Dialogue:
    questions = tuple(DialogueQuestion(item.text, item.evidence, f"c{item.category}") for item in one.questions)
    return Dialogue(one.name, one.sessions, questions)


def run(data: Path, *, embedder: str = "auto", progress: Progress = SILENT) -> Report:
    """Measure on a LoCoMo or BEAM file. Raises `InputError` for another file."""
    conversations = load(data)
    rows: list[Row] = []
    skipped = sum(not question.evidence for one in conversations for question in one.questions)
    with tempfile.TemporaryDirectory() as folder, Store(folder, embedder=embedder) as store:
        with progress.bar("conversations", len(conversations)) as done:
            for one in conversations:
                fill(store, one)
                done(1)
        methods = METHODS if store.backend.embedder() is not None else ("lexical",)
        latencies: dict[Mode, list[float]] = defaultdict(list)
        values: dict[Mode, Values] = {method: defaultdict(list) for method in methods}
        with progress.bar("questions", sum(len(one.questions) for one in conversations)) as done:
            for one in conversations:
                _ask(store.backend.searcher(one.name), one.questions, methods, values, latencies)
                done(len(one.questions))
        for method in methods:
            rows += _rows(method, values[method], latencies[method])
        ratio = None
        if "dense" in latencies:
            ratio = percentile(latencies["fused"], 50) / percentile(latencies["dense"], 50)
        meta = {
            "data": {"name": data.name, "sha256": file_digest(data), "conversations": len(conversations)},
            "embedder": store.embedder_id,
            "excluded": {"questions_without_evidence": skipped, "from_averages": UNANSWERABLE},
            "latency_ratio_fused_to_dense": ratio,
            **machine_facts(),
        }
    return Report(name="recall", rows=rows, meta=meta)


def fill(store: Store, conversation: Dialogue) -> None:
    """Put a conversation into a store, under its own name."""
    memory = store.memory("rag", user=conversation.name)
    for session, turns in conversation.sessions:
        memory.add(turns, session=session, origin="imported")
    memory.consolidate()


def _ask(
    searcher: Searcher,
    questions: Sequence[DialogueQuestion],
    methods: Sequence[Mode],
    values: dict[Mode, Values],
    latencies: dict[Mode, list[float]],
) -> None:
    """Ask every question by every method, in turn, so that noise of the machine meets all of them."""
    for question in questions:
        if not question.evidence:
            continue
        for method in methods:
            began = time.perf_counter()
            hits = searcher.search(question.text, limit=max(DEPTHS), mode=method)
            latencies[method].append((time.perf_counter() - began) * 1e3)
            found = [hit.stored.message.id for hit in hits]
            for k in DEPTHS:
                share = len(set(found[:k]) & set(question.evidence)) / len(question.evidence)
                values[method][question.category, k].append(share)


def _rows(method: Mode, values: Values, latencies: list[float]) -> list[Row]:
    rows = []
    categories = sorted({category for category, _ in values})
    for k in DEPTHS:
        together = [value for one in categories if one != UNANSWERABLE for value in values[one, k]]
        rows.append(Row.of(method, "evidence_recall", k, mean_interval(together)))
        for category in categories:
            rows.append(Row.of(method, f"evidence_recall_{category}", k, mean_interval(values[category, k])))
    rows.append(Row(method=method, metric="latency_p50_ms", value=percentile(latencies, 50), n=len(latencies)))
    return rows
