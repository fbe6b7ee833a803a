"""Rollouts that failed are no data, and too many of them stop the run."""

from __future__ import annotations

import pytest

from memagent.errors import EngineError
from memagent_training.grpo.rollout import Rollout
from memagent_training.rollouts.failures import failure_metrics, sound_groups


def group(*failed: str | None) -> list[Rollout]:
    return [
        Rollout(id=f"{at}", group_id="g", prompt_id="p", segments=[], rewards={"answer": float(at)}, failed=one)
        for at, one in enumerate(failed)
    ]


def kept(*groups: list[Rollout], priors: list[float | None] | None = None, max_failed: float = 1.0) -> list[list[str]]:
    found = sound_groups(groups, priors=priors or [None] * len(groups), max_failed=max_failed)
    return [[one.id for one in group] for group in found]


def test_failed_rollouts_leave_their_group() -> None:
    assert kept(group(None, "engine: x", None), group(None, None)) == [["0", "2"], ["0", "1"]]
    assert kept(group("engine: x"), group(None, None)) == [[], ["0", "1"]]


def test_a_single_rollout_is_left_only_where_a_prior_judges_it() -> None:
    torn = group(None, "engine: x")
    assert kept(torn) == [[]]
    assert kept(torn, priors=[0.5]) == [["0"]]
    assert kept(group(None)) == [["0"]]  # one was all that was asked for
    assert [list(one) for one in sound_groups([torn], priors=None, max_failed=1.0)] == [[torn[0]]]  # nothing is judged


def test_too_many_failures_stop_the_run_with_the_commonest_reason() -> None:
    many = [group("engine: a", "engine: a", "store_locked: b", None), group(*[None] * 6)]
    assert len(kept(*many, max_failed=0.3)[1]) == 6
    with pytest.raises(EngineError, match=r"3 of 10 rollouts failed, more than the 29%.*2 times: engine: a"):
        kept(*many, max_failed=0.29)


def test_failures_are_counted_by_kind() -> None:
    assert failure_metrics([group(None, None)]) == {}
    told = failure_metrics([group("engine: a", None), group("engine: c", "store_locked: b")])
    assert told == {"rollouts/failed": 3.0, "rollouts/failed_engine": 2.0, "rollouts/failed_store_locked": 1.0}
