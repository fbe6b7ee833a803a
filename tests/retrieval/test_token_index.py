"""Late interaction over stored token states."""

from __future__ import annotations

import numpy as np
import pytest

from memagent.retrieval import token_index
from memagent.retrieval.embedders.base import TokenStates
from memagent.retrieval.token_index import TokenIndex

WIDTH = 8


def _tokens(random: np.random.Generator, number: int) -> TokenStates:
    states = random.standard_normal((number, WIDTH))
    states *= 127 / np.linalg.norm(states, axis=1, keepdims=True)
    return TokenStates(random.choice(50, number, replace=False).astype(np.uint16), np.rint(states).astype(np.int8), "form")


def _filled(seed: int = 0, rows: int = 40) -> tuple[TokenIndex, dict[int, TokenStates]]:
    random = np.random.default_rng(seed)
    index, held = TokenIndex("form", WIDTH), {}
    for row in random.permutation(rows)[: rows - 5].tolist():
        held[row] = _tokens(random, int(random.integers(1, 12)))
        index.put(row, held[row])
    return index, held


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_the_best_cosine_is_that_of_each_row(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_index, "BLOCK", block)
    monkeypatch.setattr(token_index, "SLICE", 3)
    index, held = _filled()
    asked = _tokens(np.random.default_rng(1), 4).states
    rows = np.array([3, 3, 0, 17, 39, 8])
    found = index.best(asked, rows)
    for row, values in zip(rows.tolist(), found, strict=True):
        if row in held:
            wanted = (held[row].states.astype(float) @ asked.T.astype(float) / 127**2).max(axis=0)
            assert values == pytest.approx(wanted, abs=1e-5)
        else:
            assert not values.any()


def test_rare_tokens_count_more_and_cleared_rows_not_at_all() -> None:
    index, held = _filled()
    ids = np.arange(50, dtype=np.uint16)
    frequency = np.array([sum(number in tokens.ids for tokens in held.values()) for number in ids])
    wanted = np.log1p((len(held) - frequency + 0.5) / (frequency + 0.5))
    assert index.rarity(ids) == pytest.approx(wanted, abs=1e-5)
    index.clear(np.array(sorted(held)))
    assert index.rarity(ids) == pytest.approx(np.full(50, np.log1p(1.0)), abs=1e-5)
    assert not index.best(_tokens(np.random.default_rng(1), 4).states, np.arange(40)).any()
    assert not index.numbers(np.arange(40)).any()


def test_a_row_written_twice_holds_what_came_last() -> None:
    index, held = _filled()
    row = next(iter(held))
    new = _tokens(np.random.default_rng(7), 5)
    index.put(row, new)
    assert index.best(new.states, np.array([row]))[0] == pytest.approx(np.ones(5), abs=0.05)


def test_an_index_from_its_arrays_is_the_same_without_what_was_left_out() -> None:
    index, held = _filled()
    index.clear(np.array([next(iter(held))]))
    order = np.array([5, 2, 30, *range(6, 20)])
    loaded = TokenIndex.load(index.dump(order))
    asked = _tokens(np.random.default_rng(1), 4).states
    assert loaded.best(asked, np.arange(len(order))).tolist() == index.best(asked, order).tolist()
    assert len(loaded) == len(order)


def test_states_go_through_bytes() -> None:
    tokens = _tokens(np.random.default_rng(0), 6)
    found = TokenStates.from_bytes(tokens.to_bytes())
    assert found.form == "form"
    assert found.ids.tolist() == tokens.ids.tolist()
    assert found.states.tolist() == tokens.states.tolist()
    with pytest.raises(ValueError, match="buffer"):
        TokenStates.from_bytes(tokens.to_bytes()[:-1])
