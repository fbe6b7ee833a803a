"""What a rollout engine is: token ids in, sampled token ids out. It knows the model and nothing of tasks or rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is given in one conversation."""

    ids: tuple[int, ...]
    """Token ids, picture placeholders expanded to one token a patch."""
    images: tuple[bytes, ...] = ()
    """PNG files in the order of their places."""
    max_tokens: int = 1024
    """Most tokens to sample."""
    attempt: int = 0
    """Which attempt at its task is asking: 0, 1, ... within the group. The same on any number of processes."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the policy said."""

    ids: tuple[int, ...]
    """Sampled ids, with the end token when it ended by itself."""
    logprobs: tuple[float, ...] | None = None
    """Log-probabilities under the sampler; None when the engine is the trained model itself."""
    finished: bool = True
    """False when it was cut off by `max_tokens`."""


class PromptTensors(Protocol):
    """Prompts as tensors; `memagent_training.tokenization.PolicyTokenizer` makes them."""

    pad_id: int

    def tensors(self, prompts: Sequence[Prompt], *, device: Any) -> dict[str, Any]:
        """What `generate` takes for a batch of prompts."""
        ...


class PolicyHost(Protocol):
    """What an engine uses of the trainer that holds the policy. `MemGRPOTrainer` is one; most of it is TRL's."""

    model: Any
    model_wrapped: Any
    """The model as it is trained, sharded or replicated."""
    processing_class: Any
    accelerator: Any
    args: Any
    """TRL's `GRPOConfig`."""
    policy_tokenizer: PromptTensors
    eos_token_ids: Any
    generation_config: Any
    generation_kwargs: Any
    use_vllm: bool
    vllm_generation: Any
    """TRL's `VLLMGeneration`, where `use_vllm` is on."""
    _dist: Any
    """TRL's helper for sharded models."""

    def all_reduce_max(self, number: int) -> int:
        """The largest `number` of all processes."""
        ...


class RolloutEngine(Protocol):
    """Samples from the policy being trained.

    All processes call `generate` equally often; one that has nothing to ask calls it with an empty list.
    """

    name: ClassVar[str]

    def start(self, host: PolicyHost) -> None:
        """Called once, when the trainer is built."""
        ...

    def sync_weights(self) -> None:
        """Called before the first `generate` after the weights have changed."""
        ...

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """One completion for each prompt, in order. `seed` differs from call to call and from process to process."""
        ...
