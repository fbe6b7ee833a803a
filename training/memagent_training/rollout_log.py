"""`rollouts.jsonl`: one line for each rollout that was trained on, enough to recompute every statistic of a run.

A line holds step, prompt, group, rewards, whether it was correct and valid, the answer and the tokens sampled. Like the
metrics, a resumed run first takes off what its killed predecessor wrote beyond the checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from memagent_training.grpo.rollout import Rollout
from memagent_training.monitor import keep_until

if TYPE_CHECKING:
    from memagent_training.trainer import MemGRPOTrainer


class RolloutLog(TrainerCallback):  # type: ignore[misc]
    """Writes the rollouts of `trainer` to `rollouts.jsonl` in `folder`."""

    def __init__(self, trainer: MemGRPOTrainer, folder: Path) -> None:
        self.trainer = trainer
        self.path = folder / "rollouts.jsonl"
        self._written: list[Rollout] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what a killed run wrote beyond its checkpoint."""
        if state.is_world_process_zero:
            keep_until(self.path, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the batch that this optimizer step was the first to use. `step` is that step."""
        rollouts = self.trainer.rollouts
        if rollouts is self._written or not state.is_world_process_zero:
            return
        self._written = rollouts
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"step": state.global_step, **_line(one)}, ensure_ascii=False) + "\n" for one in rollouts
            )


def _line(rollout: Rollout) -> dict[str, object]:
    return {
        "prompt_id": rollout.prompt_id,
        "group_id": rollout.group_id,
        "id": rollout.id,
        "rewards": rollout.rewards,
        "correct": rollout.correct,
        "valid": rollout.valid,
        "answer": rollout.answer,
        "tokens": sum(segment.trained for segment in rollout.segments),
    }
