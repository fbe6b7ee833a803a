"""The agent loop and the trainers of verl 0.9.1, over a stand-in with its names; against the package, their signatures."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import fake_verl, lookup_objective
from helpers.checkpoints import tiny_llama
from helpers.fake_verl import AGENT_LOOPS, TRAINERS, Batch, Queue, TokenOutput
from helpers.lookup_objective import LookUp

from memagent.errors import ConfigError, MissingExtra
from memagent.memory.memocr.loops import Loop
from memagent.types import user_message
from memagent_training.adapters.episodes import Episodes
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import EpisodeResult, PlainBatches, PolicyRequest, Task
from memagent_training.recipe import load_recipe

NAME = "memagent_training.adapters.verl"


class TwoRoles(PlainBatches):
    """Two conversations that share nothing."""

    gives = Rewards(ranges={"answer": (0.0, 1.0)})

    def episode(self, task: Task, *, seed: int) -> Loop[EpisodeResult]:
        yield PolicyRequest((user_message(str(task["prompt"])),), max_tokens=3, role="draft")
        said = yield PolicyRequest((user_message("7="),), max_tokens=2, role="std", weight=0.5)
        return EpisodeResult(rewards={"answer": float(said.text == "1")})


@dataclass
class Servers:
    """verl's client of its servers, which says what it is told."""

    replies: list[Any]
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def generate(self, request_id: str, **options: Any) -> TokenOutput:
        self.asked.append((request_id, options))
        said = self.replies.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    return fake_verl.install(monkeypatch)


@pytest.fixture
def adapter(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return importlib.import_module(NAME)


@pytest.fixture
def policy(tmp_path: Path) -> tuple[Path, Any]:
    model, tokenizer = tiny_llama()
    model.config.save_pretrained(tmp_path)
    return tmp_path, tokenizer


def _run(adapter: ModuleType, policy: tuple[Path, Any], servers: Servers, patch: pytest.MonkeyPatch) -> Any:
    path, tokenizer = policy
    patch.setattr(adapter, "_episodes", lambda *_: Episodes(TwoRoles(), splits={}))
    model = SimpleNamespace(model=SimpleNamespace(path=str(path)))
    config = SimpleNamespace(config=SimpleNamespace(actor_rollout_ref=model))
    loop = AGENT_LOOPS["memagent"](
        config, servers, tokenizer, None, None, None, recipe="two-roles", name="memagent", tools=None
    )
    row = {"id": "q", "prompt": "1+2="}
    return asyncio.run(loop.run({"temperature": 0.7, "logprobs": True}, extra_info=row, uid="u7", session_id=3, index=0))


def test_an_episode_is_one_output_a_segment(
    adapter: ModuleType, policy: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, end = policy[1]("21")["input_ids"], policy[1].eos_token_id
    servers = Servers([TokenOutput([ids[0], end], [-0.5, -0.1]), TokenOutput([ids[1], end], [-0.2, -0.3])])
    draft, answer = _run(adapter, policy, servers, monkeypatch)
    for output, asked in ((draft, "1+2="), (answer, "7=")):
        assert asked in policy[1].decode(output.prompt_ids).replace(" ", "")
    assert (draft.response_ids, draft.response_mask, draft.response_logprobs) == ([ids[0], end], [1, 1], [-0.5, -0.1])
    assert [one.reward_score for one in (draft, answer)] == [1.0, 1.0]
    note = answer.extra_fields["memagent"]
    assert (note["role"], note["weight"], note["segment"], note["segments"]) == ("std", 0.5, 1, 2)
    assert (note["group"], note["rollout"], note["rewards"]) == ("u7", "u7/3", {"answer": 1.0})
    sticky, options = servers.asked[0]
    assert sticky == "u7"
    assert options["sampling_params"] | {"seed": 0} == {"temperature": 0.7, "logprobs": True, "max_tokens": 3, "seed": 0}
    assert len({one["sampling_params"]["seed"] for _, one in servers.asked}) == 2


@pytest.mark.parametrize("said", [RuntimeError("server is gone"), TokenOutput([5], stop_reason="aborted")])
def test_an_episode_that_the_world_failed_has_no_output(
    adapter: ModuleType, policy: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, said: Any
) -> None:
    assert _run(adapter, policy, Servers([TokenOutput([5, 2]), said]), monkeypatch) == []


@pytest.mark.parametrize("mode", ["memagent_sync", "memagent_colocate_async", "memagent_separate_async"])
def test_trainers_take_the_advantages_of_the_credit(adapter: ModuleType, queue: Queue, mode: str) -> None:
    from memagent_training.adapters.rows import notes_of
    from memagent_training.grpo.rollout import Rollout, Segment

    for attempt, reward in enumerate((1.0, 0.0)):
        parts = [Segment(prompt_ids=[1], ids=[1, 2, 3], mask=(1, 0, 1)), Segment(prompt_ids=[1], ids=[4], weight=0.5)]
        one = Rollout(id=f"u/{attempt}", group_id="u", prompt_id="q", segments=parts, rewards={"answer": reward})
        for number, note in enumerate(notes_of(one)):
            queue.rows[f"u_{attempt}_{number}"] = {"extra_fields": SimpleNamespace(data={"memagent": note})}
    metrics: dict[str, Any] = {}
    settings = SimpleNamespace(memagent_recipe="demo", v1=SimpleNamespace(trainer_mode=mode))
    trainer = TRAINERS[mode](config=SimpleNamespace(trainer=settings))
    assert trainer.trainer_mode == mode.removeprefix("memagent_")
    trainer._compute_advantage(Batch(list(queue.rows), "train"), metrics)
    assert metrics == {"verl": 1.0}
    found = {key: row["advantages"] for key, row in queue.rows.items()}
    high = found["u_0_0"][0].item()
    assert high > 0
    torch.testing.assert_close(found["u_0_0"], torch.tensor([high, 0.0, high]))
    torch.testing.assert_close(found["u_1_0"], torch.tensor([-high, 0.0, -high]))
    torch.testing.assert_close(found["u_0_1"], torch.tensor([0.5 * high]))
    torch.testing.assert_close(queue.rows["u_1_1"]["returns"], found["u_1_1"])


def test_a_baseline_that_needs_a_prior_is_refused(adapter: ModuleType) -> None:
    with pytest.raises(ConfigError, match='baseline "v05" needs a prior'):
        adapter.judge_of(load_recipe("v05"))


def test_pictures_go_to_the_servers_and_into_the_rows(adapter: ModuleType) -> None:
    assert adapter._picture(lookup_objective.PIXEL).size == (1, 1)
    assert isinstance(lookup_objective.episodes().objective, LookUp)


def test_without_verl_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verl", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(MissingExtra, match=r"verl>=0\.9\.1"):
        importlib.import_module(NAME)


# -- the package itself -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed")
def test_verl_has_what_the_adapter_builds_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    loops = importlib.import_module("verl.experimental.agent_loop.agent_loop")
    given = set(inspect.signature(loops.AgentLoopBase.__init__).parameters)
    assert {"trainer_config", "server_manager", "tokenizer", "processor", "kwargs"} <= given
    assert set(fake_verl.AgentLoopOutput.__dataclass_fields__) <= set(loops.AgentLoopOutput.model_fields)
    servers = importlib.import_module("verl.workers.rollout.llm_server")
    asked = inspect.signature(servers.LLMServerClient.generate).parameters
    assert {"request_id", "prompt_ids", "sampling_params", "image_data"} <= set(asked)
    trainers = importlib.import_module("verl.trainer.ppo.v1.trainer_base")
    assert list(inspect.signature(trainers.PPOTrainer._compute_advantage).parameters) == ["self", "batch", "metrics"]
    adapter = importlib.import_module(NAME)
    assert trainers.TRAINER_REGISTRY["memagent_sync"] is adapter.MemagentSync
