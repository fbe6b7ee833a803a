"""The ratio against the trainer's own pass, and against what the sampler said."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.scored_sampler import ScoredSampler
from scripted_runs import ALL_ROWS, END, Run, ours, policy, said

from memagent.errors import ConfigError
from memagent_training.engines import HttpEngine, ScriptedEngine, VllmEngine
from memagent_training.engines.base import Completion, Prompt
from memagent_training.testing.vllm_llm import vllm_installed
from memagent_training.testing.vllm_server import FakeVllmServer

UPDATES: dict[str, Any] = {"num_iterations": 2, "max_steps": 2, "loss_type": "dapo"} | ALL_ROWS


class Sampler:
    """Says what the script says, with the policy's log-probabilities less `gap`; the first token of each has `first`."""

    name = "sampler"

    def __init__(self, *, gap: float = 0.0, first: float | None = None) -> None:
        self.gap, self.first = gap, first
        self.model: Any = None

    def start(self, host: Any) -> None:
        self.model = host.model

    def batch(self, version: int) -> AbstractContextManager[None]:
        return nullcontext()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Completion:
        ids = tuple(said(prompt.ids, prompt.attempt)[: prompt.max_tokens])
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([[*prompt.ids, *ids]])).logits[0, len(prompt.ids) - 1 : -1]
        scores = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0] - self.gap
        first = float(scores[0]) if self.first is None else self.first
        return Completion(ids=ids, logprobs=(first, *scores[1:].tolist()))


def trained(output: Path, old: str, engine: Any, **settings: Any) -> tuple[Run, list[int]]:
    """A run, and the rows of the trainer's forward passes; the engine's are of one row."""
    model, tokenizer = policy()
    taken: list[int] = []
    model.model.register_forward_pre_hook(
        lambda module, arguments, options: taken.append(len(options["input_ids"])), with_kwargs=True
    )
    parts = {"engine": engine, "old": old}
    run = ours(output, script=None, model=(model, tokenizer), parts=parts, **UPDATES | settings)
    return run, [rows for rows in taken if rows > 1]


def test_against_the_sampler_no_pass_is_run_before_the_updates(tmp_path: Path) -> None:
    own, passes = trained(tmp_path / "trainer", "trainer", Sampler())
    sampler, fewer = trained(tmp_path / "sampler", "sampler", Sampler())

    assert (passes, fewer) == ([8, 8, 8], [8, 8])
    assert sampler.losses == pytest.approx(own.losses, abs=1e-6)
    for one, other in zip(sampler.gradients, own.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert sampler.logs[0]["clip_ratio/region_mean"] == 0  # the ratio is 1
    assert sampler.logs[0]["sampler/unscored"] == 0


def test_the_ratio_of_the_first_update_is_the_gap_to_the_sampler(tmp_path: Path) -> None:
    own, _ = trained(tmp_path / "trainer", "trainer", Sampler())
    sampler, _ = trained(tmp_path / "sampler", "sampler", Sampler(gap=0.05))

    torch.testing.assert_close(sampler.gradients[0], own.gradients[0] * math.exp(0.05), atol=1e-6, rtol=1e-4)
    assert own.gradients[0].abs().max() > 1e-2


def test_tokens_without_a_score_count_as_equal_and_are_counted(tmp_path: Path) -> None:
    own, _ = trained(tmp_path / "trainer", "trainer", Sampler())
    sampler, passes = trained(tmp_path / "sampler", "sampler", Sampler(first=math.nan))

    assert passes == [8, 8, 8]  # a pass fills them in
    assert sampler.logs[0]["sampler/unscored"] == 8
    for one, other in zip(sampler.gradients, own.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_packed_rows_take_the_ratio_against_the_sampler_too(tmp_path: Path) -> None:
    model, tokenizer = policy()
    parts = {"engine": Sampler(gap=0.05), "old": "sampler"}
    padded, _ = trained(tmp_path / "padded", "sampler", Sampler(gap=0.05))
    packed = ours(tmp_path / "packed", script=None, model=(model, tokenizer), parts=parts | {"layout": "packed"}, **UPDATES)

    for one, other in zip(packed.gradients, padded.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_an_engine_without_scores_is_refused(tmp_path: Path) -> None:
    engine = ScriptedEngine(script=lambda prompt: said(prompt.ids, prompt.attempt))
    with pytest.raises(ConfigError, match=r'engine `scripted` gave no log-probabilities.*loss\.old = "trainer"'):
        trained(tmp_path, "sampler", engine)


def scored_by(model: Any, gap: float) -> ScoredSampler:
    """A sampler that has the weights of a policy as they are now."""
    return ScoredSampler(model=copy.deepcopy(model).eval(), gap=gap, vocabulary=range(3, 20), end_id=END, ends=30)


@contextmanager
def served(model: Any, gap: float) -> Iterator[tuple[Any, dict[str, Any]]]:
    """An engine that asks a server, and what TRL is told."""
    with FakeVllmServer(sampler=scored_by(model, gap)) as server:
        yield HttpEngine(servers=(server.url,), weights="fixed"), {}


@contextmanager
def in_process(model: Any, gap: float) -> Iterator[tuple[Any, dict[str, Any]]]:
    """An engine with vLLM here, and what TRL is told."""
    with vllm_installed(sampler=scored_by(model, gap)):
        yield VllmEngine(), {"use_vllm": True, "vllm_mode": "colocate", "vllm_importance_sampling_correction": False}


def against(output: Path, old: str, sampling: Any, gap: float = 0.0) -> tuple[Run, int]:
    """A run over a stand-in for vLLM, and the trainer's forward passes."""
    model, tokenizer = policy()
    taken: list[int] = []
    with sampling(model, gap) as (engine, settings):
        model.model.register_forward_pre_hook(lambda *_: taken.append(1))
        parts = {"engine": engine, "old": old}
        run = ours(output, script=None, model=(model, tokenizer), parts=parts, **UPDATES | settings)
    return run, len(taken)


@pytest.mark.parametrize("sampling", [served, in_process])
def test_what_vllm_says_takes_the_place_of_a_pass(sampling: Any, tmp_path: Path) -> None:
    own, passes = against(tmp_path / "trainer", "trainer", sampling)
    sampler, fewer = against(tmp_path / "sampler", "sampler", sampling)

    assert (passes, fewer) == (3, 2)
    assert sampler.losses == pytest.approx(own.losses, abs=1e-6)
    for one, other in zip(sampler.gradients, own.gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        assert other.abs().max() > 1e-4
    assert sampler.logs[0]["clip_ratio/region_mean"] == 0  # the ratio of the first update is 1
    assert sampler.logs[0]["sampler/unscored"] == 0


@pytest.mark.parametrize("sampling", [served, in_process])
def test_what_vllm_scores_otherwise_is_in_the_ratio(sampling: Any, tmp_path: Path) -> None:
    own, _ = against(tmp_path / "trainer", "trainer", sampling)
    sampler, _ = against(tmp_path / "sampler", "sampler", sampling, gap=0.05)

    torch.testing.assert_close(sampler.gradients[0], own.gradients[0] * math.exp(0.05), atol=1e-5, rtol=1e-3)
    told = {name: value for name, value in sampler.logs[0].items() if name.startswith("sampler/gap_abs")}
    assert told == pytest.approx({"sampler/gap_abs_answer": 0.05}, abs=1e-3)
