"""What may follow: the grammar of drafts as a function of token ids alone, for whole batches.

After `memory:` come `quota` lines of ten tokens: a tier (free), the mark of a fact that has not been written (free), the fact's
seven words and a full stop (forced). Then the end. The model puts this mask on its own logits, so that its softmax is the
distribution that drafts are sampled from: a forced token has log-probability 0 and no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.experiments.memocr.vocabulary import DRAFT, END, ID, LINE, MARK_IDS, STOP, TIER_IDS, TOKENS, WORDS

_TIERS, _MARKS = torch.tensor(TIER_IDS), torch.tensor(MARK_IDS)
_FIRST_MARK = MARK_IDS[0]


@dataclass(frozen=True)
class Places:
    """Where things stand in a batch of token ids (B, L). F is the number of marks of the vocabulary."""

    since: Tensor
    """(B, L) position minus that of `memory:`; negative within prompts. A row without it is all prompt."""
    blocks: Tensor
    """(B, F) position of each fact's mark in the prompt; 0 where the world has no such fact."""
    told: Tensor
    """(B, F) whether the world has the fact."""


def places(ids: Tensor) -> Places:
    """Find the parts of prompts and drafts."""
    at = torch.arange(ids.shape[1])
    start = torch.where(ids == ID[DRAFT], at, ids.shape[1]).amin(1)  # (B,)
    since = at[None] - start[:, None]
    number = ids - _FIRST_MARK
    mark = (number >= 0) & (number < len(MARK_IDS)) & (since < 0)  # (B, L)
    row, place = mark.nonzero(as_tuple=True)
    blocks = torch.zeros(ids.shape[0], len(MARK_IDS), dtype=torch.long)
    told = torch.zeros_like(blocks, dtype=torch.bool)
    blocks[row, number[row, place]] = place
    told[row, number[row, place]] = True
    return Places(since, blocks, told)


def written(ids: Tensor, found: Places) -> Tensor:
    """(B, L, F): which facts the draft has written up to and with each position."""
    chosen = (found.since % LINE == 2) & (found.since > 0)
    hits = chosen[:, :, None] & (ids[:, :, None] == _MARKS)
    return hits.cumsum(1) > 0


def allowed(ids: Tensor, *, quota: int) -> Tensor:
    """(B, L, V): the tokens that may follow each position. Within prompts all may: they are given, not sampled."""
    found = places(ids)
    since = found.since
    line, state = since.clamp(min=0) // LINE, since.clamp(min=0) % LINE
    may = torch.zeros(*ids.shape, len(TOKENS), dtype=torch.bool)
    may[since < 0] = True
    drafting = (since >= 0) & (line < quota)
    may[(since >= 0) & (line >= quota)] = _only(END)
    may[drafting & (state == 0)] = torch.zeros(len(TOKENS), dtype=torch.bool).index_fill(0, _TIERS, True)
    row, at = (drafting & (state == 1)).nonzero(as_tuple=True)
    free = found.told[row] & ~written(ids, found)[row, at]  # (N, F)
    may[row[:, None], at[:, None], _MARKS] = free
    row, at = (drafting & (state >= 2) & (state < LINE - 1)).nonzero(as_tuple=True)
    offset = state[row, at] - 2
    fact = ids[row, at - offset] - _FIRST_MARK
    may[row, at, ids[row, found.blocks[row, fact.clamp(0, len(MARK_IDS) - 1)] - WORDS + offset]] = True
    may[drafting & (state == LINE - 1)] = _only(STOP)
    return may


def _only(token: str) -> Tensor:
    one = torch.zeros(len(TOKENS), dtype=torch.bool)
    one[ID[token]] = True
    return one
