"""What passes between us and TRL's vLLM.

vLLM itself needs a GPU and is not installed here. For a server, a stub with the signature of TRL's `VLLMGeneration` stands in
its place; in this process, TRL's own code runs over `FakeLLM`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import ConfigError, EngineError
from memagent.types import ImagePart, user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
import trl.generation.vllm_generation as trl_vllm
from helpers.checkpoints import tiny_llama, tiny_qwen_vl
from helpers.engine_trainers import png, trainer_of
from scripted_runs import ALL_ROWS, Sizes, Talk, rows

from memagent_training.engines import VllmEngine
from memagent_training.engines.base import Prompt
from memagent_training.objectives.base import PolicyRequest
from memagent_training.testing.vllm_llm import vllm_installed
from memagent_training.testing.vllm_rule import Eye, Sampler
from memagent_training.trainer import MemGRPOTrainer


class Stub:
    """TRL's `VLLMGeneration` as far as we call it; says digits, each token with the log-probabilities that `scores` gives."""

    def __init__(self, *, say: Any = None, scores: Any = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.synced: list[int] = []
        self.max_completion_length = 0
        self.mode = "server"
        self.say = say or (lambda ids: [(sum(ids) + at) % 10 for at in range(self.max_completion_length)])
        self.scores = scores or (lambda ids: [[-0.5, -3.0] for _ in ids])

    def sync_weights(self) -> None:
        self.synced.append(len(self.calls))

    def generate(
        self, prompts: list[list[int]], images: list[list[Any] | None] | None, num_generations: int, profiler: Any = None
    ) -> tuple[Any, ...]:
        self.calls.append(
            {"prompts": prompts, "images": images, "num_generations": num_generations, "longest": self.max_completion_length}
        )
        said = [self.say(ids) for ids in prompts]
        scores = [self.scores(ids) for ids in said]
        return prompts, said, None if any(one is None for one in scores) else scores, None


def test_the_stand_in_sees_pictures_at_the_sizes_of_transformers() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    for width, height in [(28, 28), (100, 37), (999, 41), (4000, 3000), (64, 64), (31, 900)]:
        for limits in [(3136, 12_845_056), (65_536, 16_777_216), (1024, 20_000)]:
            sides = smart_resize(height, width, 28, *limits)
            eye = Eye(image_id=0, min_pixels=limits[0], max_pixels=limits[1])
            assert eye.tokens(width, height) == sides[0] * sides[1] // 28**2, (width, height, limits)


def vllm(folder: Path, stub: Stub, *, model: Any = None, **settings: Any) -> MemGRPOTrainer:
    """A trainer that believes that TRL has set vLLM up."""
    trainer = trainer_of(folder, model=model, **settings)
    trainer.use_vllm = True
    trainer.vllm_generation = stub
    trainer.engine = VllmEngine(max_gap=math.inf)  # scores are made up
    trainer.engine.start(trainer)
    return trainer


def test_the_stub_has_trls_signature() -> None:
    from trl.generation.vllm_generation import VLLMGeneration

    names = list(inspect.signature(VLLMGeneration.generate).parameters)

    assert (
        names
        == list(inspect.signature(Stub.generate).parameters)
        == ["self", "prompts", "images", "num_generations", "profiler"]
    )
    assert "max_completion_length" in inspect.getsource(VLLMGeneration.generate)
    assert "sync_weights" in dir(VLLMGeneration)


def test_vllm_gets_one_entry_a_conversation(tmp_path: Path) -> None:
    stub = Stub()
    engine = vllm(tmp_path, stub).engine
    asked = [Prompt(ids=(1, 2), max_tokens=3), Prompt(ids=(1, 2), max_tokens=5), Prompt(ids=(4,), max_tokens=2)]

    said = engine.generate(asked, seed=0)

    assert stub.calls == [{"prompts": [[1, 2], [1, 2], [4]], "images": None, "num_generations": 1, "longest": 5}]
    assert [one.ids for one in said] == [(3, 4, 5), (3, 4, 5, 6, 7), (4, 5)]
    assert [one.logprobs for one in said] == [(-0.5,) * 3, (-0.5,) * 5, (-0.5,) * 2]  # the sampled token's, the first
    assert not any(one.finished for one in said)


def test_vllm_ends_and_missing_scores(tmp_path: Path) -> None:
    end = tiny_llama()[1].eos_token_id
    stub = Stub(say=lambda ids: [5, end] if ids == [1] else [5, 6], scores=lambda ids: [[-1.0], [None]])
    engine = vllm(tmp_path, stub).engine

    ended, cut, short = engine.generate([Prompt(ids=(1,)), Prompt(ids=(2,)), Prompt(ids=(1,), max_tokens=1)], seed=0)

    assert (ended.ids, ended.finished, cut.finished) == ((5, end), True, False)
    assert (short.ids, short.finished, short.logprobs) == ((5,), False, (-1.0,))
    assert ended.logprobs is not None
    assert ended.logprobs[0] == -1.0
    assert math.isnan(ended.logprobs[1])


def test_vllm_without_any_scores_gives_none(tmp_path: Path) -> None:
    engine = vllm(tmp_path, Stub(scores=lambda ids: None)).engine

    assert engine.generate([Prompt(ids=(1,), max_tokens=2)], seed=0)[0].logprobs is None


def test_vllm_is_called_by_a_process_that_has_nothing_to_ask(tmp_path: Path) -> None:
    stub = Stub()
    engine = vllm(tmp_path, stub).engine

    assert engine.generate([], seed=0) == []
    assert [len(call["prompts"]) for call in stub.calls] == [1]  # collective in server mode


def test_vllm_is_asked_equally_much_by_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub()
    trainer = vllm(tmp_path, stub)
    monkeypatch.setattr(trainer, "all_reduce_max", lambda number: max(number, 3))  # another process has three, of three tokens

    said = trainer.engine.generate([Prompt(ids=(1, 2), max_tokens=2)], seed=0)

    assert len(said) == 1
    assert [(len(call["prompts"]), call["longest"]) for call in stub.calls] == [(3, 3)]


# -- colocate: TRL's own code over a stand-in for vLLM ---------------------------------------------------------------------


PICTURES = {"2.5": [(280, 168), (140, 224)], "3": [(320, 192), (160, 256)]}
"""60 and 40 tokens for each family of Qwen-VL."""


@contextmanager
def colocated(folder: Path, *, generation: str | None = "2.5", eye: Eye | None = None, **settings: Any) -> Iterator[Any]:
    """A trainer with TRL's `VLLMGeneration` in colocate mode, and the `FakeLLM` that it made."""
    model, processing = tiny_qwen_vl(generation) if generation else tiny_llama()
    if generation and eye is None:
        cell = 28 if generation == "2.5" else 32
        eye = Eye(image_id=model.config.image_token_id, cell=cell, min_pixels=65_536 if generation == "3" else 3136)
    with vllm_installed(eye=eye, sampler=Sampler(vocabulary=range(20), end_id=processing_end(processing))) as made:
        trainer = trainer_of(
            folder,
            model=(model, processing),
            engine=VllmEngine(max_gap=math.inf),
            use_vllm=True,
            vllm_mode="colocate",
            **settings,
        )
        [llm] = made
        yield trainer, llm


def processing_end(processing: Any) -> int:
    return int(getattr(processing, "tokenizer", processing).eos_token_id)


def shown(trainer: MemGRPOTrainer, *sizes: tuple[int, int]) -> Prompt:
    pictures = [ImagePart(data=png(*size, (255, 0, 10 * at))) for at, size in enumerate(sizes)]
    return trainer.policy_tokenizer.encode(PolicyRequest((user_message("a", *pictures),), max_tokens=6))


@pytest.mark.parametrize("generation", ["2.5", "3"])
@pytest.mark.parametrize("count", [1, 2])
def test_vllm_reads_pictures_as_long_as_the_trainer(generation: str, count: int, tmp_path: Path) -> None:
    with colocated(tmp_path, generation=generation) as (trainer, llm), trainer.engine.batch(0):
        prompt = shown(trainer, *PICTURES[generation][:count])
        image = trainer.model.config.image_token_id

        [said] = trainer.engine.generate([prompt], seed=0)

        assert prompt.ids.count(image) == sum([60, 40][:count])
        assert [list(prompt.ids[at : at + length]) for at, length in prompt.places] == [[image] * n for n in [60, 40][:count]]
        assert llm.calls == [[list(prompt.wire_ids)]]
        assert prompt.wire_ids.count(image) == count
        assert len(said.ids) == len(said.logprobs or ())


def test_a_prompt_that_is_sent_expanded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with colocated(tmp_path) as (trainer, _), trainer.engine.batch(0):
        prompt = shown(trainer, *PICTURES["2.5"])
        monkeypatch.setattr(Prompt, "wire_ids", property(lambda self: self.ids))

        with pytest.raises(
            EngineError, match=rf"`answer` with 2 pictures has {len(prompt.ids)} .* and {len(prompt.ids) + 98} "
        ):
            trainer.engine.generate([prompt], seed=0)


def test_small_pictures_stay_as_small_for_vllm_as_for_the_trainer(tmp_path: Path) -> None:
    with colocated(tmp_path, generation="3") as (trainer, llm), trainer.engine.batch(0):
        prompt = shown(trainer, (128, 128))
        trainer.engine.generate([prompt], seed=0)
        assert prompt.places[0][1] == 16
        assert llm.settings["mm_processor_kwargs"] == {"size": {"shortest_edge": 4 * 32 * 32, "longest_edge": 16384 * 32 * 32}}
        assert trl_vllm.LLM(model="").settings == {"model": ""}  # told to the policy's own vLLM only


def test_a_vllm_with_limits_of_its_own_is_an_error(tmp_path: Path) -> None:
    with colocated(tmp_path, generation="3") as (trainer, llm), trainer.engine.batch(0):
        llm.eye = Eye(image_id=trainer.model.config.image_token_id, cell=32, min_pixels=65_536)
        prompt = shown(trainer, (128, 128))
        with pytest.raises(EngineError, match=rf"{len(prompt.ids)} tokens for the trainer and {len(prompt.ids) + 48} for vLLM"):
            trainer.engine.generate([prompt], seed=0)


def test_requests_are_sampled_with_their_own_seeds_and_lengths(tmp_path: Path) -> None:
    with (
        colocated(tmp_path, generation=None, generation_kwargs={"stop_token_ids": [3]}) as (trainer, llm),
        trainer.engine.batch(0),
    ):
        asked = [Prompt(ids=(1, 2), max_tokens=4, seed=seed) for seed in (7, 8, 7)]
        first, other, again = trainer.engine.generate(asked, seed=0)
        short = trainer.engine.generate([Prompt(ids=(1, 2), max_tokens=1, seed=8)], seed=1)[0]
        assert llm.seeds == [7, 8, 7, 8]
        assert first == again != other
        assert short.ids == other.ids[:1]
        assert trainer.engine.generate([], seed=0) == []


@pytest.mark.parametrize("sleeps", [True, False])
def test_two_steps_of_many_rounds_push_the_weights_twice(sleeps: bool, tmp_path: Path) -> None:
    settings = {"vllm_enable_sleep_mode": sleeps, "max_steps": 2}
    with colocated(tmp_path, generation=None, **settings) as (trainer, llm):
        trainer.objective = Talk(turns=lambda task: 10, roles=("turn",) * 10)
        trainer.train()
        assert len(llm.calls) == 20
        assert llm.pushes == 2
        assert llm.counts["sleep"] == (3 if sleeps else 0)  # TRL's constructor, and each batch
        assert llm.asleep == ({"weights", "kv_cache"} if sleeps else set())


def test_vllm_sleeps_after_a_batch_that_failed(tmp_path: Path) -> None:
    with colocated(tmp_path, generation=None, vllm_enable_sleep_mode=True) as (trainer, llm):
        with pytest.raises(ZeroDivisionError), trainer.engine.batch(0):
            _ = 1 / 0
        assert llm.asleep
        with trainer.engine.batch(0):
            assert trainer.engine.generate([Prompt(ids=(1,), max_tokens=2)], seed=0)
        assert llm.pushes == 2  # the sleep threw the weights away


def test_adapters_leave_the_weights_under_them_as_they_were_to_the_bit(tmp_path: Path) -> None:
    from peft import LoraConfig

    model, tokenizer = tiny_llama(layers=1)
    model.to(torch.bfloat16)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    with vllm_installed() as made:
        trainer = trainer_of(
            tmp_path,
            model=(model, tokenizer),
            engine=VllmEngine(max_gap=math.inf),
            use_vllm=True,
            vllm_mode="colocate",
            peft_config=lora,
        )
        base = {name: one.detach().clone() for name, one in trainer.model.named_parameters() if "lora_" not in name}
        for version in range(100):
            with trainer.engine.batch(version):
                pass
        assert made[0].pushes == 100
        assert "model.layers.0.self_attn.q_proj.weight" in made[0].loads
        assert all(torch.equal(one, base[name]) for name, one in trainer.model.named_parameters() if name in base)


def test_a_seed_for_all_requests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="all attempts at a task would be one text"):
        trainer_of(tmp_path, generation_kwargs={"seed": 1})


def test_the_vllm_engine_needs_vllm_to_be_switched_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use_vllm"):
        trainer_of(tmp_path, engine=VllmEngine())


def corrected(tmp_path: Path, *, scores: Any, **settings: Any) -> tuple[MemGRPOTrainer, dict[str, Any], Stub]:
    """One generation batch of a trainer that corrects for the sampler."""
    end = tiny_llama()[1].eos_token_id
    stub = Stub(say=lambda ids: [sum(ids) % 10, 7, end][: 1 + sum(ids) % 3], scores=scores)
    trainer = vllm(tmp_path, stub, **ALL_ROWS, **settings)  # the attempts of a group are alike
    trainer.vllm_importance_sampling_correction, trainer.vllm_importance_sampling_mode = True, "token_truncate"
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer, trainer._prepare_inputs([row for row in rows(2) for _ in range(4)]), stub


def test_the_correction_for_the_sampler_reaches_the_loss(tmp_path: Path) -> None:
    trainer, batch, stub = corrected(tmp_path, scores=lambda ids: [[-3.0] for _ in ids])
    mask = batch["completion_mask"].bool()

    ratio = batch["importance_sampling_ratio"]

    expected = (batch["old_per_token_logps"] + 3.0).exp().clamp(max=trainer.vllm_importance_sampling_clip_max)
    torch.testing.assert_close(ratio[mask], expected[mask])
    assert (ratio[~mask] == 1).all()
    assert stub.synced == [0]  # the weights were sent once, before the first call
    plain = trainer._compute_loss(trainer.model, {**batch, "importance_sampling_ratio": torch.ones_like(ratio)}).item()
    doubled = trainer._compute_loss(trainer.model, {**batch, "importance_sampling_ratio": 2 * torch.ones_like(ratio)}).item()
    batch["advantages"] = torch.ones_like(batch["advantages"])
    whole = trainer._compute_loss(trainer.model, batch).item()
    assert doubled == pytest.approx(2 * plain, abs=1e-7)
    assert whole == pytest.approx(-float(ratio[mask].sum()) / int(batch["num_items_in_batch"]), rel=1e-5)


def test_tokens_without_a_score_are_not_corrected(tmp_path: Path) -> None:
    _, batch, _ = corrected(tmp_path, scores=lambda ids: [[None] if at == 0 else [-3.0] for at, _ in enumerate(ids)])

    ratio = batch["importance_sampling_ratio"]

    assert (ratio[:, 0] == 1).all()
    assert torch.isfinite(ratio).all()


def test_sequence_weights_survive_cutting_and_filling_up(tmp_path: Path) -> None:
    end = tiny_llama()[1].eos_token_id
    stub = Stub(say=lambda ids: [sum(ids) % 10, 7, 8, end][: 1 + sum(ids) % 4])
    trainer = vllm(tmp_path, stub, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    trainer.allocator = Sizes(sizes=[3, 2])
    trainer.vllm_importance_sampling_correction, trainer.vllm_importance_sampling_mode = True, "sequence_mask"
    trainer.current_gradient_accumulation_steps = 4
    trainer.model.train()

    for step in range(4):
        trainer._step = step
        batch = trainer._prepare_inputs([row for row in rows(2) for _ in range(4)])
        assert batch["importance_sampling_ratio"].shape == (len(batch["prompt_ids"]), 1)
        assert torch.isfinite(trainer.compute_loss(trainer.model, dict(batch)))


def test_an_engine_without_scores_cannot_be_corrected_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gave no log-probabilities"):
        corrected(tmp_path, scores=lambda ids: None)
