"""Stands for `vllm.LLM` in this process, so that TRL's own `VLLMGeneration` runs without vLLM.

    with vllm_installed() as made:
        trainer = MemGRPOTrainer(..., args=GRPOConfig(use_vllm=True, vllm_mode="colocate", ...))
    [llm] = made

What it counts is what a GPU would pay for: pushes of all weights, sleeps, wakes. It refuses what crashes or misleads in vLLM:
sampling while asleep, or after a sleep of level 2 without new weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from memagent_training.testing.vllm_rule import Eye, PromptPicture, Sampled, Sampler, expand


class FakeSamplingParams(SimpleNamespace):
    """`vllm.SamplingParams`, as far as its fields go."""


@dataclass(kw_only=True)
class FakeLLM:
    """One vLLM. `settings` are the arguments that TRL makes it with."""

    settings: Mapping[str, Any]
    eye: Eye | None = None
    """None: a model that does not see."""
    sampler: Sampler = field(default_factory=Sampler)
    calls: list[list[list[int]]] = field(default_factory=list)
    """For each call of `generate`, the prompts as they were sent."""
    seeds: list[int | None] = field(default_factory=list)
    """Of all requests, in order."""
    counts: Counter[str] = field(default_factory=Counter)
    """Of `sleep`, `wake_up` and `reset_prefix_cache`."""
    loads: Counter[str] = field(default_factory=Counter)
    """How often each weight was loaded."""
    asleep: set[str] = field(default_factory=set)
    """Of `weights` and `kv_cache`, those that are not on the device."""
    lost: bool = False
    """Whether the weights were thrown away and not loaded again."""

    def __post_init__(self) -> None:
        runner = SimpleNamespace(model_runner=SimpleNamespace(model=self))
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=self.settings.get("max_model_len") or 32_768),
            model_executor=SimpleNamespace(driver_worker=runner),
        )
        limits = (self.settings.get("mm_processor_kwargs") or {}).get("size")
        if self.eye is not None and limits is not None:
            self.eye = Eye(
                image_id=self.eye.image_id,
                cell=self.eye.cell,
                min_pixels=limits["shortest_edge"],
                max_pixels=limits["longest_edge"],
            )

    @property
    def pushes(self) -> int:
        """How often all weights came; it is the version that samples."""
        return max(self.loads.values(), default=0)

    def load_weights(self, weights: Sequence[tuple[str, object]]) -> None:
        """Take weights by name. Raises `RuntimeError` while they are not on the device."""
        if "weights" in self.asleep:
            raise RuntimeError("CUDA error: weights were loaded into memory that is unmapped: call wake_up first")
        self.loads.update(name for name, _ in weights)
        self.lost = False

    def sleep(self, level: int = 1) -> None:
        """Leave the device; level 2 throws the weights away."""
        self.counts["sleep"] += 1
        self.asleep = {"weights", "kv_cache"}
        self.lost = self.lost or level == 2

    def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """Come back, wholly or in parts."""
        self.counts["wake_up"] += 1
        self.asleep -= set(tags or ("weights", "kv_cache"))

    def reset_prefix_cache(self) -> bool:
        """Forget what was computed under older weights."""
        self.counts["reset_prefix_cache"] += 1
        return True

    def generate(self, prompts: Sequence[Mapping[str, Any]], *, sampling_params: Any, use_tqdm: bool = True) -> list[Any]:
        """One output a prompt. `sampling_params` is one for all, or one for each.

        Raises `RuntimeError` while asleep or without weights, `ValueError` for a prompt that is too long.
        """
        if self.asleep or self.lost:
            raise RuntimeError("sampling from a vLLM that sleeps" if self.asleep else "sampling from weights that are lost")
        params = sampling_params if isinstance(sampling_params, Sequence) else [sampling_params] * len(prompts)
        self.calls.append([list(prompt["prompt_token_ids"]) for prompt in prompts])
        return [self._output(prompt, one) for prompt, one in zip(prompts, params, strict=True)]

    def _output(self, prompt: Mapping[str, Any], params: Any) -> Any:
        images = (prompt.get("multi_modal_data") or {}).get("image") or []
        images = images if isinstance(images, list) else [images]
        ids = list(prompt["prompt_token_ids"])
        if images:
            assert self.eye is not None, "this model does not see"
            lengths = [self.eye.tokens(*image.size) for image in images]
            ids, _ = expand(ids, lengths, image_id=self.eye.image_id)
        longest = self.llm_engine.model_config.max_model_len
        if len(ids) > longest:
            raise ValueError(f"The decoder prompt (length {len(ids)}) is longer than the maximum model length of {longest}.")
        self.seeds.append(getattr(params, "seed", None))
        said = self.said(ids, images, params)
        scores = [{one: SimpleNamespace(logprob=score, rank=1)} for one, score in zip(said.ids, said.logprobs, strict=True)]
        answer = SimpleNamespace(
            token_ids=said.ids,
            logprobs=None if params.logprobs is None else scores,
            finish_reason="stop" if said.finished else "length",
        )
        return SimpleNamespace(prompt_token_ids=ids, outputs=[answer])

    def said(self, ids: list[int], images: Sequence[Any], params: Any) -> Sampled:
        """The answer to a prompt as it is read, with its pictures (PIL)."""
        seed = self.seeds[-1]
        return self.sampler(
            ids,
            [PromptPicture.of(image) for image in images],
            seed=len(self.seeds) if seed is None else seed,
            weights=self.pushes,
            max_tokens=params.max_tokens,
            temperature=params.temperature,
        )


@contextmanager
def vllm_installed(make: Callable[..., FakeLLM] = FakeLLM, **options: Any) -> Iterator[list[FakeLLM]]:
    """TRL finds vLLM, which is a `FakeLLM`, or what `make` makes of the settings and `options`.

    All that are made are in the list, the first made first. Needs TRL.
    """
    import trl.generation.vllm_generation as module

    made: list[FakeLLM] = []

    def told(**settings: Any) -> FakeLLM:
        made.append(make(settings=settings, **options))
        return made[-1]

    with (
        patch.dict("os.environ"),  # TRL tells vLLM by the environment which process this is
        patch.object(module, "LLM", told, create=True),
        patch.object(module, "SamplingParams", FakeSamplingParams, create=True),
        patch.object(module, "is_vllm_available", lambda: True),
    ):
        yield made
