"""All numbers of the study in one place: worlds, drafts, pages, network, supervised stage and RL."""

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


@dataclass(frozen=True, kw_only=True)
class DraftShape:
    """What a draft holds."""

    facts: int = 24
    """Facts of a world."""
    quota: int = 16
    """Lines of a draft: so many different facts. Were leaving out free, the evidence alone in plain type would win."""

    def __post_init__(self) -> None:
        if not 1 <= self.quota <= self.facts:
            raise ConfigError(f"`quota` is {self.quota}; a draft of {self.facts} facts holds 1 to {self.facts} lines")


@dataclass(frozen=True, kw_only=True)
class NetSettings:
    """Size of the network."""

    width: int = 96
    heads: int = 4
    layers: int = 2


@dataclass(frozen=True, kw_only=True)
class SftSettings:
    """The supervised stage: which facts are on the chain. Tiers and pointers are not trained by it."""

    batches: int = 200
    batch: int = 64
    learning_rate: float = 2e-3
    pool: int = 8000
    """Questions that batches are drawn from; facts are shuffled anew each time."""
    drafts: float = 0.5
    """The last part of the batches in which questions are followed by an even draft."""


@dataclass(frozen=True, kw_only=True)
class RlSettings:
    """GRPO."""

    batches: int = 100
    """Generation batches."""
    questions: int = 16
    group: int = 16
    updates: int = 2
    """Optimizer steps that share a generation batch."""
    learning_rate: float = 3e-4
    warmup_steps: int = 10
    kl: float = 0.001
    clip: float = 0.2
    pool: int = 4096
    """Training questions."""
    save_every: int = 25
    """Generation batches between checkpoints."""
    log_every: int = 5
    """Generation batches between log lines."""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """A whole run. Raises `ConfigError` for what cannot be."""

    mode: Mode = "shrink"
    hops: tuple[int, ...] = (1, 1, 1, 2, 2, 2, 2, 3)
    """Chain lengths of training, each entry as likely as the others."""
    sentence_chars: int = 105
    neutral: tuple[float, ...] = (0.10, 0.15, 0.60, 0.15)
    """Shares of the tiers before RL: H1, bold, body, small."""
    draft: DraftShape = DraftShape()
    net: NetSettings = NetSettings()
    sft: SftSettings = SftSettings()
    rl: RlSettings = RlSettings()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"`mode` is `{self.mode}`; one of: {', '.join(MODES)}")

    def worlds(self, hops: tuple[int, ...] | None = None) -> WorldSettings:
        """The worlds of training, or those with other chain lengths."""
        return WorldSettings(facts=self.draft.facts, hops=hops or self.hops, sentence_chars=self.sentence_chars)
