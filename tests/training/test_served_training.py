"""Training whose rollouts are made on servers: the same run whatever they are like, and rollouts that wait for nobody."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

import torch
from helpers import pool_work
from helpers.checkpoints import character_tokenizer, tiny_llama
from helpers.engine_trainers import trainer_of
from scripted_runs import Talk

from memagent.errors import EngineError
from memagent_training.engines import Completion, HttpEngine, Prompt, ReplayEngine
from memagent_training.objectives.base import Episode, Task, in_worker
from memagent_training.rollouts.driver import Job, roll_out
from memagent_training.rollouts.workers import WorkerPool
from memagent_training.runs.callbacks import RolloutLog
from memagent_training.testing.vllm_rule import Sampler
from memagent_training.testing.vllm_server import FakeVllmServer
from memagent_training.tokenization import PolicyTokenizer

TOKENIZER = character_tokenizer()
SAMPLER = Sampler(vocabulary=range(20), end_id=TOKENIZER.eos_token_id, ends=30)


@contextmanager
def fleet(count: int, **settings: Any) -> Iterator[list[FakeVllmServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeVllmServer(sampler=SAMPLER, **settings)) for _ in range(count)]


def adapted() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")


class Noted(Talk):
    """A talk whose task is worked on before it begins."""

    def episode(self, task: Task, *, seed: int) -> Episode:
        noted = yield from in_worker(pool_work.shout, str(task["prompt"]))
        return (yield from super().episode({**task, "prompt": noted[:-1]}, seed=seed))


def served(servers: Sequence[FakeVllmServer], **options: Any) -> HttpEngine:
    return HttpEngine(servers=tuple(one.url for one in servers), max_gap=math.inf, **options)  # scores are made up


def trained(
    folder: Path, engine: HttpEngine | ReplayEngine, *, workers: int = 0, old: str = "trainer"
) -> tuple[dict[str, Any], list[Any], list[Any]]:
    """Adapter, logged numbers that no clock has a part in, and rollouts of two steps, which are also written down."""
    torch.manual_seed(0)
    trainer = trainer_of(
        folder,
        model=tiny_llama(layers=1),
        engine=engine,
        peft_config=adapted(),
        max_steps=2,
    )
    trainer.objective, trainer.worker_pool = Noted(turns=lambda task: 3), WorkerPool(workers)
    trainer.old = old
    trainer.add_callback(RolloutLog(trainer, folder))
    trainer.train()
    assert not multiprocessing.active_children()
    told = [
        {key: value for key, value in line.items() if not key.startswith(("time", "train_", "step_"))}
        for line in trainer.state.log_history
    ]
    weights = {name: one.detach().clone() for name, one in trainer.model.named_parameters() if "lora_" in name}
    segments = [[(segment.prompt_ids, segment.ids, segment.logprobs) for segment in one.segments] for one in trainer.rollouts]
    return weights, told, segments


def test_a_run_is_the_same_on_any_servers_and_with_any_workers(tmp_path: Path) -> None:
    with fleet(1) as one, fleet(3, latency=lambda name: 0.002 * (crc32(name.encode()) % 5)) as three:
        plain = trained(tmp_path / "1", served(one))
        other = trained(tmp_path / "3", served(three, concurrency=1), workers=2)
        assert other[1:] == plain[1:]
        assert all(torch.equal(value, other[0][name]) for name, value in plain[0].items())
        names = [body["lora_name"] for body in one[0].sent("/v1/load_lora_adapter")]
        assert [name.partition("-")[0] for name in names] == ["v1", "v2"]  # one for each step, however many turns
        assert {body["model"] for body in one[0].completions} == {*names}


def test_a_served_run_is_replayed_with_what_the_servers_scored(tmp_path: Path) -> None:
    with fleet(1) as servers:
        first = trained(tmp_path / "first", served(servers), old="sampler")
    again = trained(tmp_path / "again", ReplayEngine(log=str(tmp_path / "first")), old="sampler")  # without a server
    assert all(scores for rollout in first[2] for _, _, scores in rollout)
    assert again[1:] == first[1:]
    assert all(torch.equal(value, again[0][name]) for name, value in first[0].items())
    assert (tmp_path / "again" / "rollouts.jsonl").read_bytes() == (tmp_path / "first" / "rollouts.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.timed
def test_rollouts_that_wait_for_nobody_are_done_earlier() -> None:
    class Rounds:
        """The same server, asked in rounds."""

        name = "rounds"

        def __init__(self, engine: HttpEngine) -> None:
            self.engine = engine

        def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
            async def together() -> list[Completion]:
                return await asyncio.gather(*map(self.engine.complete, prompts))

            return asyncio.run(together())

    model, tokenizer = tiny_llama(layers=1)
    jobs = [Job(task={"id": "t", "prompt": "1="}, group_id=f"0:{group}", attempt=at) for group in range(4) for at in range(4)]

    def latency(name: str) -> float:
        """One turn of each rollout is long, and not the same one."""
        attempt, turn = name.split("/")[1].split("#")
        return 0.5 if attempt == turn else 0.02

    with fleet(1, latency=latency) as [server]:
        spent, made = [], []
        for wrap in (lambda engine: engine, Rounds):
            engine = HttpEngine(servers=(server.url,), weights="fixed")
            engine.start(trainer_like(tokenizer))
            began = time.monotonic()
            made.append(
                roll_out(
                    jobs,
                    objective=Talk(turns=lambda task: 4, roles=("turn",) * 4),
                    engine=wrap(engine),
                    tokenizer=PolicyTokenizer(tokenizer, model.config),
                    seed=0,
                )
            )
            spent.append(time.monotonic() - began)
    assert made[0] == made[1]
    assert spent[1] > 1.5 * spent[0]


def trainer_like(tokenizer: Any) -> Any:
    from types import SimpleNamespace

    args = SimpleNamespace(temperature=1.0, top_p=1.0, top_k=0, min_p=None, repetition_penalty=1.0, output_dir="")
    return SimpleNamespace(args=args, eos_token_ids=[tokenizer.eos_token_id], model=None, use_vllm=False)


def test_what_the_world_failed_is_in_no_row_history_or_mean(tmp_path: Path) -> None:
    """Three of eight rollouts lose their server; the run trains on the other five as if those had never been."""

    class Losing(Talk):
        def __init__(self) -> None:
            super().__init__(turns=lambda task: 1)
            self.seen = 0

        def episode(self, task: Any, *, seed: int) -> Any:
            lost = self.seen in (1, 4, 5)
            self.seen += 1
            result = yield from super().episode(task, seed=seed)
            if lost:
                raise EngineError("no connection to http://a", retryable=True)
            return result

    trainer = trainer_of(tmp_path, model=tiny_llama(layers=1))
    trainer.objective, trainer.max_failed = Losing(), 0.5
    trainer.train()

    told = trainer.state.log_history[0]
    assert len(trainer.rollouts) == told["rollouts/total"] == told["rows/total"] == 5
    assert told["rollouts/failed"] == told["rollouts/failed_engine"] == 3
    assert sorted(len([one for one in trainer.rollouts if one.group_id == group]) for group in ("0:0", "0:1")) == [2, 3]
    assert told["reward"] == pytest.approx(sum(one.rewards["answer"] for one in trainer.rollouts) / 5, abs=1e-6)
    kept = trainer.history.state_dict()["prompts"]
    assert sorted(visit[1] for visits in kept.values() for visit in visits) == [2, 3]


def test_a_batch_that_mostly_fails_stops_the_run(tmp_path: Path) -> None:
    class Lost(Talk):
        def episode(self, task: Any, *, seed: int) -> Any:
            yield from super().episode(task, seed=seed)
            raise EngineError("no connection to http://a", retryable=True)

    trainer = trainer_of(tmp_path, model=tiny_llama(layers=1))
    trainer.objective = Lost(turns=lambda task: 1)
    with pytest.raises(EngineError, match=r"8 of 8 rollouts failed, more than the 10%.*no connection to http://a"):
        trainer.train()
