"""Stands for `vllm.LLM` as `vllm_llm.FakeLLM` does, and samples from a model: its scores are true of the weights it was sent.

So the gap between sampler and trainer means something without vLLM: prompts that are read otherwise, and weights that were
not sent, show in it. It needs torch, and is slow.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memagent_training.engines.base import Prompt
from memagent_training.testing.vllm_llm import FakeLLM
from memagent_training.testing.vllm_rule import Sampled
from memagent_training.tokenization import PolicyTokenizer


@dataclass(kw_only=True)
class ModelLLM(FakeLLM):
    """A `FakeLLM` over `model`, a copy of the policy, whose weights are those that were loaded last."""

    model: Any
    processing: Any
    _weights: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.model.eval()
        self._weights = dict(self.model.named_parameters())

    def load_weights(self, weights: Sequence[tuple[str, object]]) -> None:
        """Take weights by name. Raises `KeyError` for one that the model does not have."""
        super().load_weights(weights)
        for name, weight in weights:
            self._weights[name].data.copy_(weight)

    def said(self, ids: list[int], images: Sequence[Any], params: Any) -> Sampled:
        """Sampled from the model by the request's seed, with the log-probabilities after temperature."""
        import torch
        from transformers import GenerationConfig

        tokenizer = PolicyTokenizer(self.processing, self.model.config)
        prompt = Prompt(ids=tuple(ids), images=tuple(map(_png, images)))
        end = int(getattr(self.processing, "tokenizer", self.processing).eos_token_id)
        config = GenerationConfig(
            do_sample=True,
            top_k=0,
            temperature=params.temperature,
            max_new_tokens=params.max_tokens,
            eos_token_id=end,
            pad_token_id=tokenizer.pad_id,
            return_dict_in_generate=True,
            output_logits=True,
        )
        device = next(self.model.parameters()).device
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(len(self.seeds) if self.seeds[-1] is None else self.seeds[-1])
            made = self.model.generate(**tokenizer.tensors([prompt], device=device), generation_config=config)
        said = made.sequences[0, len(ids) :]  # (T,)
        logits = torch.cat(made.logits).float() / params.temperature  # (T, V)
        scores = logits.log_softmax(-1).gather(1, said[:, None])[:, 0]
        return Sampled(said.tolist(), scores.tolist(), int(said[-1]) == end)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
