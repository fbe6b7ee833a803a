"""Random models for checks: they read what they are shown, and differ by it far more than by rounding."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import torch

from memagent.types import ImagePart, user_message
from memagent_renderers import Budget, PatchPricing, ReaderProfile, render
from memagent_training.estimate import ModelShape
from memagent_training.objectives.base import PolicyRequest
from memagent_training.testing.random_vl import SHARPNESS, random_qwen_vl
from memagent_training.tokenization import PolicyTokenizer

SHAPE = ModelShape(layers=1, hidden=32, intermediate=48, heads=2, kv_heads=1, head_size=16, vocabulary=300, tied=False)


def test_sizes_are_those_asked_for_and_the_next_token_is_far_from_evenly_likely() -> None:
    model, processor = random_qwen_vl(SHAPE, tower_width=16, tower_layers=1)
    again, _ = random_qwen_vl(SHAPE, tower_width=16, tower_layers=1)
    tower = sum(one.numel() for name, one in model.named_parameters() if "visual" in name)
    # norms and the biases of queries, keys and values come on top
    assert SHAPE.total <= model.num_parameters() - tower <= 1.02 * SHAPE.total
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[1, 2, 3, 4]])).logits
    assert logits.std() == pytest.approx(SHARPNESS, rel=0.3)
    assert len(processor.tokenizer) <= SHAPE.vocabulary


def test_another_picture_is_another_answer() -> None:
    model, processor = random_qwen_vl(SHAPE, tower_width=16, tower_layers=1)
    tokenizer = PolicyTokenizer(processor, model.config)
    reader = ReaderProfile(name="random", sees_images=True, pricing=PatchPricing(cell=28))

    def scores(text: str) -> torch.Tensor:
        page = render(text, Budget(16, reader))
        prompt = tokenizer.encode(PolicyRequest((user_message("what?", ImagePart(data=page.png)),)))
        assert prompt.places[0][1] == page.tokens
        with torch.no_grad():
            return model(**tokenizer.tensors([prompt], device="cpu")).logits[0, -1]

    assert (scores("# one") - scores("# two")).abs().max() > 1e-3
