"""How far the sampler's log-probabilities of what it said are from the trainer's, by role.

While the first update after a batch of rollouts is computed, the policy still is what sampled, so its own forward pass scores
the same tokens under the same weights: what differs is precision, or a prompt that the sampler read otherwise, or weights that
it does not have. Nothing is computed for it, and it is measured whether the difference is corrected for or not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from memagent.errors import EngineError
from memagent_training.rollouts.failures import from_all

OUTSIDE = 2.0
"""A token is outside where its importance ratio is above this, or below one over it."""


class SamplerGap:
    """Gaps of the tokens in the loss, from note to note until they are told."""

    def __init__(self) -> None:
        self._gaps: dict[str, list[torch.Tensor]] = {}
        self._checked = False
        self.logps: torch.Tensor
        """(B, T) of the trainer's forward pass that was made last."""

    def note(self, part: Mapping[str, Any]) -> None:
        """Take in rows whose `logps` were computed last; nothing where the engine gave no log-probabilities of its own."""
        if "sampling_per_token_logps" not in part:
            return
        mask = (part["completion_mask"] * part.get("tool_mask", 1)).bool()  # (B, T)
        gaps = part["sampling_per_token_logps"] - self.logps
        for role, gap, counted in zip(part["roles"], gaps, mask, strict=True):
            self._gaps.setdefault(role, []).append(gap[counted].float().cpu())

    def told(self, engine: Any) -> dict[str, float]:
        """Metrics of all processes since they were told last; all of them call it. Empty where nothing was noted.

        `gap_abs_ROLE` and `kl` are means over tokens in nats, `kl` of sampler minus trainer, `gap_max` the largest gap. Tokens
        that the sampler gave no score (NaN) count as equal. Raises `EngineError` in the first batch of a process where a role's
        mean gap exceeds `engine.max_gap`.
        """
        gaps: dict[str, torch.Tensor] = {}
        for noted in from_all({role: torch.cat(found) for role, found in self._gaps.items()}):
            for role, gap in noted.items():
                gaps[role] = torch.cat([gaps[role], gap]) if role in gaps else gap
        self._gaps = {}
        gaps = {role: gap for role, gap in sorted(gaps.items()) if len(gap)}
        if not gaps:
            return {}
        every = torch.cat(list(gaps.values()))
        known = {role: gap.nan_to_num(nan=0.0, neginf=-math.inf, posinf=math.inf).abs() for role, gap in gaps.items()}
        means = {role: float(gap.mean()) for role, gap in known.items()}
        if not self._checked:
            self._check(means, {role: len(gap) for role, gap in gaps.items()}, engine)
        self._checked = True
        return {
            **{f"sampler/gap_abs_{role}": mean for role, mean in means.items()},
            "sampler/gap_max": max(float(gap.max()) for gap in known.values()),
            "sampler/kl": float(every.nan_to_num(nan=0.0).mean()),
            "sampler/outside_share": _share(every.abs() > math.log(OUTSIDE)),
            "sampler/unscored_share": _share(every.isnan()),
        }

    def _check(self, means: Mapping[str, float], counts: Mapping[str, int], engine: Any) -> None:
        most = float(getattr(engine, "max_gap", math.inf))
        wrong = [role for role, mean in means.items() if mean > most]
        if wrong:
            said = ", ".join(f"`{role}` by {means[role]:.2f} nats a token over {counts[role]} tokens" for role in wrong)
            raise EngineError(
                f"engine `{engine.name}` and the trainer disagree about what was said as {said}; engine.max_gap allows "
                f"{most:g}: the sampler reads other prompts or has other weights. Start it with the policy's own files, the "
                "trainer's limits of pictures and --logprobs-mode processed_logprobs, or raise engine.max_gap"
            )


def _share(which: Sequence[bool] | torch.Tensor) -> float:
    return float(torch.as_tensor(which).float().mean())
