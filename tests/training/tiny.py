"""Stock trainers and batches for tests, on the tiny policies of `helpers.checkpoints`.

Imports of torch, transformers and trl happen inside the functions, so that tests of the pure core import this file freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.checkpoints import tiny_llama


def count_digits(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
    """A reward that differs between random completions: the share of digits (the first ten tokens) in each."""
    return [sum(token < 10 for token in ids) / max(1, len(ids)) for ids in completion_ids]


def stock_trainer(
    output: Path, *, model: Any = None, processing: Any = None, rewards: Any = count_digits, rows: Any = None, **settings: Any
) -> Any:
    """TRL's own `GRPOTrainer` on the CPU, float32, silent: 4 rows a micro-batch, groups of 2, 6 new tokens at most."""
    import datasets
    from trl import GRPOConfig, GRPOTrainer

    if model is None:
        model, processing = tiny_llama()
    defaults: dict[str, Any] = {
        "output_dir": str(output),
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 6,
        "max_steps": 1,
        "learning_rate": 1e-3,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "seed": 3,
    }
    data = datasets.Dataset.from_list(rows or [{"prompt": f"{left}+{right}="} for left in range(4) for right in range(4)])
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=GRPOConfig(**(defaults | settings)),
        train_dataset=data,
        processing_class=processing,
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps  # set by `train` otherwise
    trainer.model.train()
    return trainer


def scripted_batch(completions: Sequence[Sequence[int]], advantages: Sequence[float], *, prompts: Any = None) -> dict[str, Any]:
    """What `_generate_and_score_completions` returns, for rows given as token ids; prompts are `[1, 2]` if not given."""
    import torch

    prompts = prompts or [[1, 2]] * len(completions)
    before, wide = max(map(len, prompts)), max(map(len, completions))
    return {
        "prompt_ids": torch.tensor([[0] * (before - len(row)) + list(row) for row in prompts]),
        "prompt_mask": torch.tensor([[0] * (before - len(row)) + [1] * len(row) for row in prompts]),
        "completion_ids": torch.tensor([list(row) + [0] * (wide - len(row)) for row in completions]),
        "completion_mask": torch.tensor([[1] * len(row) + [0] * (wide - len(row)) for row in completions]),
        "advantages": torch.tensor(advantages, dtype=torch.float32),
        "num_items_in_batch": torch.tensor(sum(map(len, completions))),
    }


def gradients(model: Any) -> Any:
    """All gradients of a model as one vector; a weight without a gradient counts as zeros."""
    import torch

    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
