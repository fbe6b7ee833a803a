"""The load balance of a mixture of experts, over a micro-batch that goes through the model in parts.

The auxiliary loss of a batch is E sum_e f_e P_e: f_e the share of its tokens that went to expert e, P_e the mean probability
that the router gave e, both over all layers and all tokens but padding (Switch Transformer, arXiv 2101.03961, equations 4-6). A
product of two means is not the mean of the products of parts. But only P_e has a gradient: so the parts are first asked for
their f_e, without gradients, and then each adds E sum_e f_e P_e with the f_e of all of them and its own share of P_e.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Loads:
    """How the tokens of some rows were routed, summed over layers."""

    chosen: Tensor
    """(E,) tokens that went to each expert."""
    likely: Tensor
    """(E,) the router's probabilities, summed; with gradient."""
    tokens: Tensor
    """() tokens, counted once a layer."""


def loads(gates: Sequence[Tensor], experts: int, top_k: int, mask: Tensor | None) -> Loads:
    """From each layer's router logits (B x S, E) and the mask of tokens (B, S), 0 = padding; None: all are tokens."""
    chosen, likely, tokens = (torch.zeros(size, device=gates[0].device) for size in ((experts,), (experts,), ()))
    for gate in gates:
        probabilities = gate.softmax(dim=-1)  # (B x S, E)
        counted = torch.ones(len(gate), device=gate.device) if mask is None else mask.reshape(-1).to(gate.device, torch.float32)
        best = probabilities.topk(top_k, dim=-1).indices.reshape(-1)  # (B x S x top_k,)
        chosen = chosen.scatter_add(0, best.to(chosen.device), counted.repeat_interleave(top_k).to(chosen.device))
        likely = likely + (probabilities.float() * counted.unsqueeze(-1)).sum(0).to(likely.device)
        tokens = tokens + counted.sum().to(tokens.device)
    return Loads(chosen=chosen, likely=likely, tokens=tokens)


@contextmanager
def balanced_over(trainer: Any, model: Any, parts: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Inside, the auxiliary losses of parts add up to that of all of them, in value and gradient; they are logged as one.

    `parts` are the inputs of TRL's pass for log-probabilities.

    Costs one forward pass of all parts where a model has such a loss, and nothing where it has none.
    """
    if len(parts) < 2 or not trainer.aux_loss_enabled:
        yield
        return
    seen: list[Loads] = []

    def noted(gates: Sequence[Tensor], experts: int, top_k: int, mask: Tensor | None = None) -> Tensor:
        seen.append(loads(gates, experts, top_k, mask))
        return seen[-1].tokens

    with _loss_function(noted), torch.no_grad():
        for part in parts:
            trainer._get_per_token_logps_and_entropies(model, **part, compute_aux_loss=True)
    chosen, tokens = sum(one.chosen for one in seen), sum(one.tokens for one in seen)

    def share(gates: Sequence[Tensor], experts: int, top_k: int, mask: Tensor | None = None) -> Tensor:
        return experts * (chosen / tokens * loads(gates, experts, top_k, mask).likely / tokens).sum()

    told = trainer._metrics["train" if model.training else "eval"]["aux_loss"]
    before = len(told)
    with _loss_function(share):
        yield
    told[before:] = [sum(told[before:])]


@contextmanager
def _loss_function(function: Any) -> Iterator[None]:
    """TRL takes every family's auxiliary loss from this one place."""
    from transformers.models.mixtral import modeling_mixtral

    theirs = modeling_mixtral.load_balancing_loss_func
    modeling_mixtral.load_balancing_loss_func = function
    try:
        yield
    finally:
        modeling_mixtral.load_balancing_loss_func = theirs
