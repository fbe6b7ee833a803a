"""All numbers of the laptop runs of the size policy in one place: worlds, drafts, network, skill stage, RL."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.environments.long_qa.synthetic_qa import WorldSettings
from memagent.errors import ConfigError
from memagent_training.grpo.credit.memocr import Weights
from training.experiments.memocr.page import MODES, Mode

ARMS: dict[str, Weights | None] = {
    "none": None,
    "std": (1.0, 0.0, 0.0),
    "no_augm": (1.0, 0.0, 0.3),
    "full": (1.0, 0.7, 0.3),
}
"""Weights of T_std, T_augM and T_augQ by arm; None: the start policy, untrained."""
BUDGET: dict[Mode, int] = {"shrink": 512, "fit": 256}
"""Visual tokens of the full readings in training; T_augM has a sixteenth. Our `fit` pages of 32 tokens hold two thirds of a
draft, which teaches little, so that mode trains at half the published budget."""
HOPS = (1, 1, 1, 2, 2, 2, 2, 3)
"""Chain lengths, each entry as likely as the others."""


@dataclass(frozen=True, kw_only=True)
class SizeSettings:
    """A whole run. Raises `ConfigError` for what cannot be."""

    mode: Mode = "shrink"
    facts: int = 24
    """Facts of a world."""
    quota: int = 16
    """Lines of a draft: so many different facts. Were leaving out free, the evidence alone in plain type would win."""
    hops: tuple[int, ...] = HOPS
    sentence_chars: int = 105
    neutral: tuple[float, ...] = (0.10, 0.15, 0.60, 0.15)
    """Shares of the tiers before RL: H1, bold, body, small."""
    width: int = 64
    heads: int = 4
    layers: int = 3
    skill_batches: int = 500
    skill_batch: int = 64
    skill_rate: float = 2e-3
    skill_pool: int = 8000
    """Questions that the batches of the skill stage are drawn from."""
    pool: int = 2048
    """Training questions of RL."""
    steps: int = 400
    """Batches of rollouts."""
    questions: int = 16
    """Questions in a batch."""
    group: int = 16
    """Rollouts of a question."""
    updates: int = 2
    """Optimizer steps for a batch of rollouts."""
    rate: float = 3e-4
    warm_up: int = 10
    """Optimizer steps in which the learning rate rises."""
    clip: float = 0.2
    kl: float = 0.001

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"`mode` is `{self.mode}`; one of: {', '.join(MODES)}")
        if not 1 <= self.quota <= self.facts:
            raise ConfigError(f"`quota` is {self.quota}; a draft of {self.facts} facts holds 1 to {self.facts} lines")
        if self.steps < 1 or self.questions % self.updates:
            raise ConfigError(
                f"`steps` is {self.steps}, `questions` {self.questions}, `updates` {self.updates}; "
                "give 1 step or more, and questions that can be split into the updates"
            )

    def worlds(self, hops: tuple[int, ...] | None = None) -> WorldSettings:
        """The worlds of training, or those with other chain lengths."""
        return WorldSettings(facts=self.facts, hops=hops or self.hops, sentence_chars=self.sentence_chars)
