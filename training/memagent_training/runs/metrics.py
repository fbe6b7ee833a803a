"""Numbers about a batch of rollouts, for the log: rewards, group sizes, waste, packing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, pstdev

from memagent_training.grpo.packing import Packing
from memagent_training.grpo.rollout import Group, Rollout, reward_of
from memagent_training.rows.batch import TrainingRow


def group_metrics(
    groups: Sequence[Group], keys: Sequence[str], *, total: Callable[[Rollout], float] = reward_of
) -> dict[str, float]:
    """What was rolled out and how it was rewarded. Empty for no rollouts.

    `total` is what a rollout earned in one number: the sum of its rewards, or what the credit makes of them. `reward` is its
    mean over rollouts, `reward_by_prompt` the mean over prompts of their means: with
    ragged groups only the second is about the same questions from step to step.
    """
    rollouts = [rollout for group in groups for rollout in group]
    if not rollouts:
        return {"rollouts/total": 0.0}
    totals = [total(rollout) for rollout in rollouts]
    by_group = [[total(rollout) for rollout in group] for group in groups]
    dead = sum(len(rewards) for rewards in by_group if max(rewards) - min(rewards) == 0.0)
    sizes = [len(group) for group in groups]
    checked = [rollout.correct for rollout in rollouts if rollout.correct is not None]
    measured = {
        "reward": fmean(totals),
        "reward_std": pstdev(totals),
        "reward_by_prompt": fmean(fmean(rewards) for rewards in by_group),
        "rollouts/total": float(len(rollouts)),
        "rollouts/mean": fmean(sizes),
        "rollouts/min": float(min(sizes)),
        "rollouts/max": float(max(sizes)),
        "rollouts/dead_share": dead / len(rollouts),
        "rollouts/valid": fmean(rollout.valid for rollout in rollouts),
        "completions/mean_length": fmean(sum(segment.trained for segment in rollout.segments) for rollout in rollouts),
    }
    for key in keys:
        if given := [rollout.rewards[key] for rollout in rollouts if key in rollout.rewards]:
            measured[f"rewards/{key}"] = fmean(given)
    if checked:
        measured["correct"] = fmean(checked)
    return measured


def packing_metrics(packing: Packing, rows: Sequence[TrainingRow], computed: Sequence[TrainingRow]) -> dict[str, float]:
    """What the forward passes of one walk over the batch take in, on all processes: those of `computed`, of all `rows`."""
    return {
        "rows/total": float(len(rows)),
        "rows/without_pass": float(len(rows) - len(computed)),
        "rows/tokens": float(packing.tokens),
        "rows/padded_share": packing.padded_share,
        "rows/max_tokens": float(packing.max_tokens),
        "rows/fillers": float(packing.fillers),
    }
