"""Trainers of random policies that read pages, for checks on a machine with a GPU: `training/scripts/gpu_check.py`.

A policy is asked in text, about one picture and about two, so that whatever is measured is there by role.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from memagent.memory.memocr.loops import Loop
from memagent.types import ImagePart, user_message
from memagent_renderers import Budget, PatchPricing, ReaderProfile, render
from memagent_training.engines import ScriptedEngine, VllmEngine
from memagent_training.engines.base import Prompt
from memagent_training.estimate import ModelShape
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.policy import PretrainedPolicy, build_policy
from memagent_training.rollouts.driver import seed_of
from memagent_training.testing.model_llm import ModelLLM
from memagent_training.testing.random_vl import random_qwen_vl
from memagent_training.testing.vllm_llm import vllm_installed
from memagent_training.testing.vllm_rule import Eye
from memagent_training.trainer import MemGRPOTrainer

CELL = 28
"""Side in px of what one visual token shows."""
LANGUAGE = ["q_proj", "k_proj", "v_proj", "o_proj"]
"""Modules that the vision tower has under other names."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large everything is: `small` is compared, `large` is trained for its memory and time."""

    small: ModelShape
    large: ModelShape
    tower: tuple[int, int]
    """Width and layers of both vision towers."""
    letters: int
    """Of a question, each a token."""
    reply: int
    """Most tokens of an answer."""
    page: int
    """Visual tokens of a picture, at most."""
    budget: int
    """Tokens of one forward pass of `large`."""
    syncs: int
    """Times that adapters are sent."""


_SMALL = ModelShape(layers=4, hidden=512, intermediate=1024, heads=4, kv_heads=2, head_size=128, vocabulary=1, tied=False)
_LARGE = replace(_SMALL, layers=16, hidden=2048, intermediate=8192, heads=16, kv_heads=4, vocabulary=32_768)
_TINY = ModelShape(layers=2, hidden=32, intermediate=64, heads=2, kv_heads=1, head_size=16, vocabulary=1, tied=False)
FULL = Sizes(small=_SMALL, large=_LARGE, tower=(320, 4), letters=1200, reply=128, page=256, budget=8192, syncs=100)
SMALL = Sizes(small=_TINY, large=_TINY, tower=(16, 2), letters=24, reply=8, page=16, budget=400, syncs=20)


class Pages(PlainBatches):
    """A question in text, about one picture, and about two; an answer earns its share of letters."""

    gives = Rewards(ranges={"answer": (0.0, 1.0)}, several=True)
    roles = ("text", "one_picture", "two_pictures")
    reader = ReaderProfile(name="random", sees_images=True, pricing=PatchPricing(cell=CELL))

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def request(self, problem: str, pictures: int, *, seed: int = 0) -> PolicyRequest:
        """A question about so many pictures."""
        shown = [
            ImagePart(data=render(f"# {at}\n{problem}", Budget(self.sizes.page // (1 + at), self.reader)).png)
            for at in range(pictures)
        ]
        message = user_message(problem, *shown)
        return PolicyRequest((message,), max_tokens=self.sizes.reply, role=self.roles[pictures], seed=seed)

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        """One question of each kind."""
        grades = []
        for pictures in range(3):
            reply = yield self.request(str(task["prompt"]), pictures, seed=seed)
            grades.append(sum(one.isalpha() for one in reply.text) / max(1, len(reply.text)))
        return EpisodeResult(rewards={"answer": fmean(grades)}, correct=grades[0] > 0.5)


def questions(sizes: Sizes) -> list[dict[str, str]]:
    """Two prompts of unlike lengths."""
    text = "what is on the page? " * sizes.letters
    return [{"id": str(at), "prompt": f"{at} {text}"[: sizes.letters // (1 + at)]} for at in range(2)]


def spoken(prompt: Prompt, *, longest: int) -> list[int]:
    """Characters by prompt and attempt, at least half as many as there may be."""
    key = seed_of(*prompt.ids, prompt.attempt)
    return [seed_of(key, at) % 90 for at in range(longest // 2 + key % (longest // 2))]


class NotRun(Exception):
    """Why a check cannot be made on this machine."""


@dataclass(eq=False)
class Bench:
    """Sizes, a folder, and a trainer with a sampler that is set up once for all who ask."""

    sizes: Sizes
    folder: Path
    cpu: bool
    stand_in: bool
    stack: ExitStack = field(default_factory=ExitStack)
    _sampling: MemGRPOTrainer | Exception | None = None

    @property
    def device(self) -> torch.device:
        """Where models live."""
        return torch.device("cpu" if self.cpu else "cuda")

    def model(self, shape: ModelShape) -> tuple[Any, Any]:
        """A policy of random weights, always the same, and its processor."""
        width, layers = self.sizes.tower
        with self.device:
            return random_qwen_vl(shape, tower_width=width, tower_layers=layers)

    def saved(self) -> Path:
        """The small policy in a folder."""
        folder = self.folder / "start"
        if not folder.exists():
            model, processing = self.model(self.sizes.small)
            model.save_pretrained(folder)
            processing.save_pretrained(folder)
            processing.image_processor.save_pretrained(folder)  # the file that vLLM reads
        return folder

    def trainer(self, name: str, policy: tuple[Any, Any], *, parts: dict[str, Any], **settings: Any) -> MemGRPOTrainer:
        """A trainer of two questions with four attempts each."""
        from datasets import Dataset
        from trl import GRPOConfig

        defaults = {
            "output_dir": str(self.folder / name),
            "use_cpu": self.cpu,
            "bf16": False,
            "activation_checkpointing": False,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": self.sizes.reply,
            "max_steps": 1,
            "learning_rate": 1e-4,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }
        model, processing = policy
        trainer = MemGRPOTrainer(
            model,
            objective=Pages(self.sizes),
            args=GRPOConfig(**defaults | settings),
            train_dataset=Dataset.from_list(questions(self.sizes)),
            processing_class=processing,
            **parts,
        )
        for one in [one for one in trainer.callback_handler.callbacks if type(one).__name__ == "PrinterCallback"]:
            trainer.remove_callback(one)
        return trainer

    def scripted(self, name: str, policy: tuple[Any, Any], *, parts: dict[str, Any], **settings: Any) -> MemGRPOTrainer:
        """A trainer whose rollouts are written down beforehand."""
        engine = ScriptedEngine(script=partial(spoken, longest=self.sizes.reply))
        return self.trainer(name, policy, parts={"engine": engine} | parts, **settings)

    def sampling(self) -> MemGRPOTrainer:
        """A trainer of adapters with vLLM, or what stands in for it, in this process. Raises `NotRun`, or what went wrong."""
        if self._sampling is None:
            try:
                self._sampling = self._with_vllm()
            except Exception as error:
                self._sampling = error
        if isinstance(self._sampling, Exception):
            raise self._sampling
        return self._sampling

    def _with_vllm(self) -> MemGRPOTrainer:
        from peft import LoraConfig

        engine = VllmEngine(max_gap=1e9)
        if not self.stand_in and engine.available() is not None:
            raise NotRun("vLLM is not installed")
        start = PretrainedPolicy(
            kind="pretrained", path=str(self.saved()), vision=True, dtype="float32" if self.cpu else "bfloat16"
        )
        model, processing, _ = build_policy(start, alphabet="", seed=0)
        if self.stand_in:
            copy = build_policy(start, alphabet="", seed=0)[0]
            eye = Eye(image_id=model.config.image_token_id, cell=CELL)
            self.stack.enter_context(vllm_installed(ModelLLM, model=copy, processing=processing, eye=eye))
        lora = LoraConfig(r=8, target_modules=LANGUAGE, init_lora_weights=False, task_type="CAUSAL_LM")
        return self.trainer(
            "vllm",
            (model, processing),
            parts={"engine": engine, "peft_config": lora},
            bf16=not self.cpu,
            use_vllm=True,
            vllm_mode="colocate",
            vllm_gpu_memory_utilization=0.2,
            vllm_max_model_length=4096,
            vllm_enable_sleep_mode=True,
            vllm_importance_sampling_correction=False,
        )
