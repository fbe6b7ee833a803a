"""A trainer around an engine, and pictures to show it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image
from scripted_runs import Graded, config, rows

from helpers.checkpoints import tiny_llama
from memagent_training.trainer import MemGRPOTrainer


def trainer_of(
    folder: Path, *, model: Any = None, engine: Any = None, peft_config: Any = None, **settings: Any
) -> MemGRPOTrainer:
    from datasets import Dataset

    policy, processing = model or tiny_llama()
    return MemGRPOTrainer(
        policy,
        objective=Graded(),
        args=config(folder, **settings),
        train_dataset=Dataset.from_list(rows()),
        processing_class=processing,
        engine=engine,
        peft_config=peft_config,
    )


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()
