"""Rollouts that went through the rows of another trainer get the advantages that they get here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers.credit_rollouts import rollout, segment

from memagent_training.adapters.rows import advantages_of, notes_of
from memagent_training.grpo.baselines import BASELINES
from memagent_training.grpo.credit import CREDITS
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.rollout import Rollout

JUDGE = Judge(BASELINES["group_mean"]())


def _groups(credit: str) -> list[list[Rollout]]:
    """Two groups of two rollouts of three segments, as the credit needs them."""
    groups = []
    for name, rewards in (("g0", (1.0, 0.0)), ("g1", (0.25, 0.5))):
        members = []
        for attempt, reward in enumerate(rewards):
            parts = [
                segment(3, role="draft", mask=(1, 0, 1), turn_ids=(0, -1, 1)),
                segment(2, role="std", turn_ids=(2, 2)),
                segment(1, role="augM", weight=0.5, turn_ids=(3,)),
            ]
            keys = {"std": reward, "augM": 1 - reward, "augQ": 0.5 * reward}
            one = rollout(f"{name}/{attempt}", segments=parts, turns=[reward, 0.5, 0.0, reward], **keys)
            members.append(replace(one, group_id=name))
        groups.append(members)
    return groups


@pytest.mark.parametrize("credit", ["outcome", "memocr", "hian"])
def test_advantages_are_those_of_the_credit_times_the_weight(credit: str) -> None:
    groups, part = _groups(credit), CREDITS[credit]()
    direct = part.assign(groups, judge=JUDGE)
    expected = {
        (one.id, number): [float(value) * segment.weight for value in values]
        for group, members in zip(groups, direct, strict=True)
        for one, segments in zip(group, members, strict=True)
        for number, (segment, values) in enumerate(zip(one.segments, segments, strict=True))
    }
    notes = [note for group in groups for one in group for note in notes_of(one)]
    assert any(any(row) for row in expected.values())
    shuffled = json.loads(json.dumps(notes[::-1] + notes[:1]))  # plain values; a batch may hold a row twice to come out even
    assert advantages_of(shuffled, credit=part, judge=JUDGE) == [expected[one["rollout"], one["segment"]] for one in shuffled]


def test_a_rollout_of_which_a_row_is_missing_teaches_nothing_nor_does_one_that_is_left_alone() -> None:
    groups = _groups("outcome")
    notes = [note for group in groups for one in group for note in notes_of(one)]
    whole = advantages_of(notes, credit=CREDITS["outcome"](), judge=JUDGE)
    found = advantages_of([*notes[:5], *notes[6:]], credit=CREDITS["outcome"](), judge=JUDGE)
    assert found[:5] == [[0.0] * 3, [0.0] * 2, [0.0], [0.0] * 3, [0.0] * 2]
    assert found[5:] == whole[6:]
