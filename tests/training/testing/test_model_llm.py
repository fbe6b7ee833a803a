"""The stand-in for `vllm.LLM` that samples from a model: its scores are the model's, and of the weights it was sent."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from helpers.checkpoints import tiny_llama

from memagent_training.testing.model_llm import ModelLLM


def said(llm: ModelLLM, ids: list[int], *, seed: int = 1, temperature: float = 1.0) -> tuple[list[int], list[float]]:
    params = SimpleNamespace(max_tokens=5, temperature=temperature, logprobs=0, seed=seed)
    [output] = llm.generate([{"prompt_token_ids": ids}], sampling_params=params)
    answer: Any = output.outputs[0]
    scores = [entry[token].logprob for token, entry in zip(answer.token_ids, answer.logprobs, strict=True)]
    return list(answer.token_ids), scores


def test_scores_are_those_of_the_model_after_temperature() -> None:
    model, tokenizer = tiny_llama(layers=1)
    llm = ModelLLM(settings={}, model=copy.deepcopy(model), processing=tokenizer)
    for temperature in (1.0, 0.5):
        ids, scores = said(llm, [1, 2, 3], temperature=temperature)
        with torch.no_grad():
            logits = model(torch.tensor([[1, 2, 3, *ids]])).logits[0, 2:-1] / temperature
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(scores), expected, atol=1e-5, rtol=0)


def test_a_seed_decides_and_weights_that_were_sent_are_the_ones_that_speak() -> None:
    model, tokenizer = tiny_llama(layers=1)
    llm = ModelLLM(settings={}, model=copy.deepcopy(model), processing=tokenizer)
    first = said(llm, [4, 5])
    assert said(llm, [4, 5]) == first
    assert said(llm, [4, 5], seed=2) != first
    llm.load_weights([(name, 3 * weight) for name, weight in model.named_parameters()])
    assert said(llm, [4, 5])[1] != first[1]
    with pytest.raises(KeyError):
        llm.load_weights([("no.such.weight", torch.zeros(1))])
