"""Group mean and leave-one-out, and what every baseline does with odd groups."""

from __future__ import annotations

import math
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.baselines import BASELINES, GroupMean, LeaveOneOut, V05Baseline

GROUPS = st.lists(st.lists(st.floats(0, 1), max_size=6), max_size=5)


def test_group_mean_by_hand() -> None:
    (found,) = GroupMean(eps=0).advantages([[1, 0, 0, 0]], priors=[None])
    assert found == pytest.approx([1.5, -0.5, -0.5, -0.5])  # mean 1/4, deviation sqrt((9/16 + 3/16) / 3) = 1/2


def test_eps_is_added_to_the_deviation_so_that_trl_is_a_setting() -> None:
    rewards = [0.2, 0.9, 0.4]
    for eps in (1e-6, 1e-4):
        (found,) = GroupMean(eps=eps).advantages([rewards])
        assert found == pytest.approx([(one - mean(rewards)) / (stdev(rewards) + eps) for one in rewards], abs=1e-14)


def test_group_mean_without_scale_and_over_the_batch() -> None:
    groups = [[1.0, 0.0], [0.5, 0.0, 0.25]]
    plain = GroupMean(scale="none").advantages(groups)
    assert plain[0].tolist() == [0.5, -0.5]
    assert plain[1].tolist() == [0.25, -0.25, 0.0]
    whole = stdev([1.0, 0.0, 0.5, 0.0, 0.25]) + 1e-6
    for ours, centred in zip(GroupMean(scale="batch").advantages(groups), plain, strict=True):
        assert ours == pytest.approx(centred / whole, abs=1e-14)


def test_a_lone_rollout_keeps_its_raw_reward_unless_told_otherwise() -> None:
    assert GroupMean().advantages([[0.7]])[0].tolist() == [0.7]
    assert GroupMean(scale="none").advantages([[0.7]])[0].tolist() == [0.7]
    assert GroupMean(lone="zero").advantages([[0.7]])[0].tolist() == [0.0]
    assert LeaveOneOut().advantages([[0.7]])[0].tolist() == [0.7]


def test_a_lone_rollout_is_measured_with_the_batch() -> None:
    lone, _ = GroupMean(scale="batch", eps=0).advantages([[1.0], [0.0, 1.0]])
    assert lone == pytest.approx([1 / stdev([1, 0, 1])])
    assert GroupMean(scale="batch").advantages([[1.0], [1.0, 1.0]])[0].tolist() == [1.0]


@pytest.mark.parametrize("scale", ["group", "none", "batch"])
def test_equal_rewards_give_exactly_zero_although_floats_round(scale: str) -> None:
    for part in (GroupMean, LeaveOneOut):
        found = part(scale=scale).advantages([[0.1] * 3, [0.7] * 7, [0.3, 0.9]])
        assert found[0].tolist() == [0.0] * 3
        assert found[1].tolist() == [0.0] * 7
        assert found[2].all()


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    rewards = [1.0, 0.0, 0.25, 0.5]
    (found,) = LeaveOneOut().advantages([rewards])
    assert found == pytest.approx([one - mean(rewards[:at] + rewards[at + 1 :]) for at, one in enumerate(rewards)])
    (scaled,) = LeaveOneOut(scale="group").advantages([rewards])
    assert scaled == pytest.approx(found / (stdev(rewards) + 1e-6))


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_empty_batches_and_empty_groups_come_back_empty(name: str) -> None:
    part = BASELINES[name]()
    assert part.advantages([], priors=[], bounds=(0, 1)) == []
    found = part.advantages([[], [1.0, 0.0]], priors=[None, None], bounds=(0, 1))
    assert [one.shape for one in found] == [(0,), (2,)]
    assert all(one.dtype == np.float64 for one in found)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_what_is_no_reward_is_refused(name: str) -> None:
    part = BASELINES[name]()
    for wrong in ([math.nan], [math.inf], [[1.0]], ["good"]):
        with pytest.raises(InputError, match="rewards"):
            part.advantages([wrong], priors=[0.5], bounds=(0, 1))  # type: ignore[list-item]


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_arrays_are_taken_and_never_changed_or_handed_back(name: str) -> None:
    given_ = np.array([0.5])
    (found,) = BASELINES[name]().advantages([given_], priors=[None], bounds=(0, 1))  # type: ignore[list-item]
    found += 1
    assert given_.tolist() == [0.5]


def test_impossible_settings_are_refused() -> None:
    for wrong in (
        lambda: GroupMean(scale="token"),  # type: ignore[arg-type]
        lambda: GroupMean(eps=-1),
        lambda: GroupMean(eps=math.nan),
        lambda: GroupMean(lone="drop"),  # type: ignore[arg-type]
        lambda: LeaveOneOut(scale="token"),  # type: ignore[arg-type]
        lambda: V05Baseline(norm="std"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError):
            wrong()


def test_the_table_holds_every_baseline_by_its_name() -> None:
    assert sorted(BASELINES) == ["group_mean", "leave_one_out", "v05"]
    assert all(part.name == name for name, part in BASELINES.items())


@given(groups=GROUPS, shift=st.floats(-3, 3))
def test_a_shift_of_all_rewards_changes_nothing_in_groups_of_two_and_more(groups: list[list[float]], shift: float) -> None:
    groups = [group for group in groups if len(group) != 1]
    moved = [[one + shift for one in group] for group in groups]
    for part in (GroupMean(scale="none"), LeaveOneOut()):
        for ours, theirs in zip(part.advantages(groups), part.advantages(moved), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-12)


@given(groups=GROUPS)
def test_advantages_of_a_group_sum_to_zero(groups: list[list[float]]) -> None:
    for part in (GroupMean(scale="none"), LeaveOneOut(), GroupMean(eps=1e-2)):
        for group, found in zip(groups, part.advantages(groups), strict=True):
            assert len(group) == 1 or abs(found.sum()) < 1e-9
