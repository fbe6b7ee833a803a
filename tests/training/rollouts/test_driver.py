"""Rolling out: lock-step rounds, requests one by one, order, seeds and failures."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memagent.errors import (
    ConfigError,
    EngineError,
    InputError,
    MemAgentError,
    MissingExtra,
    ModelError,
    RenderError,
    StoreLocked,
)
from memagent.types import Message, user_message

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="trl is not installed")

from helpers import pool_work
from helpers.checkpoints import character_tokenizer, tiny_llama

from memagent_training.engines.base import Completion, Prompt
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives.base import Episode, EpisodeResult, PlainBatches, PolicyRequest, Task, WorkItem, in_worker
from memagent_training.rollouts.driver import Job, roll_out, seed_of
from memagent_training.rollouts.workers import WorkerDied, WorkerPool
from memagent_training.tokenization import PolicyTokenizer

TOKENIZER = character_tokenizer()
END = TOKENIZER.eos_token_id
SEED = 7353876274327062047


class Engine:
    """Answers every prompt by `say`; remembers the calls."""

    name = "test"

    def __init__(self, say: Callable[[Prompt], Completion] | None = None) -> None:
        self.say = say or (lambda prompt: Completion(ids=(prompt.attempt % 10, END)))
        self.calls: list[list[Prompt]] = []
        self.seeds: list[int] = []

    def start(self, trainer: Any) -> None: ...

    def batch(self, version: int) -> AbstractContextManager[None]:
        return nullcontext()

    def generate(self, prompts: Sequence[Prompt], *, seed: int) -> list[Completion]:
        self.calls.append(list(prompts))
        self.seeds.append(seed)
        return [self.say(prompt) for prompt in prompts]


class Episodes(PlainBatches):
    """An objective out of one generator function."""

    gives: Rewards = Rewards(ranges={"answer": None})

    def __init__(self, run: Callable[[Task, int], Episode]) -> None:
        self.run = run

    def episode(self, task: Task, *, seed: int) -> Episode:
        return self.run(task, seed)


def policy_tokenizer(*, template: bool = False) -> PolicyTokenizer:
    model, tokenizer = tiny_llama()
    if not template:
        tokenizer.chat_template = None
    return PolicyTokenizer(tokenizer, model.config)


def jobs(*names: str, attempts: int = 1) -> list[Job]:
    return [
        Job(task={"id": name}, group_id=f"0:{at}", attempt=turn) for at, name in enumerate(names) for turn in range(attempts)
    ]


def rolled(run: Callable[[Task, int], Episode], some: Sequence[Job], engine: Any = None, **options: Any) -> list[Any]:
    return roll_out(
        some,
        objective=Episodes(run),
        engine=engine or Engine(),
        tokenizer=options.pop("tokenizer", None) or policy_tokenizer(),
        **{"seed": 1} | options,
    )


def turns(count: int) -> Callable[[Task, int], Episode]:
    def run(task: Task, seed: int) -> Episode:
        for turn in range(count):
            yield PolicyRequest((user_message(f"{task['id']}{turn}"),), max_tokens=3)
        return EpisodeResult(rewards={"answer": 1.0})

    return run


# -- rounds -----------------------------------------------------------------------------------------------------------------


def test_the_engine_is_called_as_often_as_the_longest_episode_asks() -> None:
    engine = Engine()

    def run(task: Task, seed: int) -> Episode:
        return turns(int(str(task["id"])))(task, seed)

    done = rolled(run, jobs("2", "0", "4", "1"), engine)

    assert [len(call) for call in engine.calls] == [3, 2, 1, 1]
    assert [one.prompt_id for one in done] == ["2", "0", "4", "1"]  # the order of the jobs, not of their ends
    assert [len(one.segments) for one in done] == [2, 0, 4, 1]


def test_nothing_to_do_asks_nothing() -> None:
    engine = Engine()

    assert rolled(turns(1), [], engine) == []
    assert engine.calls == []


def test_a_process_goes_on_as_long_as_any_other_does() -> None:
    engine, told = Engine(), []

    def go_on(here: bool) -> bool:
        told.append(here)
        return len(told) <= 3  # others ask three times

    done = rolled(turns(1), jobs("a"), engine, any_rank_active=go_on)

    assert [len(call) for call in engine.calls] == [1, 0, 0]
    assert told == [True, False, False, False]
    assert len(done) == 1


def test_ids_groups_and_outcomes() -> None:
    def run(task: Task, seed: int) -> Episode:
        reply = yield PolicyRequest((user_message("1"),))
        return EpisodeResult(
            rewards={"answer": float(reply.text)}, turn_rewards=(0.5,), answer=reply.text, correct=True, valid=False
        )

    done = rolled(run, jobs("p", "q", attempts=2))

    assert [(one.id, one.group_id, one.prompt_id) for one in done] == [
        ("0:0/0", "0:0", "p"),
        ("0:0/1", "0:0", "p"),
        ("0:1/0", "0:1", "q"),
        ("0:1/1", "0:1", "q"),
    ]
    assert [one.rewards for one in done] == [{"answer": 0.0}, {"answer": 1.0}] * 2
    assert (done[1].turn_rewards, done[1].answer, done[1].correct, done[1].valid) == ((0.5,), "1", True, False)


def test_the_reply_tells_text_usage_and_why_it_stopped() -> None:
    heard = []

    def run(task: Task, seed: int) -> Episode:
        heard.append((yield PolicyRequest((user_message("12"),), max_tokens=4)))
        heard.append((yield PolicyRequest((user_message("3"),), max_tokens=4)))
        return EpisodeResult()

    rolled(
        run, jobs("a"), Engine(lambda prompt: Completion(ids=(5, 6, END)[: 1 + len(prompt.ids)], finished=len(prompt.ids) > 1))
    )

    assert [(reply.text, reply.stop_reason) for reply in heard] == [("56", "stop"), ("56", "length")]
    assert [(reply.usage.text_in, reply.usage.text_out, reply.usage.calls) for reply in heard] == [(2, 3, 1), (1, 2, 1)]


def test_prompts_carry_limit_and_attempt() -> None:
    engine = Engine()

    rolled(turns(1), jobs("a", attempts=3), engine)

    assert [(prompt.max_tokens, prompt.attempt) for prompt in engine.calls[0]] == [(3, 0), (3, 1), (3, 2)]


# -- requests one by one -----------------------------------------------------------------------------------------------------


class Requests:
    """Answers each prompt after `seconds` of it; remembers what was asked, and how many were never answered."""

    name = "requests"

    def __init__(self, seconds: Callable[[Prompt], float] = lambda prompt: 0.0) -> None:
        self.seconds = seconds
        self.asked: list[Prompt] = []
        self.given_up = 0

    def start(self, host: Any) -> None: ...

    def batch(self, version: int) -> AbstractContextManager[None]:
        return nullcontext()

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        try:
            await asyncio.sleep(self.seconds(prompt))
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return Completion(ids=(prompt.seed % 10, END))


def test_an_episode_waits_for_no_other() -> None:
    slow = {"0:0/0#0": 0.2}
    engine = Requests(lambda prompt: slow.get(prompt.name, 0.0))

    done = rolled(turns(3), jobs("a", "b"), engine)

    assert [one.prompt_id for one in done] == ["a", "b"]
    assert [one.name for one in engine.asked] == ["0:0/0#0", "0:1/0#0", "0:1/0#1", "0:1/0#2", "0:0/0#1", "0:0/0#2"]


def test_requests_say_whose_they_are_and_have_seeds_of_their_own() -> None:
    first, again, other = Requests(), Requests(lambda prompt: 0.001 * (prompt.seed % 7)), Requests()

    done = [
        rolled(turns(3), [replace(one, run_seed=run) for one in jobs("a", "b", attempts=4)], engine)
        for run, engine in ((1, first), (1, again), (2, other))
    ]

    def seeds(engine: Requests) -> dict[str, int]:
        return {one.name: one.seed for one in engine.asked}

    assert len(set(seeds(first).values())) == 24
    assert seeds(first) == seeds(again) != seeds(other)
    assert done[0] == done[1] != done[2]
    assert {(one.group, one.role) for one in first.asked} == {("0:0", "answer"), ("0:1", "answer")}
    assert all(0 <= one.seed < 2**63 for one in first.asked)


def test_both_ways_of_asking_ask_the_same() -> None:
    alone, together = Requests(), Engine(lambda prompt: Completion(ids=(prompt.seed % 10, END)))

    assert rolled(turns(3), jobs("a", "b", attempts=2), alone) == rolled(turns(3), jobs("a", "b", attempts=2), together)
    assert {one.name: one for one in alone.asked} == {one.name: one for call in together.calls for one in call}


def test_an_error_ends_all_episodes_and_leaves_no_request_behind() -> None:
    engine = Requests(lambda prompt: 30.0 if prompt.group != "0:1" else 0.01)

    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rolled(run, jobs("a", "b", "c"), engine)
    assert engine.given_up == 2


# -- work items --------------------------------------------------------------------------------------------------------------


def drawing(*items: WorkItem) -> Callable[[Task, int], Episode]:
    """Work first, then one question with what came of it."""

    def run(task: Task, seed: int) -> Episode:
        found = []
        for item in items:
            found.append((yield item))
        reply = yield PolicyRequest((user_message(f"{task['id']}{''.join(map(str, found))}"),), max_tokens=3)
        return EpisodeResult(rewards={"answer": 1.0}, answer=f"{found} {reply.text}")

    return run


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


@pytest.mark.parametrize("make", [Engine, Requests])
def test_work_is_part_of_no_round_and_no_turn(make: Callable[[], Any], workers: WorkerPool) -> None:
    run = drawing(WorkItem(pool_work.shout, ("1a",)), WorkItem(pool_work.shout, ("2b",)))
    engines = [make(), make()]
    here, there = (
        rolled(run, jobs("x", "y", attempts=2), engine, pool=pool)
        for engine, pool in zip(engines, (None, workers), strict=True)
    )

    assert here == there
    assert all(str(one.answer).startswith("['1A!', '2B!'] ") for one in here)
    assert [len(one.segments) for one in here] == [1] * 4
    if make is Engine:
        assert [len(call) for call in engines[0].calls] == [4]


def test_a_drawing_runs_while_another_episode_generates(tmp_path: Path, workers: WorkerPool) -> None:
    """The one waits for the other's request to be under way, which waits in turn for what is drawn: no clock decides."""
    asked, drawn = tmp_path / "asked", asyncio.Event()

    class Waiting(Requests):
        async def complete(self, prompt: Prompt) -> Completion:
            if prompt.group == "0:1":
                asked.touch()
                await asyncio.wait_for(drawn.wait(), 30)
            else:
                drawn.set()
            return await super().complete(prompt)

    def run(task: Task, seed: int) -> Episode:
        work = [WorkItem(pool_work.wait_for, (str(asked), 30.0))] if task["id"] == "a" else []
        return drawing(*work)(task, seed)

    done = rolled(run, jobs("a", "b"), Waiting(), pool=workers)
    assert [one.failed for one in done] == [None, None]
    assert all(one.rewards == {"answer": 1.0} for one in done)


@pytest.mark.slow
@pytest.mark.timed
@pytest.mark.parametrize("count", [0, 2])
def test_two_workers_draw_in_the_time_that_others_generate(count: int) -> None:
    """Generating takes 1 s, each of two drawings 0.1 s, of 8 rollouts: 2.6 s one after the other."""
    pool = WorkerPool(count)
    pool.outcomes([WorkItem(time.sleep, (0.2,))] * 2)  # the workers are there
    rolled(drawing(), jobs("a"), Requests())  # and so is the tokenizer
    began = time.monotonic()
    run = drawing(WorkItem(time.sleep, (0.1,)), WorkItem(time.sleep, (0.1,)))
    rolled(run, jobs("a", attempts=8), Requests(lambda prompt: 1.0), pool=pool)
    spent = time.monotonic() - began
    pool.close()
    assert (spent < 2.5) == (count == 2), spent


@pytest.mark.parametrize("make", [Engine, Requests])
@pytest.mark.parametrize("count", [0, 2])
def test_what_work_raises_is_the_episodes_to_take(make: Callable[[], Any], count: int, workers: WorkerPool) -> None:
    def run(task: Task, seed: int) -> Episode:
        try:
            yield from in_worker(pool_work.fail, RenderError("too wide"))
        except RenderError as error:
            return (yield from drawing()({"id": f"{error}"[0]}, seed))
        return EpisodeResult()

    [one] = rolled(run, jobs("a"), make(), pool=workers if count else None)
    assert (one.valid, one.rewards, len(one.segments)) == (True, {"answer": 1.0}, 1)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (RenderError("too wide"), None),
        (StoreLocked("locked"), "store_locked: locked"),
        (WorkerDied("two processes"), "worker: two processes"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_work_raises_is_judged_as_what_an_episode_raises(
    error: MemAgentError, failed: str | None, count: int, workers: WorkerPool
) -> None:
    [one] = rolled(drawing(WorkItem(pool_work.fail, (error,))), jobs("a"), Requests(), pool=workers if count else None)
    assert (one.failed, one.valid, one.rewards) == (failed, False, {"answer": 0.0})


@pytest.mark.parametrize("make", [Engine, Requests])
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("error", [MissingExtra("fonts", "pip install fonts"), ZeroDivisionError("by 0")])
def test_work_that_lacks_a_package_or_is_wrong_stops_the_batch(
    make: Callable[[], Any], error: Exception, count: int, workers: WorkerPool
) -> None:
    with pytest.raises(type(error), match=str(error)):
        rolled(drawing(WorkItem(pool_work.fail, (error,))), jobs("a", "b"), make(), pool=workers if count else None)


# -- seeds ------------------------------------------------------------------------------------------------------------------


def test_episode_seeds_are_the_jobs_and_call_seeds_the_batchs() -> None:
    seen: dict[str, int] = {}

    def run(task: Task, seed: int) -> Episode:
        seen[f"{task['id']}{len(seen)}"] = seed
        return (yield from turns(2)(task, seed))

    first, other, shifted = Engine(), Engine(), Engine()
    rolled(run, jobs("a", attempts=3), first)
    alone = dict(seen)
    seen.clear()
    rolled(run, jobs("a", attempts=3), other)
    rolled(turns(2), jobs("a", attempts=3), shifted, seed=2)

    assert alone == seen
    assert len(set(alone.values())) == 3
    assert first.seeds == other.seeds
    assert len({*first.seeds, *shifted.seeds}) == 4  # by round and by batch


def test_seeds_are_the_same_everywhere_and_keep_their_parts_apart() -> None:
    assert seed_of("0:1/2") == SEED
    assert 0 <= SEED < 2**63
    assert seed_of(1, 23) != seed_of(12, 3)
    assert seed_of("1", 2) == seed_of(1, "2")


# -- failures -----------------------------------------------------------------------------------------------------------------


OF_THE_WORLD = [
    ModelError("the simulated user does not answer"),
    StoreLocked("locked"),
    EngineError("no connection", retryable=True),
]


@pytest.mark.parametrize("error", OF_THE_WORLD, ids=lambda one: type(one).__name__)
def test_what_the_world_does_fails_the_rollout_and_its_siblings_go_on(
    error: MemAgentError, caplog: pytest.LogCaptureFixture
) -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),), max_tokens=2)
        if task["id"] == "b":
            raise error
        yield PolicyRequest((user_message("2"),), max_tokens=2)
        return EpisodeResult(rewards={"answer": 1.0})

    with caplog.at_level(logging.WARNING, "memagent.training"):
        done = rolled(run, jobs("a", "b", "c"))

    assert [one.failed for one in done] == [None, f"{error.code}: {error}", None]
    assert [one.valid for one in done] == [True, False, True]
    assert f"rollout `0:1/0` failed: {type(error).__name__}: {error}" in caplog.text


def test_an_engine_that_fails_one_request_fails_its_rollout_alone() -> None:
    class Failing(Requests):
        async def complete(self, prompt: Prompt) -> Completion:
            if prompt.name == "0:1/0#1":
                raise EngineError("no connection to http://a", retryable=True)
            return await super().complete(prompt)

    done = rolled(turns(3), jobs("a", "b", "c"), Failing())

    assert [one.failed for one in done] == [None, "engine: no connection to http://a", None]
    assert [len(one.segments) for one in done] == [3, 1, 3]


def test_an_engine_that_is_set_up_otherwise_stops_the_batch() -> None:
    class Wrong(Requests):
        async def complete(self, prompt: Prompt) -> Completion:
            raise EngineError("the prompt has 3 tokens for the trainer and 5 for http://a")

    with pytest.raises(EngineError, match="3 tokens for the trainer and 5"):
        rolled(turns(3), jobs("a", "b", "c"), Wrong())


def test_what_the_policy_wrote_is_an_invalid_rollout_without_reward() -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),), max_tokens=2)
        raise RenderError("the page could not be drawn")

    [one] = rolled(run, jobs("a"))

    assert (one.failed, one.valid, one.rewards, one.answer) == (None, False, {"answer": 0.0}, "error: render")
    assert len(one.segments) == 1  # what it had said stays


def test_an_episode_may_fail_before_it_asks() -> None:
    def run(task: Task, seed: int) -> Episode:
        if task["id"] == "bad":
            raise InputError("no problem in this task")
        return (yield from turns(1)(task, seed))

    done = rolled(run, jobs("bad", "good"))

    assert [(one.valid, len(one.segments)) for one in done] == [(False, 0), (True, 1)]


@pytest.mark.parametrize("error", [ConfigError("a wrong setting"), MissingExtra("fonts", "pip install fonts")])
def test_a_wrong_setting_stops_the_batch(error: ConfigError) -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),))
        raise error

    with pytest.raises(type(error)):
        rolled(run, jobs("a", "b"))


def test_errors_that_are_not_ours_are_bugs_and_stop_the_batch() -> None:
    def run(task: Task, seed: int) -> Episode:
        yield PolicyRequest((user_message("1"),))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rolled(run, jobs("a"))


# -- by chat template --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [True, False])
def test_a_dialogue_by_chat_template_is_one_segment(ended: bool) -> None:
    def run(task: Task, seed: int) -> Episode:
        messages = [user_message("hello")]
        for _ in range(3):
            reply = yield PolicyRequest(tuple(messages), role="turn")
            messages += [Message(role="assistant", content=reply.text), user_message("go on")]
        return EpisodeResult()

    engine = Engine(lambda prompt: Completion(ids=(10, 11, END) if ended else (10, 11), finished=ended))
    (rollout,) = rolled(run, jobs("a"), engine, tokenizer=policy_tokenizer(template=True))

    (segment,) = rollout.segments
    assert segment.trained == 3 * (3 if ended else 2)
    spoken = [token for token, mask in zip(segment.ids, segment.mask, strict=True) if mask]
    assert spoken == [10, 11, *([END] if ended else [])] * 3
    between = TOKENIZER.decode([token for token, number in zip(segment.ids, segment.turn_ids, strict=True) if number == -1])
    assert between.count("go on") == 2
    assert tuple(engine.calls[-1][0].ids) == (*segment.prompt_ids, *segment.ids[: -3 if ended else -2])
