"""The rows of a part as one sequence without padding.

The tokens of all rows stand end to end in a sequence (1, N). No attention mask is given: transformers sees where a position is
no successor of the one before and lets no row see another, by a mask of blocks (sdpa, eager) or by the lengths of the rows
(FlashAttention). Qwen-VL models have positions of three rows, which repeat and jump within a picture and say nothing of where
a row ends; a fourth one before them does. With the usual three, rows see each other and nothing fails.
Rows come in and scores go out in TRL's form, so that its loss is one for both layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from memagent.errors import ConfigError


def check_rows_stay_apart(model: Any) -> None:
    """Raises `ConfigError` for a model that would carry one row over into the next."""
    if getattr(model, "_is_stateful", False):
        kind = model.config.model_type
        raise ConfigError(
            f'a {kind} carries a state from token to token, also from one row to the next; use rows.layout = "padded"'
        )


def positions(policy: Any, ids: torch.Tensor, mask: torch.Tensor, pictures: Mapping[str, Any]) -> torch.Tensor:
    """Positions of the tokens of all rows, end to end: (1, N), or (4, 1, N) where the model has those of pictures.

    `ids` and `mask` are of shape (B, L), 1 = real token; `pictures` may hold `image_grid_thw` and `mm_token_type_ids`.
    """
    rows = (mask.cumsum(-1) - 1)[mask.bool()][None]  # (1, N): 0, 1, ... in each row
    spatial_of = getattr(getattr(policy, "model", None), "get_rope_index", None)
    if spatial_of is None:
        return rows
    kinds = pictures.get("mm_token_type_ids")
    spatial, _ = spatial_of(
        ids,
        mm_token_type_ids=torch.zeros_like(ids) if kinds is None else kinds,
        image_grid_thw=pictures.get("image_grid_thw"),
        attention_mask=mask,
    )  # (3, B, L), each row from 0
    return torch.cat([rows[None], spatial[:, mask.bool()][:, None]])


def packed_scores(
    model: Any,
    policy: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    *,
    completion: int,
    pictures: Mapping[str, Any],
    aux_loss: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Log-probabilities and entropies (B, T) of the last `completion` columns, 0 where `mask` is 0, and the balance of experts.

    `model` is called, `policy` is what is wrapped in it. The entropy is None where the model's head was told to leave it out.
    """
    real = mask.bool()  # (B, L)
    labels = ids.masked_fill(~real, -100)
    labels[:, :-completion] = -100
    inputs: dict[str, Any] = {"input_ids": ids[real][None], "position_ids": positions(policy, ids, mask, pictures)}
    inputs |= {key: pictures[key] for key in ("pixel_values", "image_grid_thw") if pictures.get(key) is not None}
    if aux_loss:
        inputs["output_router_logits"] = True
    outputs = model(**inputs, labels=labels[real][None], fused_lm_head=True)

    def by_row(scores: torch.Tensor) -> torch.Tensor:
        """(1, N - 1), each for the token after it, as (B, T)."""
        first = scores.new_zeros(1)
        whole = scores.new_zeros(real.shape).masked_scatter(real, torch.cat([first, scores[0]]))
        return whole[:, -completion:]

    entropy = None if outputs.entropy is None else by_row(outputs.entropy)
    return by_row(outputs.log_probs), entropy, outputs.aux_loss
