"""Whole runs of our trainer and of TRL's on the same tiny policy, prompts and completions, with everything recorded.

`said` is the script of both: token ids from the prompt and the attempt alone. Plain gradient descent is the optimizer, so that
parameters are as far apart as the gradients are; nothing is clipped or shuffled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from tiny import gradients

from memagent.memory.memocr.loops import Loop
from memagent.types import Message, user_message
from memagent_training.engines import ScriptedEngine
from memagent_training.grpo.baselines import GroupMean
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.policy import PretrainedPolicy, TinyPolicy, build_policy
from memagent_training.rollouts.driver import seed_of

ALPHABET = "0123456789abcdefgh+="
END, FIRST = 1, 3
"""Ids: the end mark; the first character (pad, end and unknown come before)."""
LONGEST = 6
ALL_ROWS = {"entropy_coef": 1e-12}
"""An entropy bonus that is not felt, for which rows of advantage 0 go through the model too."""
TRL_MEAN = GroupMean(scale="group", eps=1e-4)


def policy(folder: Path | None = None) -> tuple[Any, Any]:
    """A tiny policy, always the same; with `folder` saved there and loaded, since TRL loads the reference model anew."""
    model, tokenizer, _ = build_policy(TinyPolicy(width=16, layers=1, heads=2, context=96), alphabet=ALPHABET, seed=5)
    if folder is None:
        return model, tokenizer
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    from accelerate import PartialState

    PartialState(cpu=True).wait_for_everyone()  # only the first process saves
    return build_policy(PretrainedPolicy(kind="pretrained", path=str(folder), dtype="float32"), alphabet="", seed=0)[:2]


def mixture_of_experts() -> tuple[Any, Any]:
    """A tiny policy of two layers with four experts each, of which every token goes to two."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    _, tokenizer = policy()
    torch.manual_seed(1)
    config = Qwen3MoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=96,
        router_aux_loss_coef=0.5,
        output_router_logits=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen3MoeForCausalLM(config), tokenizer


def rows(count: int = 8) -> list[dict[str, str]]:
    """Tasks with prompts of 2 to 5 characters."""
    return [{"id": f"t{at}", "prompt": f"{ALPHABET[at] * (1 + at % 4)}="} for at in range(count)]


def said(ids: Sequence[int], attempt: int, *, longest: int = LONGEST, even: bool = False) -> list[int]:
    """2 to `longest` characters; a third of them end by themselves. `even`: all as long as that, without an end."""
    length = longest if even else 2 + seed_of("length", *ids, attempt) % (longest - 1)
    tokens = [FIRST + seed_of(at, *ids, attempt) % len(ALPHABET) for at in range(length)]
    return [*tokens[:-1], END] if not even and seed_of("end", *ids, attempt) % 3 == 0 else tokens


def grade(text: str) -> float:
    """The share of digits."""
    return sum(one.isdigit() for one in text) / max(1, len(text))


class Graded(PlainBatches):
    """One question, graded; its only turn is graded too, so that credits by turn have something to do."""

    gives: Rewards = Rewards(ranges={"answer": (0.0, 1.0)}, turns=True)
    longest: int = LONGEST

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        reply = yield PolicyRequest((user_message(str(task["prompt"])),), max_tokens=self.longest, seed=seed)
        return EpisodeResult(
            rewards={"answer": grade(reply.text)}, turn_rewards=(-float(len(reply.text)),), correct=grade(reply.text) > 0.5
        )


class Talk(PlainBatches):
    """Three turns with a counterpart's words between them: one conversation, or with `roles` a segment for each turn."""

    gives: Rewards = Rewards(ranges={"answer": (0.0, 1.0)}, turns=True)

    def __init__(self, *, roles: Sequence[str] = ("turn",) * 3, turns: Callable[[Task], int] = lambda task: 3) -> None:
        self.roles = roles
        self.turns = turns

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        messages = [user_message(str(task["prompt"]))]
        for turn in range(self.turns(task)):
            reply = yield PolicyRequest(tuple(messages), max_tokens=3, seed=seed, role=self.roles[turn])
            messages += [Message(role="assistant", content=reply.text), user_message(f"+{turn}=")]
        said = "".join(message.text for message in messages[1:])
        turns = tuple(grade(message.text) for message in messages if message.role == "assistant")
        return EpisodeResult(rewards={"answer": grade(said)}, turn_rewards=turns, correct=grade(said) > 0.5)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Groups of given sizes; what `then` says is rolled out in a second round."""

    name: ClassVar[str] = "sizes"
    ragged: ClassVar[bool] = True
    sizes: Sequence[int]
    then: Sequence[int] = ()

    def first(self, prompts: Sequence[str], *, total: int, history: Any) -> list[int]:
        return list(self.sizes)

    def more(self, rewards: Sequence[Sequence[float]], *, priors: Sequence[float | None], bounds: Any) -> list[int] | None:
        asked_before = sum(map(len, rewards)) > sum(self.sizes)
        return None if asked_before or not self.then else list(self.then)

    def metrics(self, *, history: Any) -> dict[str, float]:
        return {}


@dataclass
class Run:
    """What a run did."""

    trainer: Any
    losses: list[float] = field(default_factory=list)
    """One for each micro-batch."""
    gradients: list[Any] = field(default_factory=list)
    """One for each optimizer step: all parameters as a vector."""
    batches: list[Any] = field(default_factory=list)
    """What `_generate_and_score_completions` returned."""
    logs: list[dict[str, float]] = field(default_factory=list)
    rolled: list[dict[str, dict[str, float]]] = field(default_factory=list)
    """For each batch of our trainer: the rewards of its rollouts by id."""

    @property
    def parameters(self) -> Any:
        """All of them as a vector."""
        import torch

        return torch.cat(
            [one.detach().flatten() for one in self.trainer.accelerator.unwrap_model(self.trainer.model).parameters()]
        )


def config(output: Path, **settings: Any) -> Any:
    """Plain gradient descent on the CPU: 2 prompts x 4 completions a window, one step."""
    from trl import GRPOConfig

    defaults: dict[str, Any] = {
        "output_dir": str(output),
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": LONGEST,
        "max_steps": 1,
        "learning_rate": 0.5,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": 3,
    }
    return GRPOConfig(**(defaults | settings))


def ours(
    output: Path, *, script: Any = said, objective: Any = None, model: Any = None, parts: Any = None, **settings: Any
) -> Run:
    """Train with our trainer; `script` None: sample from the policy. `parts` go to its constructor."""
    from datasets import Dataset

    from memagent_training.runs.checkpoints import attach
    from memagent_training.trainer import MemGRPOTrainer

    policy_, tokenizer = model or policy()
    options: dict[str, Any] = {"baseline": TRL_MEAN, "train_dataset": Dataset.from_list(rows())} | (parts or {})
    if script is not None:
        options["engine"] = ScriptedEngine(script=lambda prompt: script(prompt.ids, prompt.attempt))
    trainer = MemGRPOTrainer(
        policy_, objective=objective or Graded(), args=config(output, **settings), processing_class=tokenizer, **options
    )
    attach(trainer)
    return train(Run(trainer))


def stock(output: Path, *, script: Any = said, order: Any = None, model: Any = None, **settings: Any) -> Run:
    """Train with TRL's own; rows are cut into micro-batches in `order` (None: as they come), where TRL draws lots."""
    from datasets import Dataset
    from trl import GRPOTrainer

    def reward(completions: list[str], **_: Any) -> list[float]:
        return [grade(text) for text in completions]

    policy_, tokenizer = model or policy()
    trainer = GRPOTrainer(
        policy_,
        reward_funcs=reward,
        args=config(output, **settings),
        train_dataset=Dataset.from_list(rows()),
        processing_class=tokenizer,
    )

    def speak(prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        attempts: Counter[tuple[int, ...]] = Counter()
        completions = []
        for ids in map(tuple, prompt_ids):
            completions.append(script(ids, attempts[ids]))
            attempts[ids] += 1
        return completions, None

    def dealt(batch: dict[str, Any]) -> dict[str, Any]:
        import torch

        if order is None:
            return batch
        return {key: value[order] if torch.is_tensor(value) and value.ndim else value for key, value in batch.items()}

    if script is not None:
        trainer._generate_single_turn = speak
    with patch("trl.trainer.grpo_trainer.shuffle_sequence_dict", dealt):
        return train(Run(trainer))


def train(run: Run) -> Run:
    """Run it to the end and record what it does."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
            run.gradients.append(gradients(model))

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            run.logs.append(dict(logs))

    trainer = run.trainer
    step, generate = trainer.training_step, trainer._generate_and_score_completions

    def noted_step(*arguments: Any, **options: Any) -> Any:
        loss = step(*arguments, **options)
        run.losses.append(float(loss))
        return loss

    def noted_batch(inputs: Any) -> Any:
        batch = generate(inputs)
        run.batches.append(batch)
        run.rolled.append({rollout.id: rollout.rewards for rollout in getattr(trainer, "rollouts", [])})
        return batch

    trainer.training_step, trainer._generate_and_score_completions = noted_step, noted_batch
    trainer.add_callback(Recorder())
    for name in ("PrinterCallback", "ProgressCallback"):
        import transformers

        trainer.remove_callback(getattr(transformers, name))
    trainer.train()
    return run


def plan(run: Run) -> list[int]:
    """Which row (in the order they were rolled out) our trainer put at each place of its batch, by their tokens."""
    spoken = [(segment.prompt_ids, segment.ids) for one in run.trainer.rollouts for segment in one.segments]
    batch = run.batches[-1]
    places = []
    for at in range(len(batch["prompt_ids"])):
        prompt = tuple(batch["prompt_ids"][at][batch["prompt_mask"][at].bool()].tolist())
        ids = tuple(batch["completion_ids"][at][batch["completion_mask"][at].bool()].tolist())
        places.append(spoken.index((prompt, ids)))
    return places


def same(left: Run, right: Run, *, tolerance: float) -> None:
    """Losses, gradients of every window and final parameters agree."""
    import torch

    assert len(left.losses) == len(right.losses)
    assert left.losses == pytest.approx(right.losses, abs=tolerance, rel=tolerance)
    assert len(left.gradients) == len(right.gradients)
    for one, other in zip(left.gradients, right.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(left.parameters, right.parameters, atol=tolerance, rtol=tolerance)


def identical(left: Run, right: Run) -> None:
    """They agree in every bit."""
    import torch

    assert left.losses == right.losses
    assert len(left.gradients) == len(right.gradients)
    assert all(torch.equal(one, other) for one, other in zip(left.gradients, right.gradients, strict=True))
    assert torch.equal(left.parameters, right.parameters)
    assert all(
        torch.equal(one["advantages"], other["advantages"]) for one, other in zip(left.batches, right.batches, strict=True)
    )
