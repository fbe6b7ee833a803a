"""A batch with nothing to train on must move nothing: not by weight decay, not by what Adam remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from memagent_training.trainer import MemGRPOTrainer


class SkipEmptyBatches(TrainerCallback):  # type: ignore[misc]
    """Takes the gradients away before an optimizer step of an empty batch: optimizers pass over parameters without one."""

    def __init__(self, trainer: MemGRPOTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called after gradient clipping, before the step."""
        if self.trainer.skip_update and self.trainer.optimizer is not None:
            self.trainer.optimizer.zero_grad(set_to_none=True)
