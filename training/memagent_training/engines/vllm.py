"""Samples with vLLM through TRL's `VLLMGeneration`, in this process (colocate) or on a server.

vLLM expands pictures itself, so in this process it is sent prompts with one token a picture; on a server TRL hands it prepared
pictures, whose places it finds by the expanded runs. What was read comes back and is compared. Weights are sent, and vLLM is
woken and put to sleep, once a batch: TRL's own `generate` does all of that in every call.

Every conversation is sent as one prompt with one generation: TRL's server mode otherwise takes every G-th prompt of the
batch as the group's, which pairs turns of one rollout with the context of another.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from memagent.errors import ConfigError
from memagent_training.engines.base import Completion, PolicyHost, Prompt


@dataclass(kw_only=True)
class VllmEngine:
    """vLLM, set up by TRL's own arguments (`use_vllm`, `vllm_mode`, `vllm_server_base_url`, ...)."""

    name: ClassVar[str] = "vllm"

    max_gap: float = 1.0
    """Nats a token, on average over a role, that the sampler's scores may differ from the trainer's in the first batch."""
    _host: PolicyHost = field(init=False, repr=False, compare=False)
    _version: int | None = field(init=False, default=None, repr=False, compare=False)
    """Of the weights that were sent last."""

    def available(self) -> str | None:
        """Whether TRL finds vLLM."""
        from trl.generation import vllm_generation as trl_vllm

        if trl_vllm.is_vllm_available():
            return None
        return (
            'engine "vllm" needs vLLM, which is not installed: pip install "vllm>=0.22,<=0.31.0"; or sample without it, by '
            'engine.kind = "generate" and trl.use_vllm = false, or by engine.kind = "http"'
        )

    def check(self, *, use_vllm: bool, adapters: bool) -> None:
        """Raises `ConfigError` unless TRL is told to set vLLM up."""
        if not use_vllm:
            raise ConfigError(
                'engine "vllm" needs `use_vllm = true` in the recipe\'s [trl] table, and `vllm_mode` "colocate" or "server"'
            )

    def start(self, host: PolicyHost) -> None:
        """Check what TRL has been told. Raises `ConfigError`."""
        self.check(use_vllm=host.use_vllm, adapters=False)
        if host.args.vllm_structured_outputs_regex is not None:
            raise ConfigError("vllm_structured_outputs_regex would rule over verdicts and drafts alike; leave it out")
        self._host = host

    @contextmanager
    def batch(self, version: int) -> Iterator[None]:
        """Wake vLLM and send the weights; at the end put it to sleep where TRL is told to (`vllm_enable_sleep_mode`)."""
        vllm = self._host.vllm_generation
        sleeps = vllm.mode == "colocate" and vllm.enable_sleep_mode  # at level 2, which throws the weights away
        if sleeps or version != self._version:
            with base_weights_kept(self._host.model):
                vllm.sync_weights()
            self._version = version
        if not sleeps:
            yield
            return
        vllm.llm.wake_up(tags=["kv_cache"])
        vllm.enable_sleep_mode = False  # else `generate` would put it to sleep
        try:
            yield
        finally:
            vllm.enable_sleep_mode = True
            vllm.llm.sleep(level=2)

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """Sample every prompt: in this process by the prompt's own seed, elsewhere by vLLM's random state."""
        vllm = self._host.vllm_generation
        if vllm.mode == "colocate" and vllm.tensor_parallel_size == 1:
            return self._sampled_here(prompts)
        return self._sampled_by_trl(prompts)

    def _sampled_here(self, prompts: Sequence[Prompt]) -> list[Completion]:
        from trl.generation import vllm_generation as trl_vllm

        if not prompts:
            return []
        vllm = self._host.vllm_generation
        settings = {
            "temperature": vllm.temperature,
            "top_p": vllm.top_p,
            "top_k": vllm.top_k,
            "min_p": 0.0 if vllm.min_p is None else vllm.min_p,
            "repetition_penalty": vllm.repetition_penalty,
            "logprobs": 0,
            **vllm.generation_kwargs,
        }
        sent: list[dict[str, Any]] = []
        for prompt in prompts:
            pictures = _opened(prompt)
            sent.append(
                {"prompt_token_ids": list(prompt.wire_ids)} | ({"multi_modal_data": {"image": pictures}} if pictures else {})
            )
        params = [trl_vllm.SamplingParams(**settings, max_tokens=one.max_tokens, seed=one.seed) for one in prompts]
        said = []
        for prompt, output in zip(prompts, vllm.llm.generate(sent, sampling_params=params, use_tqdm=False), strict=True):
            prompt.check_read(output.prompt_token_ids, by="vLLM")
            [answer] = output.outputs
            ids = tuple(answer.token_ids)
            scores = tuple(score[token].logprob for token, score in zip(ids, answer.logprobs, strict=True))
            said.append(Completion(ids=ids, logprobs=scores, finished=answer.finish_reason == "stop"))
        return said

    def _sampled_by_trl(self, prompts: Sequence[Prompt]) -> list[Completion]:
        host = self._host
        # as many prompts as any process has: TRL hands answers out in equal shares (server, or one vLLM for several GPUs)
        most = max(1, host.all_reduce_max(len(prompts)))
        asked = [*prompts, *[Prompt(ids=(host.policy_tokenizer.pad_id,), max_tokens=1)] * (most - len(prompts))]
        images = [_opened(prompt) or None for prompt in asked]
        vllm = host.vllm_generation
        vllm.max_completion_length = host.all_reduce_max(max(prompt.max_tokens for prompt in asked))
        read, ids, logprobs, _ = vllm.generate(
            prompts=[list(prompt.wire_ids if vllm.mode == "colocate" else prompt.ids) for prompt in asked],
            images=images if any(images) else None,
            num_generations=1,
        )
        for prompt, one in zip(asked, read, strict=True):
            prompt.check_read(one, by="vLLM")
        scored = [None] * len(asked) if logprobs is None else logprobs
        ends = set(host.eos_token_ids)
        said = [_completion(prompt, row, scores, ends) for prompt, row, scores in zip(asked, ids, scored, strict=True)]
        return said[: len(prompts)]


@contextmanager
def base_weights_kept(model: Any) -> Iterator[None]:
    """Puts the weights under LoRA adapters back as they were, to the bit.

    TRL sends a policy with adapters by merging them into the weights and taking them off again, which rounds twice: after 3,000
    times a bfloat16 base is off by a quarter of the adapters' norm, and with it the reference of KL and every saved adapter.
    """
    kept = [
        (weight, weight.detach().to("cpu", copy=True)) for name, weight in model.named_parameters() if ".base_layer." in name
    ]
    try:
        yield
    finally:
        for weight, before in kept:
            weight.data.copy_(before)


@contextmanager
def limits_told(limits: dict[str, Any] | None) -> Iterator[None]:
    """While TRL sets vLLM up in this process: hand it the policy's own limits of pictures, for which TRL has no argument.

    With the published limits vLLM would enlarge small pictures (Qwen3-VL below 64 tokens), and the trainer would not.
    """
    import trl.generation.vllm_generation as trl_vllm

    make = getattr(trl_vllm, "LLM", None)
    if make is None or limits is None:
        yield
        return
    trl_vllm.LLM = lambda **settings: make(**settings, mm_processor_kwargs=limits)
    try:
        yield
    finally:
        trl_vllm.LLM = make


def _opened(prompt: Prompt) -> list[Any]:
    from PIL import Image

    return [Image.open(io.BytesIO(png)).convert("RGB") for png in prompt.images]


def _completion(
    prompt: Prompt, row: Sequence[int], scores: Sequence[Sequence[float | None]] | None, ends: set[int]
) -> Completion:
    """An answer as TRL gives it: for each token the scores of the best candidates, of which only the sampled one is asked."""
    kept = tuple(row[: prompt.max_tokens])
    known = None if scores is None else tuple(math.nan if score[0] is None else score[0] for score in scores[: len(kept)])
    return Completion(ids=kept, logprobs=known, finished=bool(kept) and kept[-1] in ends)
