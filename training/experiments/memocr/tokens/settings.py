"""All numbers of the token-level laptop runs in one place: worlds, drafts, pages, network, warm-up, RL and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.environments.long_qa.synthetic_qa import WorldSettings
from memagent.errors import ConfigError
from training.experiments.memocr.page import Mode
from training.experiments.memocr.settings import HOPS


@dataclass(frozen=True, kw_only=True)
class DraftShape:
    """What a draft holds."""

    facts: int = 24
    """Facts of a world."""
    quota: int = 16
    """Lines of a draft: so many different facts."""

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
class WarmUpSettings:
    """The supervised stage: which facts lie on the chain. Tiers and pointers are not trained by it."""

    batches: int = 200
    batch: int = 64
    learning_rate: float = 2e-3
    pool: int = 8000
    """Questions that batches are drawn from; facts are shuffled anew each time."""
    drafts: float = 0.5
    """The last part of the batches in which questions are followed by an even draft."""
    tell: int = 50
    """Batches between lines on stdout; 0: none."""


@dataclass(frozen=True, kw_only=True)
class RlSettings:
    """GRPO, as the note on laptop RL advises."""

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
class TokenSettings:
    """A whole run."""

    mode: Mode = "shrink"
    hops: tuple[int, ...] = HOPS
    """Chain lengths of warm-up and RL, each entry as likely as the others."""
    sentence_chars: int = 105
    neutral: tuple[float, ...] = (0.10, 0.15, 0.60, 0.15)
    """Shares of the tiers before RL."""
    draft: DraftShape = DraftShape()
    net: NetSettings = NetSettings()
    warm_up: WarmUpSettings = WarmUpSettings()
    rl: RlSettings = RlSettings()

    def worlds(self, hops: tuple[int, ...] | None = None) -> WorldSettings:
        """The worlds of training, or those with other chain lengths."""
        return WorldSettings(facts=self.draft.facts, hops=hops or self.hops, sentence_chars=self.sentence_chars)
