"""What a recipe costs before it is run: tokens, memory and hours, by arithmetic from stated assumptions.

A training step takes 6 floating-point operations a token and active weight (4 where only adapters learn), and 2 more for each
further pass forward: recomputed activations, the reference model, the policy before the update. Active are the weights of the
language part that every token goes through. Master weights, gradients and the two moments of Adam are 16 bytes a weight. None
of it was measured: the logged `step_time` of the first steps says what is true.
"""

from __future__ import annotations

from dataclasses import dataclass

from memagent_training.objectives.chunked import ChunkedSettings
from memagent_training.policy import Lora, PretrainedPolicy
from memagent_training.recipe import Expected, Recipe

WORDS = 350
"""Tokens of a prompt beside chunk, memory and picture: our words, and the problem."""
ATTENTION = 1.15
"""Update with attention over update without."""
SENT_PER_S = 1.7e9
"""Bytes of weights that reach the sampler in a second, gathered from their shards."""
RESERVED = 0.1
"""Share of vLLM's memory that is neither weights nor cache."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder, and the weights of the vision tower in front of it."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    """Whether reading and writing words share their weights."""
    tower: float = 0.0

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(in, out) of those of a layer."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def active(self) -> float:
        """Weights that a token goes through in the language part."""
        return self.layers * sum(rows * columns for rows, columns in self.matrices.values()) + self.vocabulary * self.hidden

    @property
    def total(self) -> float:
        """All weights."""
        return self.active + self.tower + (0 if self.tied else self.vocabulary * self.hidden)

    @property
    def cached_bytes(self) -> int:
        """Of keys and values of one token, in bfloat16."""
        return self.layers * 2 * self.kv_heads * self.head_size * 2

    def adapters(self, lora: Lora) -> float:
        """Weights of adapters on the language part."""
        sizes = [
            size for name, size in self.matrices.items() if lora.target_modules == "all-linear" or name in lora.target_modules
        ]
        return float(self.layers * lora.r * sum(map(sum, sizes)))


_QWEN_7B = ModelShape(
    layers=28, hidden=3584, intermediate=18944, heads=28, kv_heads=4, head_size=128, vocabulary=152064, tied=False
)
SHAPES = {
    "Qwen/Qwen2.5-7B-Instruct": _QWEN_7B,
    "Qwen/Qwen2.5-VL-7B-Instruct": ModelShape(**vars(_QWEN_7B) | {"tower": 0.676e9}),
    "Qwen/Qwen3-VL-2B-Instruct": ModelShape(
        layers=28,
        hidden=2048,
        intermediate=6144,
        heads=16,
        kv_heads=8,
        head_size=128,
        vocabulary=151936,
        tied=True,
        tower=0.406e9,
    ),
}
"""By the names in the shipped recipes; from the configurations of the models."""


@dataclass(frozen=True, kw_only=True)
class RolloutTokens:
    """The average rollout of an objective that reads in chunks and answers from readings of its memory."""

    chunks: int
    chunk: int
    draft: int
    answer: int
    readings: tuple[int, ...]

    @property
    def decoded(self) -> int:
        """Tokens that are sampled."""
        return self.chunks * self.draft + len(self.readings) * self.answer

    @property
    def total(self) -> int:
        """Tokens of all conversations, prompts included; every draft but the first has the one before in its prompt."""
        prompts = self.chunks * self.chunk + (self.chunks - 1) * self.draft + sum(self.readings)
        return prompts + self.decoded + WORDS * (self.chunks + len(self.readings))


def update_seconds(
    active: float, tokens: float, machine: Expected, *, adapters: bool, further_passes: int, gpus: int | None = None
) -> float:
    """Of training on `tokens`, attention not counted: see the module. `gpus` in place of the machine's."""
    operations = ((4 if adapters else 6) + 2 * further_passes) * active * tokens
    return operations / ((gpus or machine.gpus) * machine.tflops * 1e12 * machine.efficiency)


def activation_bytes(shape: ModelShape, tokens: int) -> tuple[float, float]:
    """Of a forward pass of so many tokens with checkpoints at each layer: kept, and at work in the layer recomputed."""
    return 2.0 * shape.layers * shape.hidden * tokens, 2.0 * 4 * shape.intermediate * tokens


def cache_tokens(shape: ModelShape, memory: float) -> float:
    """That vLLM can hold keys and values of in `memory` bytes, its weights included."""
    return (memory * (1 - RESERVED) - 2 * shape.total) / shape.cached_bytes


@dataclass(frozen=True, kw_only=True)
class RunEstimate:
    """Of a recipe on the machine that it is for. Seconds are of a generation batch, bytes of one GPU."""

    tokens: int
    """Of a rollout."""
    batch_tokens: float
    update_s: float
    rollout_s: float
    send_s: float
    batches: int
    """Of the run."""
    states: float
    activations: float
    sampler: float
    """0 where vLLM has GPUs of its own."""
    cached: float
    """Tokens."""

    @property
    def step_s(self) -> float:
        """Of a batch, one after the other."""
        return self.update_s + self.rollout_s + self.send_s

    @property
    def hours(self) -> float:
        """Of the run."""
        return self.batches * self.step_s / 3600

    def lines(self, memory_gb: float) -> list[str]:
        """For people."""
        seconds = f"update {self.update_s:.0f} s, rollouts {self.rollout_s:.0f} s, weights {self.send_s:.0f} s"
        sampler = f", vLLM awake {self.sampler / 1e9:.1f} (cache of {self.cached / 1e3:.0f} k tokens)" if self.sampler else ""
        return [
            f"tokens: {self.tokens:,} a rollout, {self.batch_tokens / 1e6:.2f} M a step",
            f"time: {self.step_s / 60:.1f} min a step ({seconds}), {self.hours:.0f} h for {self.batches} steps",
            f"memory of {memory_gb:g} GB a GPU: weights and optimizer {self.states / 1e9:.1f}, activations "
            f"{self.activations / 1e9:.1f} (logits come on top){sampler}",
        ]


def estimate(recipe: Recipe) -> RunEstimate | None:
    """None for a recipe without `[expected]`, of another kind of objective, or of a model that `SHAPES` lacks."""
    machine, policy, objective = recipe.expected, recipe.policy, recipe.objective
    if machine is None or not isinstance(objective, ChunkedSettings) or not isinstance(policy, PretrainedPolicy):
        return None
    shape = SHAPES.get(policy.path)
    if shape is None:
        return None
    rollout = RolloutTokens(
        chunks=machine.chunks,
        chunk=objective.chunk_tokens,
        draft=machine.draft_tokens,
        answer=machine.answer_tokens,
        readings=objective.readings(machine.draft_tokens),
    )
    tokens = float(rollout.total * recipe.rollouts.prompts * recipe.rollouts.group_size)
    updates = recipe.rollouts.updates * recipe.rollouts.epochs
    passes = [bool(recipe.trl.get("activation_checkpointing")), recipe.loss.kl > 0, updates > 1]
    update = update_seconds(shape.active, tokens, machine, adapters=policy.lora is not None, further_passes=sum(passes))
    longest = machine.chunks * objective.memory_tokens + len(rollout.readings) * objective.answer_tokens
    kept = shape.adapters(policy.lora) if policy.lora is not None else shape.total
    memory = machine.memory_gb * 1e9 * float(recipe.trl.get("vllm_gpu_memory_utilization", 0.0))
    return RunEstimate(
        tokens=rollout.total,
        batch_tokens=tokens,
        update_s=update * recipe.rollouts.epochs * ATTENTION,
        rollout_s=longest / machine.tokens_per_s,
        send_s=(4 if policy.lora is not None else 2) * kept / SENT_PER_S,
        batches=recipe.optimizer.steps // updates,
        states=16 * kept + 2 * shape.total if policy.lora is not None else 16 * kept / machine.gpus,
        activations=sum(activation_bytes(shape, recipe.rollouts.token_budget or rollout.total)),
        sampler=memory,
        cached=cache_tokens(shape, memory) if memory else 0.0,
    )
