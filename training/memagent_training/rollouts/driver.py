"""Rolling out: every process takes its share of the episodes, and everyone ends with all rollouts.

A job is one attempt at one task. An engine that answers requests one by one is asked by a coroutine for each job, which waits
for nobody; one that answers in rounds is asked for all that are waiting, job by job in step. What was asked and said does not
depend on which of them went first. It becomes segments: when a
request continues the conversation before it, token by token, both share one segment, in which what others said has mask 0.
An episode that ends in one of our errors is data when the policy is to blame: a rollout without reward that is marked invalid.
Where the world is (an engine, another model, a store), the rollout has failed and is none (see
`memagent_training.rollouts.failures`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from memagent.errors import MemAgentError
from memagent.models.base import Reply, Request, StopReason
from memagent.types import Message, Usage
from memagent_training.engines.base import Completion, Prompt, RequestEngine, RolloutEngine
from memagent_training.grpo.rollout import Rollout, Segment
from memagent_training.objectives.base import Objective, PolicyRequest, Task, WorkItem
from memagent_training.rollouts.failures import ended_by
from memagent_training.rollouts.loops import WorkingLoop, each_alone, in_rounds
from memagent_training.rollouts.workers import WorkerPool
from memagent_training.tokenization import PolicyTokenizer

log = logging.getLogger("memagent.training")
Complete = Callable[[Prompt], Awaitable[Completion]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One attempt at one task."""

    task: Task
    group_id: str
    attempt: int
    """0, 1, ... within the group."""
    run_seed: int = 0
    """Of the whole run: what its requests are sampled with follows from it and from the job."""
    version: int = 0
    """Of the policy that is asked: optimizer steps done."""

    @property
    def id(self) -> str:
        """Of the rollout."""
        return f"{self.group_id}/{self.attempt}"


@dataclass(frozen=True)
class Turn:
    """A request of an episode and its answer, in tokens."""

    ask: Request
    prompt: Prompt
    said: Completion


@dataclass(frozen=True, kw_only=True)
class _Marked(Request):
    """A request that knows which job it came from."""

    ask: Request
    job: Job
    turn: int

    def prompt(self, encoded: Prompt) -> Prompt:
        """The encoded messages, as this job asks them."""
        job = self.job
        return replace(
            encoded,
            max_tokens=self.ask.max_tokens,
            attempt=job.attempt,
            group=job.group_id,
            name=f"{job.id}#{self.turn}",
            role=self.ask.role if isinstance(self.ask, PolicyRequest) else "answer",
            seed=seed_of(job.run_seed, job.group_id, job.attempt, self.turn),
        )


class _Sampled(Reply):
    """A reply that carries its tokens."""

    prompt: Prompt
    said: Completion


def seed_of(*parts: object) -> int:
    """A seed of 63 bits out of anything that prints the same everywhere."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def roll_out(
    jobs: Sequence[Job],
    *,
    objective: Objective,
    engine: RolloutEngine,
    tokenizer: PolicyTokenizer,
    seed: int,
    pool: WorkerPool | None = None,
    any_rank_active: Callable[[bool], bool] = bool,
) -> list[Rollout]:
    """Run the jobs of this process to their ends; rollouts come back in the order of the jobs.

    `seed` is the batch's and the process's; an episode's own seed depends on the job alone. `pool` does the work items of
    episodes (None: this process). `any_rank_active` as `go_on` of `in_rounds`.
    """
    desk, pool = _Desk(tokenizer), pool or WorkerPool()
    episodes = [_recorded(job, objective) for job in jobs]
    if isinstance(engine, RequestEngine):
        return asyncio.run(each_alone(episodes, partial(desk.answered, engine.complete), pool=pool))
    rounds = 0

    def answer(requests: Sequence[Request]) -> list[Reply]:
        nonlocal rounds
        prompts = [desk.prompt(request) for request in requests]
        said = engine.generate(prompts, seed=seed_of(seed, rounds))
        rounds += 1
        return [desk.reply(prompt, one) for prompt, one in zip(prompts, said, strict=True)]

    return in_rounds(episodes, answer, pool=pool, go_on=any_rank_active)


async def roll_one(job: Job, *, objective: Objective, complete: Complete, tokenizer: PolicyTokenizer) -> Rollout:
    """Run one job to its end in an event loop of the caller's; its work items are done here."""
    reply = partial(_Desk(tokenizer).answered, complete)
    [rollout] = await each_alone([_recorded(job, objective)], reply, pool=WorkerPool())
    return rollout


class _Desk:
    """Between the requests of one batch and tokens."""

    def __init__(self, tokenizer: PolicyTokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[Message, ...], Prompt] = {}  # what all of a group ask alike, as at first, is encoded once

    def prompt(self, request: Request) -> Prompt:
        assert isinstance(request, _Marked)
        messages = request.ask.messages
        if messages not in self._known:
            self._known[messages] = self._tokenizer.encode(request.ask)
        return request.prompt(self._known[messages])

    async def answered(self, complete: Complete, request: Request) -> Reply:
        prompt = self.prompt(request)
        return self.reply(prompt, await complete(prompt))

    def reply(self, prompt: Prompt, said: Completion) -> _Sampled:
        one = self._tokenizer.usable(said)
        usage = Usage(text_in=len(prompt.ids), text_out=len(one.ids), calls=1)
        stop: StopReason = "stop" if one.finished else "length"
        return _Sampled(text=self._tokenizer.decode(one.ids), usage=usage, stop_reason=stop, prompt=prompt, said=one)


def _recorded(job: Job, objective: Objective) -> WorkingLoop[Rollout]:
    """The episode of a job, with what went by kept."""
    turns: list[Turn] = []
    failed: str | None = None
    try:
        episode = objective.episode(job.task, seed=seed_of(job.id))
        advance: Callable[[], Request | WorkItem] = partial(next, episode)
        while True:
            ask = advance()
            if isinstance(ask, WorkItem):
                try:
                    advance = partial(episode.send, (yield ask))
                except Exception as error:  # raised where the function would have been called
                    advance = partial(episode.throw, error)
                continue
            reply = yield _Marked(ask.messages, max_tokens=ask.max_tokens, ask=ask, job=job, turn=len(turns))
            assert isinstance(reply, _Sampled)
            turns.append(Turn(ask, reply.prompt, reply.said))
            advance = partial(episode.send, reply)
    except StopIteration as end:
        outcome = end.value
    except MemAgentError as error:
        outcome, failed = ended_by(error, objective)
        log.warning("rollout `%s` failed: %s: %s", job.id, type(error).__name__, error)
    rollout = Rollout(
        id=job.id,
        group_id=job.group_id,
        prompt_id=str(job.task["id"]),
        segments=segments_of(turns),
        rewards=outcome.rewards,
        turn_rewards=outcome.turn_rewards,
        answer=outcome.answer,
        correct=outcome.correct,
        valid=outcome.valid,
        versions=(job.version, job.version),
        failed=failed,
    )
    objective.gives.check(rollout, objective=getattr(objective, "name", type(objective).__name__))
    return rollout


def segments_of(turns: Sequence[Turn]) -> list[Segment]:
    """Turns as segments; a turn whose prompt begins with the whole of the segment before it is joined to it."""
    segments: list[Segment] = []
    for number, turn in enumerate(turns):
        role, weight = (turn.ask.role, turn.ask.weight) if isinstance(turn.ask, PolicyRequest) else ("answer", 1.0)
        new = Segment(
            prompt_ids=turn.prompt.ids,
            ids=turn.said.ids,
            mask=(1,) * len(turn.said.ids),
            logprobs=turn.said.logprobs,
            images=turn.prompt.images,
            role=role,
            weight=weight,
            turn_ids=(number,) * len(turn.said.ids),
        )
        joined = _joined(segments[-1], new) if segments else None
        if joined is None:
            segments.append(new)
        else:
            segments[-1] = joined
    return segments


def _joined(old: Segment, new: Segment) -> Segment | None:
    """`new` as a continuation of `old`, or None when it is none. New pictures start a segment of their own."""
    past = (*old.prompt_ids, *old.ids)
    fits = (old.role, old.weight, old.images) == (new.role, new.weight, new.images)
    if not fits or tuple(new.prompt_ids[: len(past)]) != past:
        return None
    between = tuple(new.prompt_ids[len(past) :])  # what others said
    scored = old.logprobs is not None and new.logprobs is not None
    return replace(
        old,
        ids=(*old.ids, *between, *new.ids),
        mask=(*(old.mask or ()), *(0 for _ in between), *(new.mask or ())),
        logprobs=(*(old.logprobs or ()), *(0.0 for _ in between), *(new.logprobs or ())) if scored else None,
        turn_ids=(*(old.turn_ids or ()), *(-1 for _ in between), *(new.turn_ids or ())),
    )
