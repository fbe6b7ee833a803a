"""Correcting for a sampler that is not quite the policy: importance weights of the policy against vLLM's log-probabilities.

Four ways in two choices: a weight for each token or for each sequence (the product over its tokens), and weights outside
[low, high] are cut to the bound (`truncate`) or set to 0 (`mask`). Tokens that the sampler gave no score (NaN) count as
equal. The forms are those of TRL, whose trainer multiplies them into the loss.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from memagent.errors import InputError

if TYPE_CHECKING:
    import torch

MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")


def importance_ratio(
    policy: torch.Tensor,
    sampler: torch.Tensor,
    mask: torch.Tensor,
    *,
    mode: str = "token_truncate",
    low: float | None = None,
    high: float | None = None,
) -> torch.Tensor:
    """Weights (B, T), or (B, 1) for the sequence modes.

    `policy` and `sampler` are log-probabilities (B, T), `mask` (B, T) is 1 where a token counts. Raises `InputError` for an
    unknown mode.
    """
    import torch

    if mode not in MODES:
        raise InputError(f"importance mode `{mode}` is unknown; one of: {', '.join(MODES)}")
    gap = torch.nan_to_num((policy - sampler) * mask, nan=0.0)
    if mode.startswith("sequence"):
        gap = gap.sum(dim=-1, keepdim=True)
    ratio = torch.exp(gap)
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    if mode.endswith("truncate"):
        return ratio.clamp(min=least, max=most)
    return ratio.masked_fill((ratio < least) | (ratio > most), 0.0)
