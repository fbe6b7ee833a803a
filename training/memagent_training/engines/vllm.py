"""Samples with vLLM through TRL's `VLLMGeneration`, in this process (colocate) or on a server.

Every conversation is sent as one prompt with one generation: TRL's server mode otherwise takes every G-th prompt of the
batch as the group's, which pairs turns of one rollout with the context of another.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from memagent.errors import ConfigError
from memagent_training.engines.base import Completion, PolicyHost, Prompt


@dataclass(kw_only=True)
class VllmEngine:
    """vLLM, set up by TRL's own arguments (`use_vllm`, `vllm_mode`, `vllm_server_base_url`, ...)."""

    name: ClassVar[str] = "vllm"
    _host: PolicyHost = field(init=False, repr=False, compare=False)

    def start(self, host: PolicyHost) -> None:
        """Check that TRL has been told to set vLLM up. Raises `ConfigError` otherwise."""
        if not host.use_vllm:
            raise ConfigError(
                'engine `vllm` needs `use_vllm = true` in the recipe\'s [trl] table, and `vllm_mode` "colocate" or "server"'
            )
        self._host = host

    def sync_weights(self) -> None:
        """Send the policy's weights to vLLM."""
        self._host.vllm_generation.sync_weights()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        """Sample every prompt. vLLM keeps its own random state: set it by `generation_kwargs = {seed = ...}`."""
        from PIL import Image

        host = self._host
        # as many prompts as any process has: TRL hands answers out in equal shares (server, or one vLLM for several GPUs)
        most = max(1, host.all_reduce_max(len(prompts)))
        asked = [*prompts, *[Prompt(ids=(host.policy_tokenizer.pad_id,), max_tokens=1)] * (most - len(prompts))]
        images = [[Image.open(io.BytesIO(png)).convert("RGB") for png in prompt.images] or None for prompt in asked]
        vllm = host.vllm_generation
        vllm.max_completion_length = host.all_reduce_max(max(prompt.max_tokens for prompt in asked))
        _, ids, logprobs, _ = vllm.generate(
            prompts=[list(prompt.ids) for prompt in asked],
            images=images if any(images) else None,
            num_generations=1,
        )
        scored = [None] * len(asked) if logprobs is None else logprobs
        ends = set(host.eos_token_ids)
        said = [_completion(prompt, row, scores, ends) for prompt, row, scores in zip(asked, ids, scored, strict=True)]
        return said[: len(prompts)]


def _completion(
    prompt: Prompt, row: Sequence[int], scores: Sequence[Sequence[float | None]] | None, ends: set[int]
) -> Completion:
    """An answer as vLLM gives it: for each token the scores of the best candidates, of which only the sampled one is asked."""
    kept = tuple(row[: prompt.max_tokens])
    known = None if scores is None else tuple(math.nan if score[0] is None else score[0] for score in scores[: len(kept)])
    return Completion(ids=kept, logprobs=known, finished=bool(kept) and kept[-1] in ends)
