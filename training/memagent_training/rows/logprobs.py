"""Log-probabilities that a batch carries into its updates: of the policy before them, of the reference, of the sampler.

The ratio of PPO is taken against the policy before the updates, by a forward pass of the trainer (`trainer`), times TRL's
correction of that pass for the sampler where it is on; or against what the sampler said when it sampled (`sampler`), which
costs no pass and corrects for the sampler by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from memagent.errors import ConfigError
from memagent_training.grpo.importance import importance_ratio
from memagent_training.rollouts.failures import from_all
from memagent_training.rows.batch import Batch

Old = Literal["trainer", "sampler"]
"""Whose log-probabilities the ratio is taken against."""


def add_logprobs(trainer: Any, batch: Batch, sizes: Sequence[int]) -> None:
    """Add to `batch`, which goes through the model in parts of `sizes` rows, what the loss of `trainer` needs.

    Raises `ConfigError` where the sampler's log-probabilities are needed and there are none.
    """
    generate_every = trainer.args.steps_per_generation * trainer.num_iterations
    corrected = trainer.use_vllm and trainer.vllm_importance_sampling_correction
    with torch.no_grad(), disable_gradient_checkpointing(trainer.model, trainer.args.gradient_checkpointing_kwargs):
        if trainer.old == "sampler":
            batch["old_per_token_logps"] = _sampled(trainer, batch, sizes)
        elif trainer.args.gradient_accumulation_steps % generate_every != 0 or corrected:
            batch["old_per_token_logps"] = trainer._logps(trainer.model, batch, sizes)
        if corrected:
            batch["importance_sampling_ratio"] = importance_ratio(
                batch["old_per_token_logps"],
                _scores(trainer, batch),
                _trained(batch),
                mode=trainer.vllm_importance_sampling_mode,
                low=trainer.vllm_importance_sampling_clip_min,
                high=trainer.vllm_importance_sampling_clip_max,
            )
        if trainer.beta != 0.0 and trainer.ref_model is not None:
            batch["ref_per_token_logps"] = trainer._logps(trainer.ref_model, batch, sizes)
        elif trainer.beta != 0.0:
            policy = trainer.accelerator.unwrap_model(trainer.model)
            with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
                batch["ref_per_token_logps"] = trainer._logps(trainer.model, batch, sizes)


def _sampled(trainer: Any, batch: Batch, sizes: Sequence[int]) -> torch.Tensor:
    """What the sampler said (B, T); tokens without a score count as equal, so a pass is run where any process has one."""
    scores = _scores(trainer, batch)
    unscored = scores.isnan() & _trained(batch).bool()
    counts = from_all(int(unscored.sum()))
    trainer._log_batch({"sampler/unscored": float(sum(counts))})
    if any(counts):
        scores = torch.where(unscored, trainer._logps(trainer.model, batch, sizes), scores)
    return scores.nan_to_num(nan=0.0)  # what is left is in no loss


def _trained(batch: Batch) -> torch.Tensor:
    """(B, T), 1 = in the loss."""
    trained: torch.Tensor = batch["completion_mask"] * batch.get("tool_mask", 1)
    return trained


def _scores(trainer: Any, batch: Batch) -> torch.Tensor:
    if "sampling_per_token_logps" not in batch:
        raise ConfigError(
            f"engine `{trainer.engine.name}` gave no log-probabilities to correct for; use engine `vllm` or `http`, or set "
            'vllm_importance_sampling_correction = false and loss.old = "trainer"'
        )
    scores: torch.Tensor = batch["sampling_per_token_logps"]
    return scores
