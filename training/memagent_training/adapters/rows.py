"""Rollouts as rows of a trainer that knows neither roles nor turns, and their advantages by our credits.

Each segment is a row, and carries a `note`: a dict of plain values from which the groups of a batch are rebuilt later, without
tokens, since credits look at masks, roles, turns and rewards alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from memagent_training.grpo.credit.base import Credit
from memagent_training.grpo.judge import Judge
from memagent_training.grpo.rollout import Rollout, Segment

Note = Mapping[str, Any]


def notes_of(rollout: Rollout) -> list[dict[str, Any]]:
    """One for each segment, in order."""
    whole = {
        "rollout": rollout.id,
        "group": rollout.group_id,
        "prompt": rollout.prompt_id,
        "rewards": dict(rollout.rewards),
        "turn_rewards": list(rollout.turn_rewards),
        "correct": rollout.correct,
        "valid": rollout.valid,
        "segments": len(rollout.segments),
    }
    return [
        {
            **whole,
            "segment": number,
            "role": one.role,
            "weight": one.weight,
            "mask": list(one.mask or (1,) * len(one.ids)),
            "turn_ids": None if one.turn_ids is None else list(one.turn_ids),
        }
        for number, one in enumerate(rollout.segments)
    ]


def advantages_of(notes: Sequence[Note], *, credit: Credit, judge: Judge) -> list[list[float]]:
    """One for each token of each row, in order, times its segment's weight.

    Rows of a rollout of which not all are here have 0: what is missing may be what it is judged by. So have those of one that
    failures left alone in its group: there is nothing to compare it with.
    """
    parts: dict[str, dict[int, Note]] = defaultdict(dict)
    for note in notes:
        parts[note["rollout"]][note["segment"]] = note
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for name, found in parts.items():
        first = next(iter(found.values()))
        if len(found) == first["segments"]:
            groups[first["group"]].append(_rollout(name, [found[number] for number in range(len(found))]))
    compared = [group for group in groups.values() if len(group) > 1]
    scored = credit.assign(compared, judge=judge)
    by_row = {
        (rollout.id, number): [float(value) * segment.weight for value in values]
        for group, members in zip(compared, scored, strict=True)
        for rollout, segments in zip(group, members, strict=True)
        for number, (segment, values) in enumerate(zip(rollout.segments, segments, strict=True))
    }
    return [by_row.get((note["rollout"], note["segment"]), [0.0] * len(note["mask"])) for note in notes]


def _rollout(name: str, notes: Sequence[Note]) -> Rollout:
    first = notes[0]
    return Rollout(
        id=name,
        group_id=first["group"],
        prompt_id=first["prompt"],
        segments=[
            Segment(
                prompt_ids=(),
                ids=range(len(one["mask"])),
                mask=one["mask"],
                role=one["role"],
                weight=one["weight"],
                turn_ids=one["turn_ids"],
            )
            for one in notes
        ],
        rewards=dict(first["rewards"]),
        turn_rewards=first["turn_rewards"],
        correct=first["correct"],
        valid=first["valid"],
    )
