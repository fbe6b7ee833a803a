"""What a rollout engine is: token ids in, sampled token ids out. It knows the model and nothing of tasks or rewards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from memagent.errors import ConfigError, EngineError
from memagent.models.base import Request


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the policy is given in one conversation."""

    ids: tuple[int, ...]
    """Token ids, picture placeholders expanded to one token a patch: what the trainer computes with."""
    images: tuple[bytes, ...] = ()
    """PNG files in the order of their places."""
    places: tuple[tuple[int, int], ...] = ()
    """(offset, length) in `ids` of each picture."""
    max_tokens: int = 1024
    """Most tokens to sample."""
    attempt: int = 0
    """Which attempt at its task is asking: 0, 1, ... within the group. The same on any number of processes."""
    group: str = ""
    """The visit that the attempt belongs to: its attempts share a beginning, so they go to one server."""
    name: str = ""
    """`<rollout id>#<turn>`, unique in a run."""
    role: str = "answer"
    """Who is asked, as in `Segment.role`."""
    seed: int = 0
    """Of this request alone, 63 bits: on any number of processes and after a restart the same request has the same seed."""

    @property
    def wire_ids(self) -> tuple[int, ...]:
        """The ids with one token a picture: what a sampler is sent that gets the pictures themselves and expands them."""
        kept: list[int] = []
        start = 0
        for offset, length in self.places:
            kept += self.ids[start : offset + 1]
            start = offset + length
        return (*kept, *self.ids[start:])

    def check_read(self, read: Sequence[int], *, by: str) -> None:
        """Raises `EngineError` when the sampler `by` has read other ids than `ids`: its text would answer another prompt."""
        if tuple(read) == self.ids:
            return
        at = next((at for at, (ours, theirs) in enumerate(zip(self.ids, read, strict=False)) if ours != theirs), None)
        where = "" if at is None else f", and differ first at token {at}"
        what = f"`{self.role}` with {len(self.places)} pictures" if self.places else f"`{self.role}`"
        raise EngineError(
            f"the prompt of a {what} has {len(self.ids)} tokens for the trainer and {len(read)} for {by}{where}; the "
            "sampler must have the trainer's tokenizer and limits of pictures (mm_processor_kwargs)"
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """What the policy said."""

    ids: tuple[int, ...]
    """Sampled ids, with the end token when it ended by itself."""
    logprobs: tuple[float, ...] | None = None
    """Log-probabilities under the sampler; None when the engine is the trained model itself."""
    finished: bool = True
    """False when it was cut off by `max_tokens`."""
    server: str = ""
    """Where it was sampled; "" for this process."""


class PromptTensors(Protocol):
    """Prompts as tensors; `memagent_training.tokenization.PolicyTokenizer` makes them."""

    pad_id: int

    def encode(self, request: Request) -> Prompt:
        """A request as token ids."""
        ...

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

    def broadcast(self, value: Any) -> Any:
        """`value` of the first process."""
        ...


class SamplingEngine(Protocol):
    """Samples from the policy being trained: a `RoundEngine` many prompts at once, a `RequestEngine` one by one.

    One that recipes name may say more before a model is loaded: `available()` gives None or what to install;
    `check(use_vllm=, adapters=)` raises `ConfigError` where it cannot sample for a recipe with such a `[trl] use_vllm`, whose
    policy is trained by adapters or as a whole.
    """

    name: ClassVar[str]

    def start(self, host: PolicyHost) -> None:
        """Called once, when the trainer is built."""
        ...

    def batch(self, version: int) -> AbstractContextManager[None]:
        """Inside, the weights of `version` sample; a version that was live before need not be sent again. All processes enter
        and leave together."""
        ...


class RoundEngine(SamplingEngine, Protocol):
    """Answers in rounds, for which all episodes wait: what shares a device with the trainer, or is sharded over processes.

    All processes call `generate` equally often, inside `batch`; one that has nothing to ask calls it with an empty list.
    """

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """One completion for each prompt, in order. `seed` differs from call to call and from process to process."""
        ...


@runtime_checkable
class RequestEngine(SamplingEngine, Protocol):
    """Answers each request when it is done: episodes go on alone, and no process waits for another."""

    async def complete(self, prompt: Prompt) -> Completion:
        """The answer to one prompt, called inside `batch`. Raises `EngineError`: retryable where the world failed."""
        ...


RolloutEngine = RoundEngine | RequestEngine


class WithoutTrlsVllm:
    """What engines say before a model is loaded that sample without the vLLM that TRL would set up."""

    name: ClassVar[str]

    def available(self) -> str | None:
        """None: it needs nothing else."""
        return None

    def check(self, *, use_vllm: bool, adapters: bool) -> None:
        """Raises `ConfigError` where TRL would set vLLM up, which nobody would ask."""
        if use_vllm:
            raise ConfigError(
                f'engine "{self.name}" does not ask the vLLM that trl.use_vllm = true sets up in the training processes: set '
                'engine.kind = "vllm", or set trl.use_vllm = false'
            )


class Served(NamedTuple):
    """How servers have the weights that were sent to them last."""

    model: str
    """The name to ask for."""
    version: str
    """Of the whole weights, as the servers say it; "" where that is not known."""
    down: set[str]
    """Addresses of those that could not be reached."""


class WeightSender(Protocol):
    """How a policy gets to servers."""

    def send(self, host: PolicyHost, replicas: Sequence[Any]) -> Served:
        """A new version to all that can be reached. All processes call it. Raises `EngineError`."""
        ...
