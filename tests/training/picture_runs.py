"""Runs of tiny policies that see: drafts, pages drawn from them during the rollout, three readings; also in processes.

RANK=0 WORLD_SIZE=2 ... python picture_runs.py FOLDER       # one of the processes of `worker`
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from helpers.checkpoints import GENERATIONS, tiny_qwen_vl
from scripted_runs import Run, grade, ours

from memagent.memory.memocr.loops import Loop
from memagent.types import ImagePart, user_message
from memagent_renderers import Budget, PatchPricing, ReaderProfile, render
from memagent_training.engines import GenerateEngine, ScriptedEngine
from memagent_training.engines.base import Prompt
from memagent_training.grpo.credit import MemocrCredit
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.rollouts.driver import seed_of
from memagent_training.run import shutdown

CASES = [(generation, shown) for generation in GENERATIONS for shown in ("onet0", "all")]
"""Generations of the model, and whether one task's first page is shown or every page."""
READINGS = (("std", 8), ("augM", 4), ("augQ", 6))


def reader(generation: str) -> ReaderProfile:
    return ReaderProfile(name="tiny", sees_images=True, pricing=PatchPricing(cell=32 if generation == "3" else 28))


class PictureMemory(PlainBatches):
    """A draft in text, drawn for three budgets and read three times. Tasks that `look` refuses are read without a picture."""

    gives: Rewards = Rewards(ranges=dict.fromkeys(("std", "augM", "augQ"), (0.0, 1.0)), several=True)

    def __init__(self, generation: str, *, look: Callable[[Task, int], bool] = lambda task, number: True) -> None:
        self.reader = reader(generation)
        self.look = look

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        problem = str(task["prompt"])
        draft = yield PolicyRequest((user_message(problem),), max_tokens=5, role="draft", seed=seed)
        rewards = {}
        for number, (role, tokens) in enumerate(READINGS):
            page = render(f"# {draft.text}\n{problem} {number}", Budget(tokens, self.reader))
            assert page.tokens <= tokens
            seen = [ImagePart(data=page.png)] if self.look(task, number) else []
            reply = yield PolicyRequest((user_message(f"{problem}?", *seen),), max_tokens=4, role=role, seed=seed)
            rewards[role] = grade(reply.text)
        return EpisodeResult(rewards=rewards, correct=rewards["std"] > 0.5)


def speak(prompt: Prompt) -> list[int]:
    """Six tokens that no other picture, prompt or attempt gets."""
    key = seed_of(*prompt.ids, prompt.images, prompt.attempt)
    return [seed_of(key, at) % 40 for at in range(6)]


def learn(output: Path, generation: str, *, model: Any = None, parts: Any = None, **settings: Any) -> Run:
    options = {"credit": MemocrCredit(), "engine": GenerateEngine()} | (parts or {})
    model = model or tiny_qwen_vl(generation)
    objective = options.pop("objective", None) or PictureMemory(generation)
    return ours(output, script=None, objective=objective, model=model, parts=options, **{"max_steps": 2} | settings)


def in_tower(model: Any) -> Any:
    """Which entries of the vector of all parameters belong to the vision tower."""
    return torch.cat([torch.full((one.numel(),), "visual" in name) for name, one in model.named_parameters()])


def tower_learns(run: Run, before: Any) -> None:
    """Every update has gradients in the vision tower and in the language part, all finite, and both move."""
    tower = in_tower(run.trainer.model)
    for gradient in run.gradients:
        assert torch.isfinite(gradient).all()
        assert gradient[tower].abs().max() > 0
        assert gradient[~tower].abs().max() > 0
    moved = (run.parameters - before).abs()
    assert moved[tower].max() > 0
    assert moved[~tower].max() > 0


def flat(model: Any) -> Any:
    return torch.cat([one.detach().flatten().clone() for one in model.parameters()])


def scripted(output: Path, generation: str, shown: str, *, world: int = 1) -> Run:
    """A run with scripted replies, as one of so many processes."""
    looks = {"one": lambda task, number: task["id"] == shown[3:] and number == 0, "all": lambda task, number: True}
    objective = PictureMemory(generation, look=looks[shown[:3]])
    return learn(
        output,
        generation,
        parts={"objective": objective, "engine": ScriptedEngine(script=speak)},
        per_device_train_batch_size=8 // world,
        dataloader_num_workers=0,
    )


def worker(output: Path, world: int) -> None:
    """One of the processes of every case; the first writes down what came out."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for generation, shown in CASES:
        run = scripted(output / f"{generation}-{shown}", generation, shown, world=world)
        if run.trainer.accelerator.is_main_process:
            torch.save({"parameters": run.parameters, "gradients": run.gradients}, output / f"{generation}-{shown}.pt")
        last = run.trainer
        del run
    shutdown(last)
    assert not gloo_threads(), "threads that outlive the group can abort the process"


def gloo_threads() -> list[str]:
    """Threads of this process that serve a process group."""
    names = [(thread / "comm").read_text() for thread in Path("/proc/self/task").glob("*")]
    return [name for name in names if "gloo" in name]


if __name__ == "__main__":
    worker(Path(sys.argv[1]), int(os.environ["WORLD_SIZE"]))
