"""The gap between sampler and trainer is logged by role, and a wide one ends the first batch before anything is learned."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import tiny_llama, tiny_qwen_vl
from helpers.engine_trainers import trainer_of
from helpers.scored_sampler import ScoredSampler
from picture_runs import learn
from scripted_runs import Talk

from memagent.errors import ConfigError, EngineError
from memagent_training.engines import HttpEngine, VllmEngine
from memagent_training.rollouts.sampler_gap import SamplerGap
from memagent_training.testing.vllm_llm import vllm_installed
from memagent_training.testing.vllm_rule import Eye
from memagent_training.testing.vllm_server import FakeVllmServer

ROLES = ("draft", "draft", "answer")
CORRECTED = {"vllm_importance_sampling_correction": False}


def policy_and_sampler(corrupted: bool = False) -> tuple[Any, ScoredSampler]:
    """A policy, and what has its weights; `corrupted`: but is shown the prompts of answers the wrong way round."""
    model, tokenizer = tiny_llama(layers=1)

    def read(prompt: Sequence[int]) -> list[int]:
        last = "+1=" in tokenizer.decode(list(prompt))
        return list(prompt)[::-1] if corrupted and last else list(prompt)

    sampler = ScoredSampler(
        model=copy.deepcopy(model).eval(), read=read, vocabulary=range(20), end_id=tokenizer.eos_token_id, ends=30
    )
    return (model, tokenizer), sampler


def log_of(trainer: Any) -> dict[str, float]:
    trainer.objective = Talk(roles=ROLES)
    trainer.train()
    line: dict[str, float] = trainer.state.log_history[0]
    return {key.removeprefix("sampler/"): value for key, value in line.items() if key.startswith("sampler/")}


def served(folder: Path, sampler: ScoredSampler, policy: Any, *, max_gap: float, **settings: Any) -> dict[str, float]:
    with FakeVllmServer(sampler=sampler) as server:
        engine = HttpEngine(servers=(server.url,), weights="fixed", max_gap=max_gap)
        return log_of(trainer_of(folder, model=policy, engine=engine, **settings))


def in_process(folder: Path, sampler: ScoredSampler, policy: Any, *, max_gap: float, **settings: Any) -> dict[str, float]:
    with vllm_installed(sampler=sampler):
        options = {"use_vllm": True, "vllm_mode": "colocate"} | CORRECTED
        return log_of(trainer_of(folder, model=policy, engine=VllmEngine(max_gap=max_gap), **options, **settings))


@pytest.mark.parametrize("run", [served, in_process])
def test_a_sampler_with_the_policys_weights_has_no_gap(run: Callable[..., dict[str, float]], tmp_path: Path) -> None:
    policy, sampler = policy_and_sampler()
    told = run(tmp_path, sampler, policy, max_gap=1e-3, gradient_accumulation_steps=2, per_device_train_batch_size=4)
    assert told.keys() == {"gap_abs_answer", "gap_abs_draft", "gap_max", "kl", "outside_share", "unscored_share"}
    assert max(told.values()) < 1e-4


@pytest.mark.parametrize("run", [served, in_process])
def test_prompts_that_are_read_otherwise_end_the_first_batch_by_their_role(
    run: Callable[..., dict[str, float]], tmp_path: Path
) -> None:
    policy, sampler = policy_and_sampler(corrupted=True)
    before = [one.detach().clone() for one in policy[0].parameters()]
    with pytest.raises(
        EngineError, match=r"disagree about what was said as `answer` by 0\.\d+ nats.*engine\.max_gap"
    ) as caught:
        run(tmp_path, sampler, policy, max_gap=1e-3)
    assert "`draft`" not in str(caught.value)
    assert all(torch.equal(one, now) for one, now in zip(before, policy[0].parameters(), strict=True)), "nothing was learned"


def test_weights_that_stay_behind_show_as_a_gap_that_grows(tmp_path: Path) -> None:
    policy, sampler = policy_and_sampler()
    with FakeVllmServer(sampler=sampler) as server:
        engine = HttpEngine(servers=(server.url,), weights="fixed", max_gap=1e-3)
        trainer = trainer_of(tmp_path, model=policy, engine=engine, max_steps=3, learning_rate=5.0)
        log_of(trainer)
    gaps = [line["sampler/gap_abs_answer"] for line in trainer.state.log_history if "sampler/gap_abs_answer" in line]
    assert gaps[0] < 1e-4
    assert 1e-3 < gaps[1] < gaps[2]


def test_masked_and_unscored_tokens_are_no_gap() -> None:
    gap = SamplerGap()
    gap.logps = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0]])
    part = {
        "completion_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        "tool_mask": torch.tensor([[1, 0, 1], [1, 1, 1]]),
        "sampling_per_token_logps": torch.tensor([[-1.5, -9.0, -2.0], [math.nan, -1.0, -9.0]]),
        "roles": ["draft", "answer"],
    }
    gap.note(part)
    told = gap.told(HttpEngine(max_gap=0.8))
    assert told == pytest.approx(
        {
            "sampler/gap_abs_answer": 0.0,
            "sampler/gap_abs_draft": 0.75,
            "sampler/gap_max": 1.0,
            "sampler/kl": (-0.5 + 1.0) / 4,
            "sampler/outside_share": 0.25,
            "sampler/unscored_share": 0.25,
        }
    )
    gap.note({key: value for key, value in part.items() if key != "sampling_per_token_logps"})
    assert gap.told(HttpEngine()) == {}
    gap.note(part)
    gap.told(HttpEngine(max_gap=0.1))  # only the first batch is held to it
    with pytest.raises(ConfigError, match=r"engine\.max_gap is 0"):
        HttpEngine(max_gap=0)


def test_pictures_that_the_sampler_does_not_see_end_the_first_batch_and_drafts_are_not_named(tmp_path: Path) -> None:
    model, processor = tiny_qwen_vl("2.5")
    eye = Eye(image_id=model.config.image_token_id, cell=28)
    sampler = ScoredSampler(  # the picture's tokens alone, as mere text
        model=copy.deepcopy(model).eval(), vocabulary=range(20), end_id=processor.tokenizer.eos_token_id, ends=30
    )
    with (
        vllm_installed(eye=eye, sampler=sampler),
        pytest.raises(EngineError, match=r"`augM` by .*`augQ` by .*`std` by ") as caught,
    ):
        learn(
            tmp_path,
            "2.5",
            model=(model, processor),
            parts={"engine": VllmEngine(max_gap=1e-3)},
            use_vllm=True,
            vllm_mode="colocate",
            max_steps=1,
            **CORRECTED,
        )
    assert "`draft`" not in str(caught.value)
