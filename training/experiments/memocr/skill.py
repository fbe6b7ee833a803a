"""The skill stage: supervised, before any RL, the network learns which facts lie on a question's chain.

Two questions are put to the network by heads that are thrown away: is this fact on the chain, and which fact answers this hop.
The policy's own heads stay as they are, so what comes out knows where the evidence is and does nothing with it yet. Without
this stage RL learns nothing about evidence here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagent.environments.long_qa.synthetic_qa import MOST_HOPS, WorldQuestion, world_questions
from training.experiments.memocr.policy import Seen, SizePolicy, see
from training.experiments.memocr.settings import SizeSettings

_EVIDENCE = 5.0
"""Weight of the few facts on the chain against the many beside it."""
_NONE = -100
"""A target that is not looked at."""


class _Probes(nn.Module):
    """The heads that are thrown away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.on_chain = nn.Linear(width, 1)
        self.hop, self.fact = nn.Linear(width, width), nn.Linear(width, width)


def skilled(settings: SizeSettings, *, seed: int) -> tuple[SizePolicy, float]:
    """A policy after the stage, and the share of 500 `dev` questions whose chain its head finds exactly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy, probes = SizePolicy(settings), _Probes(settings.width)
    draw = torch.Generator().manual_seed(seed)
    pool = world_questions(settings.skill_pool, split="train", seed=1000 + seed, settings=settings.worlds())
    seen, hops = see(pool), _hops(pool)
    weights = [*policy.parameters(), *probes.parameters()]
    optimizer = torch.optim.Adam(weights, lr=settings.skill_rate)
    for number in range(settings.skill_batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.skill_rate * min(1.0, (number + 1) / 20) * max(0.05, 1 - number / settings.skill_batches)
        rows = torch.randint(len(pool), (settings.skill_batch,), generator=draw)
        loss, _ = _losses(policy, probes, seen[rows], hops[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    asked = world_questions(500, split="dev", seed=seed, settings=settings.worlds())
    with torch.no_grad():
        exact = _losses(policy.eval(), probes, see(asked), _hops(asked))[1]
    return policy, float(exact.float().mean())


def _losses(policy: SizePolicy, probes: _Probes, seen: Seen, hops: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and (B,) whether exactly the chain's facts were found. `hops` (B, MOST_HOPS): the fact of each hop."""
    asked, facts = policy.states(seen)
    chain = torch.zeros(facts.shape[:2]).scatter_add(1, hops.clamp(min=0), (hops >= 0).float())
    logits = probes.on_chain(facts)[..., 0]
    answers = probes.hop(asked) @ probes.fact(facts).transpose(1, 2) / facts.shape[-1] ** 0.5  # (B, MOST_HOPS, F)
    loss = 3 * functional.binary_cross_entropy_with_logits(logits, chain, pos_weight=torch.tensor(_EVIDENCE))
    loss = loss + functional.cross_entropy(answers.flatten(0, 1), hops.flatten(), ignore_index=_NONE)
    return loss, ((logits > 0) == (chain > 0)).all(1)


def _hops(questions: list[WorldQuestion]) -> Tensor:
    """(B, MOST_HOPS) the fact of each hop."""
    return torch.tensor([[*one.chain, *[_NONE] * (MOST_HOPS - len(one.chain))] for one in questions])
