"""What is remembered of every prompt and of the last steps: what attempts earned by prompt, failure rates by step (CoBA-RL 6).

One window k serves both: a prompt's pass rate and mean rewards pool the rollouts of its last k visits, the failure rate is the
mean of the last k steps. A step is recorded when its rewards are in, so what an allocator or a prior reads while a step is
planned never contains that step. CoBA's Beta shape is a function of the failure rate: whoever restores this state restores
the shape. Source: CoBA-RL, arXiv 2602.03048, 2.3.1, and its released code.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, TypedDict

from memagent.errors import ConfigError, InputError
from memagent_training.grpo.needs import Score
from memagent_training.grpo.rollout import Group

STATE_VERSION = 2


class Visit(NamedTuple):
    """What the attempts at one prompt came to in one step."""

    prompt_id: str
    successes: int
    rollouts: int
    earned: Mapping[str, float] = {}
    """By reward key, the sum over the rollouts that have it; empty: rewards are not known."""
    having: Mapping[str, int] = {}
    """By reward key, how many rollouts have it."""
    turns: float = 0.0
    """The sum of all turn rewards."""

    def joined(self, other: Visit) -> Visit:
        """Both as one visit."""
        return Visit(
            self.prompt_id,
            self.successes + other.successes,
            self.rollouts + other.rollouts,
            {key: self.earned.get(key, 0.0) + other.earned.get(key, 0.0) for key in {**self.earned, **other.earned}},
            Counter(self.having) + Counter(other.having),
            self.turns + other.turns,
        )


def visit_of(group: Group) -> Visit:
    """What a group of one rollout or more came to."""
    earned: dict[str, float] = {}
    having: Counter[str] = Counter()
    for rollout in group:
        having.update(rollout.rewards.keys())
        for key, reward in rollout.rewards.items():
            earned[key] = earned.get(key, 0.0) + reward
    right = sum(bool(rollout.correct) for rollout in group)
    turns = math.fsum(reward for rollout in group for reward in rollout.turn_rewards)
    return Visit(group[0].prompt_id, right, len(group), earned, having, turns)


class PromptStatsState(TypedDict):
    """The JSON form of a `PromptStats`."""

    version: int
    window: int
    """The k it was recorded with."""
    step: int
    prompts: dict[str, list[list[Any]]]
    """By prompt id, oldest first: [successes, rollouts, earned, having, turns] of each kept visit, as in `Visit`."""
    failures: list[float]
    """F_step of the kept steps, oldest first."""


class PromptStats:
    """Rewards, pass rates and failure rates; the only part of the core that changes over time.

    Raises `ConfigError` for `window` < 1.
    """

    def __init__(self, *, window: int = 1) -> None:
        if window < 1:
            raise ConfigError(f"`window` is {window}; it counts visits and steps, use 1 (the published script) or more")
        self.window = window
        self._step = 0
        self._prompts: dict[str, list[Visit]] = {}
        self._failures: list[float] = []

    @property
    def step(self) -> int:
        """Steps recorded so far."""
        return self._step

    @property
    def failure(self) -> float | None:
        """Mean of the last k F_step, in [0, 1]; None before the first step that had rollouts."""
        return sum(self._failures) / len(self._failures) if self._failures else None

    def pass_rate(self, prompt_id: str) -> float | None:
        """Successes over rollouts, pooled over the prompt's last k visits, in [0, 1]; None before its first visit."""
        pooled = self._pooled(prompt_id)
        return None if pooled is None else pooled.successes / pooled.rollouts

    def mean_score(self, prompt_id: str, score: Score) -> float | None:
        """Mean of a score, pooled over the prompt's last k visits; None before its first visit with such rewards.

        Rollouts that lack the score's reward are left out; in a sum of all rewards, one that is lacking counts as 0.
        """
        pooled = self._pooled(prompt_id)
        if pooled is None:
            return None
        count = pooled.having.get(score.key, 0) if score.key is not None else pooled.rollouts if pooled.having else 0
        if count == 0:
            return None
        reward = pooled.earned[score.key] if score.key is not None else sum(pooled.earned.values())
        return score.scale * reward / count + score.turns * pooled.turns / pooled.rollouts

    def record(self, visits: Sequence[Visit | tuple[str, int, int]]) -> None:
        """Take in one finished step: a visit for each group, or (prompt id, successes, rollouts) where rewards are not known.

        Groups of one prompt count as one visit. A prompt without rollouts is absent: it has no visit and no say in
        F_step = 1 - mean over prompts of successes/rollouts. Raises `InputError`, changing nothing, unless
        0 <= successes <= rollouts.
        """
        merged: dict[str, Visit] = {}
        for visit in (Visit(*one) for one in visits):
            _check_visit(visit)
            before = merged.get(visit.prompt_id)
            merged[visit.prompt_id] = visit if before is None else before.joined(visit)
        visited = {prompt_id: visit for prompt_id, visit in merged.items() if visit.rollouts > 0}
        for prompt_id, visit in visited.items():
            self._prompts[prompt_id] = [*self._prompts.get(prompt_id, []), visit][-self.window :]
        if visited:
            mean = sum(visit.successes / visit.rollouts for visit in visited.values()) / len(visited)
            self._failures = [*self._failures, 1.0 - mean][-self.window :]
        self._step += 1

    def state_dict(self) -> PromptStatsState:
        """All of it as JSON values."""
        return {
            "version": STATE_VERSION,
            "window": self.window,
            "step": self._step,
            "prompts": {
                prompt_id: [[one.successes, one.rollouts, dict(one.earned), dict(one.having), one.turns] for one in visits]
                for prompt_id, visits in self._prompts.items()
            },
            "failures": list(self._failures),
        }

    def load_state_dict(self, state: PromptStatsState, *, mode: Literal["full", "prior"] = "full") -> None:
        """Replace everything by a saved state; a shorter `window` than the saved one keeps the newest.

        `full` goes on where the state was saved. `prior` takes what is known of prompts alone, for a new run that starts at
        step 0 with no failure rate. Raises `InputError`, changing nothing, for a state that this version did not write.
        """
        if mode not in ("full", "prior"):
            raise InputError(f"`mode` is {mode!r}; use `full` (resume) or `prior` (prompts only)")
        if state.get("version") != STATE_VERSION:
            raise InputError(f"the state has version {state.get('version')!r}, this code reads {STATE_VERSION}; record it anew")
        missing = [key for key in ("step", "prompts", "failures") if key not in state]
        if missing:
            raise InputError(f"the state lacks {', '.join(f'`{key}`' for key in missing)}; pass what `state_dict` returned")
        prompts: dict[str, list[Visit]] = {}
        for prompt_id, kept in state["prompts"].items():
            visits = [Visit(prompt_id, *one) for one in kept]
            for visit in visits:
                _check_visit(visit, least=1)
            if visits:
                prompts[prompt_id] = visits[-self.window :]
        self._prompts = prompts
        self._step = state["step"] if mode == "full" else 0
        self._failures = list(state["failures"])[-self.window :] if mode == "full" else []

    def _pooled(self, prompt_id: str) -> Visit | None:
        visits = self._prompts.get(prompt_id)
        return None if visits is None else reduce(Visit.joined, visits)


def _check_visit(visit: Visit, *, least: int = 0) -> None:
    won, tried = visit.successes, visit.rollouts
    if not (0 <= won <= tried and tried >= least and won == int(won) and tried == int(tried)):
        raise InputError(
            f"prompt `{visit.prompt_id}` has {won} successes in {tried} rollouts; "
            f"give whole numbers, 0 <= successes <= rollouts and at least {least} rollouts"
        )
