"""`long_context`: the log itself, cut exactly to the budget by the strategy asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import BudgetError, InputError
from memagent.store import Store
from memagent.testing.contract import WORDS
from memagent_renderers.budget import Budget


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path, embedder=None) as store:
        store.memory("long_context").add([f"number {n} of twenty" for n in range(20)])
        yield store


def numbers(store: Store, tokens: int, **options: Any) -> list[int]:
    recall = store.memory("long_context", **options).recall("anything", budget=Budget(tokens, WORDS))
    assert recall.text is not None
    assert recall.cost == WORDS.count(recall.text) <= tokens
    whole = [line for line in recall.text.splitlines() if line.endswith("twenty")]
    assert recall.dropped == 20 - len(recall.sources)
    return [int(line.split()[-3]) for line in whole]


def test_everything_is_shown_while_it_fits(store: Store) -> None:
    for strategy in ("tail", "middle", "whole"):
        assert numbers(store, 400, strategy=strategy) == list(range(20))


def test_tail_keeps_the_newest(store: Store) -> None:
    kept = numbers(store, 60)
    assert kept == list(range(20 - len(kept), 20))
    assert kept


def test_middle_keeps_the_oldest_and_the_newest_half(store: Store) -> None:
    kept = numbers(store, 100, strategy="middle")
    assert kept[0] == 0
    assert kept[-1] == 19
    assert len(kept) < 20


def test_whole_cuts_nothing_and_says_what_to_do_instead(store: Store) -> None:
    with pytest.raises(BudgetError, match=r"20 messages.*strategy='tail'"):
        store.memory("long_context", strategy="whole").recall("anything", budget=Budget(60, WORDS))


def test_an_unknown_strategy_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="tail, middle, whole, not 'head'"):
        store.memory("long_context", strategy="head")  # type: ignore[call-overload]


def test_the_smallest_budget_is_kept_too(store: Store) -> None:
    for strategy in ("tail", "middle"):
        assert numbers(store, 1, strategy=strategy) == []
