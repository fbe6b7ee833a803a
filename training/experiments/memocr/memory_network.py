"""The part of the network that follows a chain: memory lookups one after the other, one a hop (arXiv 1503.08895, section 2.2).

The first looks for facts about the name in question, each next one for facts about what the one before it found. Names are
compared token by token (match features: arXiv 1605.07683), so a name that training never showed is as good as any;
which told relation answers an asked one is learnt. A lookup is the same whatever its number: a longer chain has more of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from memagent.environments.long_qa.synthetic_qa import MOST_HOPS
from training.experiments.memocr import grammar
from training.experiments.memocr.vocabulary import ASKED, ID, NAME, RELATION_IDS, TOKENS, WORDS

_SHARPNESS = 4.0
"""Weight of one equal token before training: a name with one other token is e^4 times less likely."""
_WIDTH = 16
_IS_ASKED = torch.zeros(len(TOKENS), dtype=torch.bool).index_fill(0, torch.tensor(RELATION_IDS), True)


@dataclass(frozen=True)
class Prompts:
    """What the prompts of a batch say, as ids."""

    start: Tensor
    """(B, NAME) the name in question."""
    asked: Tensor
    """(B, MOST_HOPS) relations to follow; what stands behind them otherwise."""
    hops: Tensor
    """(B, MOST_HOPS) whether there is such a hop."""
    words: Tensor
    """(B, F, WORDS) the facts."""
    told: Tensor
    """(B, F) whether the world has the fact."""


def read_prompts(ids: Tensor, found: grammar.Places) -> Prompts:
    """The parts of prompts (B, L)."""
    at = (ids == ID[ASKED]).int().argmax(1, keepdim=True)  # (B, 1)
    start = ids.gather(1, (at + torch.arange(-NAME, 0)).clamp(min=0))
    asked = ids.gather(1, (at + torch.arange(1, MOST_HOPS + 1)).clamp(max=ids.shape[1] - 1))
    spread = (found.blocks[:, :, None] - WORDS + torch.arange(WORDS)).clamp(min=0)  # (B, F, WORDS)
    words = ids.gather(1, spread.flatten(1)).view_as(spread)
    return Prompts(start, asked, _IS_ASKED[asked], words, found.told)


class MemoryNetwork(nn.Module):
    """See the module."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.wanted, self.told = nn.Linear(words, _WIDTH, bias=False), nn.Linear(words, _WIDTH, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(_SHARPNESS))

    def fill(self) -> None:
        """Write the start value of the sharpness."""
        nn.init.constant_(self.sharpness, _SHARPNESS)

    def forward(self, prompts: Prompts, words: nn.Embedding) -> Tensor:
        """(B, MOST_HOPS, F): log-probability of each fact to be the one that a hop finds."""
        subject, value = prompts.words[:, :, :NAME], prompts.words[:, :, -NAME:]
        about = (prompts.start[:, None] == subject).sum(-1).float()  # (B, F) equal tokens
        follows = (value[:, :, None] == subject[:, None]).sum(-1).float()  # (B, F, F)
        told = self.told(words(prompts.words[:, :, NAME]))
        wanted = self.wanted(words(prompts.asked)) @ told.transpose(1, 2) / math.sqrt(_WIDTH)  # (B, MOST_HOPS, F)
        found = []
        for hop in range(MOST_HOPS):
            score = (self.sharpness * about + wanted[:, hop]).masked_fill(~prompts.told, -1e9)
            found.append(score.log_softmax(-1))
            about = (found[-1].exp()[:, None] @ follows)[:, 0]
        return torch.stack(found, 1)

    def evidence(self, prompts: Prompts, words: nn.Embedding) -> Tensor:
        """(B, F): expected number of hops that find the fact."""
        found: Tensor = self(prompts, words)
        return (found.exp() * prompts.hops[:, :, None]).sum(1)
