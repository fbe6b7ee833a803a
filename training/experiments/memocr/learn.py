"""GRPO for the size policy, with the parts of the core: MemOCR's credit, the mean of the group, the clipped loss with KL.

The loop is its own because a rollout here is 32 numbers and no text: a batch of 256 takes a tenth of a second, so an arm of 400
batches takes about a minute. Same seed, same policy.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from memagent.environments.long_qa.synthetic_qa import world_questions
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.grpo.credit.memocr import Weights
from memagent_training.grpo.loss import policy_loss
from memagent_training.grpo.rollout import Rollout, Segment
from training.experiments.memocr.eye import Eye
from training.experiments.memocr.policy import Draft, Seen, SizePolicy, see
from training.experiments.memocr.rewards import Floats, Pages, Sheet, rewards
from training.experiments.memocr.settings import BUDGET, SizeSettings

Tell = Callable[[str], None]
EVERY = 10
"""Batches between two points of the learning curve."""


@dataclass
class History:
    """What went on."""

    curve: list[dict[str, float]] = field(default_factory=list)
    """Means of the rewards and of `Pages.shares` over `EVERY` batches."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Processor time of each part of a step, over the run: `policy`, `render_and_read`, `credit`, `update`."""

    @property
    def reading_share(self) -> float:
        """Share of the time that laying out and reading took."""
        return self.seconds["render_and_read"] / sum(self.seconds.values())


class _Clock(Counter[str]):
    """Processor seconds by part."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.process_time()

    def lap(self, part: str) -> None:
        """Book the time since the last lap."""
        now = time.process_time()
        self[part] += now - self._last  # type: ignore[assignment]  # seconds, not counts
        self._last = now


def learn(
    start: SizePolicy,
    weights: Weights,
    settings: SizeSettings,
    *,
    seed: int,
    eye: Eye,
    tell: Tell = lambda _: None,
) -> tuple[SizePolicy, History]:
    """A trained copy of `start` and its history."""
    policy, reference = copy.deepcopy(start).train(), copy.deepcopy(start).eval()
    pool = world_questions(settings.pool, split="train", seed=2000 + seed, settings=settings.worlds())
    seen, sheets = see(pool), [Sheet.of(one) for one in pool]
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.rate)
    pick, sample = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    credit, history, clock = MemocrCredit(weights=weights), History(), _Clock()
    recent: list[dict[str, float]] = []
    for step in range(settings.steps):
        rows = torch.from_numpy(pick.choice(len(pool), settings.questions, replace=False))
        asked = seen[rows]
        draft = policy.draw(asked, group=settings.group, draw=sample)
        with torch.no_grad():
            old, ref = policy.logprobs(asked, draft), reference.logprobs(asked, draft)
        clock.lap("policy")
        of_draft = [sheets[row] for row in rows.tolist() for _ in range(settings.group)]
        pages = Pages(of_draft, draft.facts.numpy(), draft.tiers.numpy(), mode=settings.mode, eye=eye)
        earned = rewards(pages, budget=BUDGET[settings.mode], draw=pick)
        clock.lap("render_and_read")
        advantages = _advantages(earned, credit, settings)
        clock.lap("credit")
        for part in torch.arange(settings.questions).chunk(settings.updates):
            _rise(optimizer, settings.rate, done=step * settings.updates, warm_up=settings.warm_up)
            _update(policy, optimizer, asked, draft, part, (old, ref, advantages), settings)
        clock.lap("update")
        recent.append({**{name: float(values.mean()) for name, values in earned.items()}, **pages.shares()})
        if (step + 1) % EVERY == 0 or step + 1 == settings.steps:
            point = {name: float(np.mean([one[name] for one in recent])) for name in recent[0]}
            history.curve.append({"step": step + 1.0, **point})
            recent = []
            tell(f"step {step + 1}: " + " ".join(f"{name} {value:.2f}" for name, value in point.items()))
    history.seconds = dict(clock)
    return policy.eval(), history


def _advantages(earned: dict[str, Floats], credit: MemocrCredit, settings: SizeSettings) -> Tensor:
    """(N,) of the drafts, by the core's credit and baseline."""
    rollouts = [
        Rollout(
            id=str(at),
            group_id=str(at // settings.group),
            prompt_id=str(at // settings.group),
            segments=[Segment(prompt_ids=(), ids=(0,), role="draft")],
            rewards={name: float(values[at]) for name, values in earned.items()},
        )
        for at in range(settings.questions * settings.group)
    ]
    groups = [rollouts[at : at + settings.group] for at in range(0, len(rollouts), settings.group)]
    spread = credit.assign(groups, baseline=GroupMean(scale="none"), priors=[None] * len(groups))
    return torch.tensor([float(one[0][0]) for group in spread for one in group])


def _rise(optimizer: torch.optim.Optimizer, rate: float, *, done: int, warm_up: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (done + 1) / max(1, warm_up))


def _update(
    policy: SizePolicy,
    optimizer: torch.optim.Optimizer,
    asked: Seen,
    draft: Draft,
    part: Tensor,
    given: tuple[Tensor, Tensor, Tensor],
    settings: SizeSettings,
) -> None:
    """One optimizer step on the drafts of some of the batch's questions."""
    rows = (part[:, None] * settings.group + torch.arange(settings.group)).flatten()
    old, ref, advantages = (one[rows] for one in given)
    logps = policy.logprobs(asked[part], Draft(draft.facts[rows], draft.tiers[rows]))
    found = policy_loss(
        logps,
        old,
        advantages,
        torch.ones_like(logps),
        epsilon_low=settings.clip,
        epsilon_high=settings.clip,
        ref_logps=ref,
        beta=settings.kl,
    )
    optimizer.zero_grad()
    found.loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
