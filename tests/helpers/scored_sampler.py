"""A stand-in's sampler whose log-probabilities are those of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memagent_training.testing.vllm_rule import Sampled, Sampler


@dataclass(frozen=True, kw_only=True)
class ScoredSampler(Sampler):
    """Says what `Sampler` says, with the log-probabilities, less `gap`, of a model shown what `read` makes of a prompt."""

    model: Any
    read: Callable[[Sequence[int]], list[int]] = list
    gap: float = 0.0

    def __call__(self, prompt: Sequence[int], *arguments: Any, **options: Any) -> Sampled:
        import torch

        said = super().__call__(prompt, *arguments, **options)
        shown = self.read(prompt)
        with torch.no_grad():
            scores = self.model(torch.tensor([[*shown, *said.ids]])).logits[0].log_softmax(-1)  # (P + T, V)
        found = scores[len(shown) - 1 : -1].gather(1, torch.tensor(said.ids)[:, None])[:, 0]
        return replace(said, logprobs=(found - self.gap).tolist())
