"""What is remembered of every prompt and of the last steps: pass rates by prompt, failure rates by step (CoBA-RL 6).

One window k serves both: a prompt's pass rate pools the rollouts of its last k visits, the failure rate is the mean
of the last k steps. A step is recorded when its rewards are in, so what an allocator reads while a step is planned
never contains that step. CoBA's Beta shape is a function of the failure rate: whoever restores this state restores
the shape. Source: CoBA-RL, arXiv 2602.03048, 2.3.1, and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from memagent.errors import ConfigError, InputError

STATE_VERSION = 1


class PromptStatsState(TypedDict):
    """The JSON form of a `PromptStats`."""

    version: int
    window: int
    """The k it was recorded with."""
    step: int
    prompts: dict[str, list[list[int]]]
    """By prompt id: [successes, rollouts] of each kept visit, oldest first."""
    failures: list[float]
    """F_step of the kept steps, oldest first."""


class PromptStats:
    """Pass rates and failure rates; the only part of the core that changes over time. Raises `ConfigError` for `window` < 1."""

    def __init__(self, *, window: int = 1) -> None:
        if window < 1:
            raise ConfigError(f"`window` is {window}; it counts visits and steps, use 1 (the published script) or more")
        self.window = window
        self._step = 0
        self._prompts: dict[str, list[tuple[int, int]]] = {}
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
        visits = self._prompts.get(prompt_id)
        if visits is None:
            return None
        return sum(won for won, _ in visits) / sum(tried for _, tried in visits)

    def record(self, visits: Sequence[tuple[str, int, int]]) -> None:
        """Take in one finished step: (prompt id, successes, rollouts) of each group.

        Groups of one prompt count as one visit. A prompt without rollouts is absent: it has no visit and no say in
        F_step = 1 - mean over prompts of successes/rollouts. Raises `InputError`, changing nothing, unless
        0 <= successes <= rollouts.
        """
        merged: dict[str, tuple[int, int]] = {}
        for prompt_id, successes, rollouts in visits:
            _check_visit(prompt_id, successes, rollouts)
            won, tried = merged.get(prompt_id, (0, 0))
            merged[prompt_id] = (won + int(successes), tried + int(rollouts))
        visited = {prompt_id: visit for prompt_id, visit in merged.items() if visit[1] > 0}
        for prompt_id, visit in visited.items():
            self._prompts[prompt_id] = [*self._prompts.get(prompt_id, []), visit][-self.window :]
        if visited:
            mean = sum(won / tried for won, tried in visited.values()) / len(visited)
            self._failures = [*self._failures, 1.0 - mean][-self.window :]
        self._step += 1

    def state_dict(self) -> PromptStatsState:
        """All of it as JSON values."""
        return {
            "version": STATE_VERSION,
            "window": self.window,
            "step": self._step,
            "prompts": {prompt_id: [list(visit) for visit in visits] for prompt_id, visits in self._prompts.items()},
            "failures": list(self._failures),
        }

    def load_state_dict(self, state: PromptStatsState, *, mode: Literal["full", "prior"] = "full") -> None:
        """Replace everything by a saved state; a shorter `window` than the saved one keeps the newest.

        `full` goes on where the state was saved. `prior` takes the pass rates alone, for a new run that starts at
        step 0 with no failure rate. Raises `InputError`, changing nothing, for a state that this version did not write.
        """
        if mode not in ("full", "prior"):
            raise InputError(f"`mode` is {mode!r}; use `full` (resume) or `prior` (pass rates only)")
        if state.get("version") != STATE_VERSION:
            raise InputError(f"the state has version {state.get('version')!r}, this code reads {STATE_VERSION}; record it anew")
        missing = [key for key in ("step", "prompts", "failures") if key not in state]
        if missing:
            raise InputError(f"the state lacks {', '.join(f'`{key}`' for key in missing)}; pass what `state_dict` returned")
        prompts: dict[str, list[tuple[int, int]]] = {}
        for prompt_id, visits in state["prompts"].items():
            for successes, rollouts in visits:
                _check_visit(prompt_id, successes, rollouts, least=1)
            if visits:
                prompts[prompt_id] = [(won, tried) for won, tried in visits][-self.window :]
        self._prompts = prompts
        self._step = state["step"] if mode == "full" else 0
        self._failures = list(state["failures"])[-self.window :] if mode == "full" else []


def _check_visit(prompt_id: str, successes: int, rollouts: int, *, least: int = 0) -> None:
    if not (0 <= successes <= rollouts and rollouts >= least and successes == int(successes) and rollouts == int(rollouts)):
        raise InputError(
            f"prompt `{prompt_id}` has {successes} successes in {rollouts} rollouts; "
            f"give whole numbers, 0 <= successes <= rollouts and at least {least} rollouts"
        )
