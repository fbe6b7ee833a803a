"""Samples with the model's own `generate`: no server, no copy of the weights; what the tests and laptops use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

from memagent.errors import ConfigError
from memagent_training.engines.base import Completion, PolicyHost, Prompt, WithoutTrlsVllm


@dataclass(kw_only=True)
class GenerateEngine(WithoutTrlsVllm):
    """transformers' `generate` on the policy, in chunks of `chunk` conversations (None: all at once)."""

    name: ClassVar[str] = "generate"
    scores: ClassVar[bool] = False
    """It gives no log-probabilities: the trainer's own are those it sampled with."""
    chunk: int | None = None
    _host: PolicyHost = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise ConfigError(
                f"engine.chunk is a number of conversations, 1 or more, not {self.chunk}; leave it out for all at once"
            )

    def start(self, host: PolicyHost) -> None:
        """Keep hold of the policy. Raises as `check` does."""
        self.check(use_vllm=host.use_vllm, adapters=False)
        self._host = host

    def batch(self, version: int) -> AbstractContextManager[None]:
        """Nothing to set up: the policy itself samples."""
        return nullcontext()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """Sample every prompt. Neither reads nor moves the process's random state."""
        import torch
        from trl.models import unwrap_model_for_generation

        host, chunks = self._host, self._chunks(prompts)
        completions: list[Completion] = []
        devices = [host.accelerator.device] if host.accelerator.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices=devices),
            torch.no_grad(),
            unwrap_model_for_generation(
                host.model_wrapped,
                host.accelerator,
                gather_deepspeed3_params=host.args.ds3_gather_for_generation,
                generation_kwargs=host.generation_kwargs,
                gradient_checkpointing_kwargs=host.args.gradient_checkpointing_kwargs,
            ) as model,
            host._dist.summon_full_params(host.model_wrapped, recurse=False),
        ):
            torch.manual_seed(seed)
            for chunk in chunks:
                completions += self._sample(model, chunk)
        return completions[: len(prompts)]

    def _chunks(self, prompts: Sequence[Prompt]) -> list[Sequence[Prompt]]:
        """As many chunks on every process: sharded models need all of them in every forward pass."""
        size = self.chunk or max(1, len(prompts))
        chunks: list[Sequence[Prompt]] = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        most = self._host.all_reduce_max(len(chunks))
        filler = Prompt(ids=(self._host.policy_tokenizer.pad_id,), max_tokens=1)
        return chunks + [[filler]] * (most - len(chunks))

    def _sample(self, model: Any, prompts: Sequence[Prompt]) -> list[Completion]:
        import torch
        from transformers import GenerationConfig

        host = self._host
        inputs = host.policy_tokenizer.tensors(prompts, device=host.accelerator.device)
        width = inputs["input_ids"].shape[1]
        config = GenerationConfig(
            **{**host.generation_config.to_diff_dict(), "max_new_tokens": max(prompt.max_tokens for prompt in prompts)}
        )
        ids = model.generate(**inputs, generation_config=config)[:, width:]  # (B, T)
        ends = torch.isin(ids, torch.tensor(host.eos_token_ids, device=ids.device))
        first = torch.where(ends.any(1), ends.int().argmax(1), ids.shape[1]).tolist()
        said = []
        for row, end, prompt in zip(ids.tolist(), first, prompts, strict=True):
            kept = tuple(row[: min(end + 1, prompt.max_tokens)])  # up to and with the first end token
            said.append(Completion(ids=kept, finished=end < prompt.max_tokens and end < len(row)))
        return said
