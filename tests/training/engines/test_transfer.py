"""Whole weights that travel to servers: what they get, by what name, and who is told when they did not take it.

The wire is `LocalBroadcast` in place of NCCL; everything else is what a run does.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers.checkpoints import tiny_llama, tiny_qwen_vl
from helpers.engine_trainers import png, trainer_of
from helpers.training_runs import launch
from scripted_runs import Talk

from memagent.errors import ConfigError, EngineError
from memagent.types import ImagePart, user_message
from memagent_training.engines import HttpEngine
from memagent_training.engines import http as http_module
from memagent_training.engines.base import Prompt
from memagent_training.engines.broadcast import NcclBroadcast
from memagent_training.objectives.base import PolicyRequest
from memagent_training.recipe import load_recipe
from memagent_training.testing.broadcast import LocalBroadcast
from memagent_training.testing.vllm_rule import Eye, Sampler
from memagent_training.testing.vllm_server import FakeVllmServer
from memagent_training.trainer import MemGRPOTrainer

SAMPLER = Sampler(vocabulary=range(20), end_id=46, ends=30)
UPDATE = ["/pause", "/start_weight_update", "/update_weights", "/finish_weight_update", "/reset_prefix_cache", "/resume"]


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpEngine, "broadcast", LocalBroadcast)
    monkeypatch.setattr(http_module, "PAUSE_S", 0.001)


@contextmanager
def fleet(count: int, **settings: Any) -> Iterator[list[FakeVllmServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeVllmServer(sampler=SAMPLER, **settings)) for _ in range(count)]


def served(folder: Path, servers: Sequence[FakeVllmServer], *, model: Any = None, **settings: Any) -> MemGRPOTrainer:
    """A trainer of all weights, which sends them to `servers`."""
    engine = HttpEngine(servers=tuple(one.url for one in servers), weights="whole", max_gap=math.inf)  # scores are made up
    return trainer_of(folder, model=model or tiny_llama(layers=1), engine=engine, **settings)


def pushed(trainer: MemGRPOTrainer, version: int, *groups: str) -> set[str]:
    """Send the weights of `version`, and ask for each group; the addresses that answered."""

    async def all_of_them() -> set[str]:
        asked = [Prompt(ids=(1, 2), group=group, seed=1, max_tokens=8) for group in groups]
        return {one.server for one in await asyncio.gather(*map(engine.complete, asked))}

    engine = trainer.engine
    assert isinstance(engine, HttpEngine)
    with engine.batch(version):
        return asyncio.run(all_of_them())


def has_weights_of(server: FakeVllmServer, model: Any) -> bool:
    weights = {name: one.detach().to(torch.bfloat16) for name, one in model.named_parameters()}
    return weights.keys() == server.state.received.keys() and all(
        torch.equal(one, server.state.received[name]) for name, one in weights.items()
    )


@pytest.mark.parametrize("dialect", ["0.31", "0.33"])
def test_every_version_reaches_every_server_under_a_new_name(dialect: Any, tmp_path: Path) -> None:
    with fleet(2, dialect=dialect) as servers:
        trainer = served(tmp_path, servers)
        names = []
        for version in range(3):
            for _ in range(2):  # rounds: the same weights are not sent again
                assert pushed(trainer, version, *map(str, range(20))) == {one.url for one in servers}
            assert all(has_weights_of(one, trainer.model) for one in servers)
            [name] = {one.state.weight_version for one in servers}
            names.append(name)
            for weight in trainer.model.parameters():
                weight.data.add_(0.5)
        assert not has_weights_of(servers[0], trainer.model)
        for server in servers:
            told = [one.path for one in server.asked if one.path in UPDATE]
            assert told == UPDATE * 3
            assert len(server.sent("/init_weight_transfer_engine")) == 1  # the group lasts
            assert server.state.open.is_set()
        assert [name.partition("-")[0] for name in names] == ["w1", "w2", "w3"]
        ranks = [one.sent("/init_weight_transfer_engine")[0]["init_info"] for one in servers]
        assert [(one["rank_offset"], one["world_size"], one["packed"]) for one in ranks] == [(1, 3, True), (2, 3, True)]
        pushed(served(tmp_path / "again", servers), 0)
        assert servers[0].state.weight_version not in names


@pytest.mark.slow
def test_weights_that_are_sharded_over_processes_are_sent_whole(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "sharded_weights.py"
    launch([sys.executable, str(script), str(tmp_path)], world=2, seconds=120, cwd=tmp_path)
    model, _ = tiny_llama()
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert found.keys() == {name for name, _ in model.named_parameters()}
    assert all(torch.equal(found[name], one.to(torch.bfloat16)) for name, one in model.named_parameters())


def test_a_run_trains_all_weights_on_servers_and_sends_them_once_a_batch(tmp_path: Path) -> None:
    with fleet(1) as [server]:
        trainer = served(tmp_path, [server], max_steps=2)
        trainer.objective = Talk(turns=lambda task: 3)
        start = [one.detach().clone() for one in trainer.model.parameters()]
        trainer.train()
        assert server.state.updates == 2
        assert not all(map(torch.equal, start, trainer.model.parameters()))
        assert pushed(trainer, 2, "a")
        assert has_weights_of(server, trainer.model)


def test_a_push_that_a_server_skips_is_found_by_its_version(tmp_path: Path) -> None:
    with fleet(2) as servers:
        trainer = served(tmp_path, servers)
        pushed(trainer, 0)
        servers[1].settings.deaf = True
        with pytest.raises(EngineError, match=rf"{servers[1].url} has weights `w1-\w+` after `w2-\w+` were sent"):
            pushed(trainer, 1)
        assert all(one.state.open.is_set() for one in servers), "they take requests up again"


def test_a_server_that_is_gone_is_left_out_and_gets_the_next_version_when_it_is_back(tmp_path: Path) -> None:
    with fleet(2) as servers:
        trainer = served(tmp_path, servers)
        servers[1].settings.drop_after = 0
        groups = [*map(str, range(20))]
        assert pushed(trainer, 0, *groups) == {servers[0].url}
        servers[1].settings.drop_after = None
        assert pushed(trainer, 1, *groups) == {one.url for one in servers}
        assert servers[0].state.weight_version == servers[1].state.weight_version
        assert has_weights_of(servers[1], trainer.model)
        servers[0].state.weight_version = "default"  # started again, out of the group
        servers[0].state.group = None
        pushed(trainer, 2)
        assert has_weights_of(servers[0], trainer.model)
        assert servers[0].state.weight_version == servers[1].state.weight_version != "default"


def test_a_server_that_was_started_again_does_not_answer_with_its_start_weights(tmp_path: Path) -> None:
    model, processing = tiny_qwen_vl("2.5")
    with fleet(2, eye=Eye(image_id=model.config.image_token_id)) as servers:
        trainer = served(tmp_path, servers, model=(model, processing))
        request = PolicyRequest((user_message("a", ImagePart(data=png(56, 56, (255, 0, 0)))),), max_tokens=4)
        prompt = trainer.policy_tokenizer.encode(request)
        engine = trainer.engine
        assert isinstance(engine, HttpEngine)
        with engine.batch(0):
            home = asyncio.run(engine.complete(prompt)).server
            [there] = [one for one in servers if one.url == home]
            there.state.weight_version = "default"
            assert asyncio.run(engine.complete(prompt)).server != home


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weight_transfer": False}, r"--weight-transfer-config '\{\"backend\": \"nccl\"\}'"),
        ({"dev_mode": False}, "VLLM_SERVER_DEV_MODE=1"),
    ],
)
def test_a_server_that_takes_no_weights_says_how_to_start_it(settings: Any, said: str, tmp_path: Path) -> None:
    with fleet(1, **settings) as [server]:
        trainer = served(tmp_path, [server])
        with pytest.raises(EngineError, match=said):
            pushed(trainer, 0)


def test_a_wire_that_breaks_leaves_the_servers_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Torn(LocalBroadcast):
        def send(self, weights: Any) -> None:
            next(iter(weights))
            raise RuntimeError("NCCL error: unhandled system error")

    monkeypatch.setattr(HttpEngine, "broadcast", Torn)
    with fleet(1) as [server]:
        trainer = served(tmp_path, [server])
        with pytest.raises(EngineError, match=r"weights were not sent: RuntimeError.*NCCL error"):
            pushed(trainer, 0)
        assert server.state.open.is_set()
        assert server.state.updates == 0


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpEngine, "broadcast", NcclBroadcast)
    monkeypatch.setattr("memagent_training.engines.broadcast.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'vLLM is not installed beside the trainer: pip install "vllm>=0\.30'):
        HttpEngine(servers=("http://a",), weights="whole").start(SimpleNamespace(use_vllm=False, model=None))  # type: ignore[arg-type]
    assert HttpEngine(weights="fixed").available() is None


def test_adapters_are_not_sent_whole() -> None:
    with pytest.raises(ConfigError, match=r'engine\.weights = "whole" sends all weights, and adapters are trained'):
        HttpEngine(weights="whole").check(use_vllm=False, adapters=True)


def test_a_recipe_of_full_training_takes_servers() -> None:
    places = {"engine.kind": "http", "trl.use_vllm": False}
    with pytest.raises(ConfigError, match=r'set engine\.weights = "whole"'):
        load_recipe("memagent-7b", overrides=places)
    recipe = load_recipe("memagent-7b", overrides=places | {"engine.weights": "whole"})
    assert recipe.settings()["engine"]["weights"] == "whole"
