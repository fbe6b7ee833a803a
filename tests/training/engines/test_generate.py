"""What `generate` samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import ConfigError
from memagent.types import ImagePart, user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import GENERATIONS, tiny_llama, tiny_qwen_vl
from helpers.engine_trainers import png, trainer_of
from scripted_runs import ours

from memagent_training.engines import GenerateEngine
from memagent_training.engines.base import Completion, Prompt
from memagent_training.objectives.base import PolicyRequest
from memagent_training.trainer import MemGRPOTrainer


def prompts(*lengths: int, tokens: int = 8) -> list[Prompt]:
    return [
        Prompt(ids=tuple((3 * at + place) % 40 for place in range(length)), max_tokens=tokens)
        for at, length in enumerate(lengths)
    ]


def greedy(trainer: MemGRPOTrainer) -> None:
    trainer.generation_config.do_sample = False
    trainer.generation_config.temperature = trainer.generation_config.top_k = trainer.generation_config.top_p = None


def test_same_seed_same_tokens_and_the_global_state_stays(tmp_path: Path) -> None:
    engine = trainer_of(tmp_path).engine
    asked = prompts(4, 7, 2)
    state = torch.random.get_rng_state()

    first = engine.generate(asked, seed=5)
    torch.manual_seed(123)
    moved = torch.random.get_rng_state()
    again, other = engine.generate(asked, seed=5), engine.generate(asked, seed=6)

    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), moved)
    assert not torch.equal(state, moved)


def test_answers_end_at_the_end_token_or_at_their_own_limit(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    end = trainer.eos_token_ids[0]
    asked = [Prompt(ids=(1, 2, 3), max_tokens=1 + at % 30) for at in range(120)]

    said = trainer.engine.generate(asked, seed=0)

    assert len(said) == len(asked)
    assert {one.finished for one in said} == {True, False}
    for prompt, one in zip(asked, said, strict=True):
        assert 1 <= len(one.ids) <= prompt.max_tokens
        assert end not in one.ids[:-1]
        assert one.finished == (one.ids[-1] == end)
        assert one.finished or len(one.ids) == prompt.max_tokens
        assert one.logprobs is None


def test_every_end_token_that_the_model_declares_ends_an_answer(tmp_path: Path) -> None:
    model, tokenizer = tiny_llama()
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 7]
    trainer = trainer_of(tmp_path, model=(model, tokenizer))

    said = trainer.engine.generate([Prompt(ids=(1, 2), max_tokens=40)] * 60, seed=1)

    assert {one.ids[-1] for one in said if one.finished} == {7, tokenizer.eos_token_id}
    assert all(7 not in one.ids[:-1] for one in said)


def test_no_prompts_no_answers(tmp_path: Path) -> None:
    assert trainer_of(tmp_path).engine.generate([], seed=0) == []


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_change_nothing_about_greedy_answers(chunk: int, tmp_path: Path) -> None:
    asked = prompts(3, 9, 5, 1, 12)
    trainer = trainer_of(tmp_path)
    greedy(trainer)
    expected = [trainer.engine.generate([one], seed=0)[0] for one in asked]  # one by one: nothing is padded
    engine = GenerateEngine(chunk=chunk)
    engine.start(trainer)

    assert engine.generate(asked, seed=0) == expected


def test_a_chunk_has_at_most_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(tmp_path, engine=GenerateEngine(chunk=2))
    sizes: list[int] = []
    real = GenerateEngine._sample
    monkeypatch.setattr(
        GenerateEngine, "_sample", lambda self, model, chunk: sizes.append(len(chunk)) or real(self, model, chunk)
    )

    trainer.engine.generate(prompts(2, 2, 2, 2, 2), seed=0)

    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_batch_mixes_rows_with_and_without_pictures(generation: str, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, model=tiny_qwen_vl(generation))
    greedy(trainer)
    cell = 32 if generation == "3" else 28
    pictures = [png(2 * cell, 2 * cell, (255, 0, 0)), png(3 * cell, 2 * cell, (0, 0, 255))]
    requests = [
        PolicyRequest((user_message("ab", ImagePart(data=pictures[0])),), max_tokens=5),
        PolicyRequest((user_message("abcd"),), max_tokens=4),
    ]
    requests += [PolicyRequest((user_message("a", *(ImagePart(data=one) for one in pictures)),), max_tokens=3)]
    asked = [trainer.policy_tokenizer.encode(request) for request in requests]

    together = trainer.engine.generate(asked, seed=0)

    assert together == [trainer.engine.generate([one], seed=0)[0] for one in asked]
    assert all(trainer.policy_tokenizer._image_id not in one.ids for one in trainer.engine.generate(asked * 20, seed=1))


def frequencies(trainer: MemGRPOTrainer, *, draws: int = 4000) -> Any:
    said = trainer.engine.generate([Prompt(ids=(1, 2, 3), max_tokens=1)] * draws, seed=3)
    return torch.bincount(torch.tensor([one.ids[0] for one in said]), minlength=trainer.model.config.vocab_size) / draws


def probabilities(trainer: MemGRPOTrainer, temperature: float) -> Any:
    with torch.no_grad():
        return (trainer.model(input_ids=torch.tensor([[1, 2, 3]])).logits[0, -1] / temperature).softmax(-1)


def sharpened() -> tuple[Any, Any]:
    """A policy with preferences, and a checkpoint's own sampling settings that must not be taken."""
    model, tokenizer = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight.mul_(8)
    model.generation_config.update(do_sample=True, temperature=0.01, top_k=1, top_p=0.1, repetition_penalty=1.5)
    return model, tokenizer


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_temperature_is_the_configs_whatever_the_checkpoint_says(temperature: float, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, model=sharpened(), temperature=temperature)

    seen, expected = frequencies(trainer), probabilities(trainer, temperature)

    assert (seen - expected).abs().max() < 0.03
    assert (seen - probabilities(trainer, 1.5 - temperature)).abs().max() > 0.05


def test_top_p_is_the_configs(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, model=sharpened(), top_p=0.5)
    chances, order = probabilities(trainer, 1.0).sort(descending=True)
    nucleus = set(order[: int((chances.cumsum(0) < 0.5).sum()) + 1].tolist())

    seen = frequencies(trainer)

    assert set(seen.nonzero()[:, 0].tolist()) == nucleus
    assert 1 < len(nucleus) < 30


def test_generate_uses_the_weights_of_the_moment(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    greedy(trainer)
    with torch.no_grad():
        trainer.model.lm_head.weight.zero_()
        trainer.model.lm_head.weight[11] = trainer.model.model.norm(trainer.model.model.embed_tokens.weight[2:3])[0]
        trainer.model.model.layers = torch.nn.ModuleList()
        trainer.model.config.num_hidden_layers = 0

    assert trainer.engine.generate([Prompt(ids=(2,), max_tokens=1)], seed=0) == [Completion(ids=(11,), finished=False)]


def test_a_chunk_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more, not 0"):
        GenerateEngine(chunk=0)


def test_the_engines_sample_what_the_trainer_trains(tmp_path: Path) -> None:
    """The whole loop by `generate`: rollouts hold exactly what the engine said."""
    said: list[Completion] = []

    class Noted(GenerateEngine):
        def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
            found = super().generate(prompts, seed=seed)
            said.extend(found)
            return found

    run = ours(tmp_path, script=None, parts={"engine": Noted()})

    assert [segment.ids for one in run.trainer.rollouts for segment in one.segments] == [one.ids for one in said]
