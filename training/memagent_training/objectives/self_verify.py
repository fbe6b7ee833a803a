"""Self-verify: one policy learns to answer and to judge its own answers (arXiv 2602.07594).

`SelfVerify` wraps a generation objective and decides what each batch is about; a batch is either questions or verification
items (only `mixed` has both), so the two tasks share an optimiser but no update:

- `generate`: questions. The wrapped objective and nothing else.
- `self_verify`: the questions are rolled out without an update, items are built from the rollouts and trained on.
- `verify_init`: `self_verify` for `init_steps` batches, then `generate`. The optimiser goes on; the paper starts a new one.
- `verify_alter`: questions. After every `interval` batches of them a verification phase follows, on items of earlier batches.
- `mixed`: half questions, half items of the batch before; the first batch is questions only.

A verification phase takes batches of its own. Questions drawn for them wait and are asked first at the next batch of
questions, so generation sees the questions in the order drawn, as without verification. A question that is drawn again while
it waits waits once, so no more wait than the data set holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, cast, get_args

import numpy as np

from memagent.errors import ConfigError, InputError
from memagent.types import user_message
from memagent_training.grpo.needs import Needs, Rewards
from memagent_training.grpo.rollout import Rollout
from memagent_training.objectives.base import Episode, EpisodeResult, Objective, PolicyRequest, Roll, Setup, Task
from memagent_training.objectives.single_turn import SingleTurn, check_max_tokens
from memagent_training.objectives.verification import (
    MAX_FACTOR,
    Picks,
    Response,
    parse_verdict,
    pick_verifications,
    verdict_reward,
    verification_prompt,
)

Strategy = Literal["generate", "self_verify", "verify_init", "verify_alter", "mixed"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
VERIFY = "verify"
"""`kind` of a verification task and role of its replies."""
STATE_VERSION = 1

T = TypeVar("T")


class VerificationFormat(Protocol):
    """How a policy is asked for a verdict and how it gives one. Every `CharacterFamily` is one."""

    @property
    def max_verdict(self) -> int:
        """Characters (or more than enough tokens) of the longest reply, without the end marker."""
        ...

    def verification(self, task: Task, answer: str) -> str:
        """The prompt that has `answer` to `task` judged; it must not hold the reference."""
        ...

    def verdict(self, text: str) -> str | None:
        """`Yes`, `No`, or None when the reply is malformed."""
        ...


@dataclass(frozen=True, kw_only=True)
class NaturalLanguage:
    """The published form: a teacher grades a student and boxes the verdict."""

    max_verdict: int = 10_240

    def verification(self, task: Task, answer: str) -> str:
        """`verification_prompt` of the task's `question`, or of its `prompt` without the boxing instruction."""
        return verification_prompt(str(task.get("question", task["prompt"])), answer)

    def verdict(self, text: str) -> str | None:
        """The boxed verdict."""
        return parse_verdict(text)


class VerificationBuffer(Generic[T]):
    """Items that wait for the next phase of `verify_alter` (arXiv 2602.07594, Verify-Alter)."""

    def __init__(self, *, interval: int = 5, loops: int = 1, seed: int = 0) -> None:
        """A phase after every `interval` generation steps, of at most `loops` batches."""
        if interval < 1 or loops < 1:
            raise ConfigError(f"got interval={interval}, loops={loops}; give 1 or more of both")
        self.interval, self.loops, self.seed = interval, loops, seed
        self.items: list[T] = []
        self.target = 0
        """2H of the latest build that had one: the size of a batch in a phase."""

    def due(self, step: int) -> bool:
        """Whether a phase follows generation step `step` (1, 2, ...), should there be items."""
        return step % self.interval == 0

    def after_update(self, step: int, items: Sequence[T], *, target: int | None = None) -> list[list[T]]:
        """The batches of the phase after generation step `step`, then take in that step's own items.

        `target` is 2H of this step's build: the number of `items` unless given. A phase uses up to `loops` batches of the
        buffer, shuffled, and throws the rest away. Empty when no phase is due or there is nothing to verify.
        """
        batches: list[list[T]] = []
        if self.due(step) and self.items:
            order = np.random.default_rng([self.seed, step]).permutation(len(self.items))
            size = self.target
            batches = [[self.items[place] for place in order[start : start + size]] for start in range(0, len(order), size)]
            batches = batches[: self.loops]
            self.items = []
        self.items += items
        self.target = target or len(items) or self.target
        return batches


class SelfVerify:
    """A generation objective with verification of its own answers. Reward `answer` for both tasks.

    A verification task is a row {`id`, `prompt`, `label`, `pass_rate`, `answer`, `made`, `kind`: "verify"}. Its id holds
    question, answer and what a right verdict pays: the same judgement for the same pay is the same prompt in every epoch.
    `made` is the generation batch of the judged answer.
    """

    name: ClassVar[str] = "self_verify"
    gives: Rewards = Rewards(ranges={"answer": (0.0, 1.0)}, primary="answer")
    """Of an answer; a verdict pays at most `MAX_FACTOR`, and less for a hard question: not merely right or wrong."""

    def __init__(
        self,
        generation: Objective,
        *,
        strategy: Strategy = "self_verify",
        interval: int = 5,
        loops: int = 1,
        init_steps: int = 400,
        n: int = 8,
        seed: int = 0,
        pre_shuffle: bool = False,
        require_both: bool = False,
        prompts: VerificationFormat | None = None,
        temperature: float = 1.0,
    ) -> None:
        """`n` rollouts a question where questions are not trained on; `init_steps` counts batches.

        `generation` must reward `answer` alone, fill `answer`, `correct` and `valid`, and its tasks need `id` and `prompt`.
        """
        if strategy not in STRATEGIES:
            raise ConfigError(f"strategy `{strategy}` is unknown; choose one of {', '.join(STRATEGIES)}")
        if set(generation.gives.ranges) != set(self.gives.ranges):
            raise ConfigError(
                f"the generation objective gives {', '.join(generation.gives.ranges)}; self-verify needs `answer` alone"
            )
        bounds = generation.gives.ranges["answer"]
        both = None if bounds is None else (min(bounds[0], 0.0), max(bounds[1], MAX_FACTOR))
        self.gives = Rewards(ranges={"answer": both}, primary="answer", skips=strategy == "self_verify")
        if n < 1 or init_steps < 0 or seed < 0 or not temperature > 0:
            raise ConfigError(
                f"got n={n}, init_steps={init_steps}, seed={seed}, temperature={temperature}; "
                "give n of 1 or more, init_steps and seed of 0 or more, a temperature above 0"
            )
        self.generation, self.strategy = generation, strategy
        self.init_steps, self.n, self.seed, self.temperature = init_steps, n, seed, temperature
        self.pre_shuffle, self.require_both = pre_shuffle, require_both
        self.prompts: VerificationFormat = prompts or NaturalLanguage()
        self.buffer: VerificationBuffer[Task] = VerificationBuffer(interval=interval, loops=loops, seed=seed)
        self.generations = 0
        """Generation batches trained on so far (`verify_alter` and `mixed`)."""
        self.skipped = 0
        """Times that verification was due and there was nothing to verify."""
        self._phases: list[list[Task]] = []  # verification batches that are due
        self._ready: list[Task] = []  # `mixed`: items of the batch before
        self._waiting: list[Task] = []  # questions drawn and not asked yet
        self._open: dict[str, Task] = {}  # the current batch by id
        self._measured: dict[str, float] = {}

    # -- the schedule -------------------------------------------------------------------------------------------------

    def batch(self, drawn: Sequence[Task], *, step: int, roll: Roll) -> Sequence[Task]:
        """Questions or verification tasks for batch `step`; empty only in `self_verify`, when nothing can be verified."""
        self._measured = {}
        tasks = self._choose(drawn, step, roll)
        self._open = {str(task["id"]): task for task in tasks}
        return tasks

    def observe(self, rollouts: Sequence[Rollout]) -> None:
        """Verdicts are measured; answers go to the wrapped objective and become items.

        Raises `InputError` for a rollout of a task that is not in the current batch.
        """
        for rollout in rollouts:
            if rollout.prompt_id not in self._open:
                raise InputError(f"rollout `{rollout.id}` is of `{rollout.prompt_id}`, which is not in the current batch")
        verdicts = [rollout for rollout in rollouts if _verifies(self._open[rollout.prompt_id])]
        answers = [rollout for rollout in rollouts if not _verifies(self._open[rollout.prompt_id])]
        if verdicts:
            self._measured |= _verdict_metrics([(rollout, self._open[rollout.prompt_id]) for rollout in verdicts])
        if answers:
            self.generation.observe(answers)
        if not answers or self.strategy not in ("verify_alter", "mixed"):
            return
        self.generations += 1
        tasks, picks = self._build(answers, self._open, made=self.generations)
        if self.strategy == "mixed":
            self._ready = tasks
            return
        self.skipped += self.buffer.due(self.generations) and not self.buffer.items
        self._phases += self.buffer.after_update(self.generations, tasks, target=2 * picks.half)

    def _choose(self, drawn: Sequence[Task], step: int, roll: Roll) -> Sequence[Task]:
        if self.strategy == "self_verify" or (self.strategy == "verify_init" and step < self.init_steps):
            tasks, _ = self._build(roll(drawn, self.n), {str(task["id"]): task for task in drawn}, made=step)
            self.skipped += not tasks
            return self._verifying(tasks, age_of=step)
        if self._phases:
            self._wait([*self._waiting, *drawn])
            return self._verifying(self._phases.pop(0), age_of=self.generations)
        items, self._ready = self._ready[: len(drawn) // 2], []
        if self.strategy == "mixed" and self.generations and not items:
            self.skipped += 1
        count, asked = len(drawn) - len(items), [*self._waiting, *drawn]  # those that wait come first, the rest waits
        self._wait(asked[count:])
        questions = self.generation.batch(asked[:count], step=step, roll=roll)
        return [*questions, *self._verifying(items, age_of=self.generations + 1)] if items else questions

    def _wait(self, questions: Sequence[Task]) -> None:
        first: dict[str, Task] = {}
        for task in questions:
            first.setdefault(str(task["id"]), task)
        self._waiting = list(first.values())

    # -- items --------------------------------------------------------------------------------------------------------

    def _build(self, rollouts: Sequence[Rollout], questions: Mapping[str, Task], *, made: int) -> tuple[list[Task], Picks]:
        groups: dict[str, list[Response]] = {}
        for index, rollout in enumerate(rollouts):
            groups.setdefault(rollout.group_id, []).append(
                Response(
                    question=rollout.prompt_id,
                    answer=rollout.answer,
                    reward=float(bool(rollout.correct)),
                    valid=rollout.valid,
                    index=index,
                )
            )
        picks = pick_verifications(
            list(groups.values()), seed=[self.seed, made], pre_shuffle=self.pre_shuffle, require_both=self.require_both
        )
        tasks: list[Task] = []
        for pick in picks.chosen:
            question, answer = questions[pick.response.question], pick.response.answer or ""
            task = {
                "id": f"{VERIFY}/{min(pick.pass_rate, MAX_FACTOR):g}/{question['id']}/{answer}",
                "prompt": self.prompts.verification(question, answer),
                "label": pick.label,
                "pass_rate": pick.pass_rate,
                "answer": answer,
                "made": made,
                "kind": VERIFY,
            }
            tasks.append(task)
        labels = [pick.label for pick in picks.chosen]
        counts: dict[str, float] = {"half": picks.half, "repeats": picks.repeats}
        counts |= {"items_yes": labels.count("Yes"), "items_no": labels.count("No")}
        if picks.groups:
            counts |= {"all_wrong_rate": picks.all_wrong / picks.groups, "all_right_rate": picks.all_right / picks.groups}
        self._measured |= {f"verification/{name}": float(value) for name, value in counts.items()}
        return tasks, picks

    def _verifying(self, tasks: list[Task], *, age_of: int) -> list[Task]:
        """The tasks themselves, once it is noted how many generation batches ago their answers were given."""
        if tasks:
            ages = [age_of - cast(int, task["made"]) for task in tasks]
            self._measured |= {"verification/age_mean": sum(ages) / len(ages), "verification/age_max": float(max(ages))}
        return tasks

    # -- one attempt --------------------------------------------------------------------------------------------------

    def episode(self, task: Task, *, seed: int) -> Episode:
        """A judgement for a verification task, else the wrapped objective's attempt."""
        if not _verifies(task):
            return (yield from self.generation.episode(task, seed=seed))
        prompt = (user_message(str(task["prompt"])),)
        max_tokens = self.prompts.max_verdict + 1
        reply = yield PolicyRequest(prompt, max_tokens=max_tokens, temperature=self.temperature, seed=seed, role=VERIFY)
        verdict, label = self.prompts.verdict(reply.text), str(task["label"])
        reward = verdict_reward(verdict, label, float(cast(float, task["pass_rate"])))
        return EpisodeResult(rewards={"answer": reward}, answer=verdict, correct=verdict == label, valid=verdict is not None)

    # -- what is told and kept ----------------------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        """Of the current batch, all under `verification/`; what was not measured in it is absent.

        `verification_accuracy` (unscaled), `accuracy_on_yes`, `accuracy_on_no`, `yes_share`, `unparsed_share` of verdicts;
        `items_yes`, `items_no`, `half` (H), `repeats`, `all_wrong_rate`, `all_right_rate` of the build, `age_mean`, `age_max`
        of the items in generation batches; always `skipped`, and `buffered` items and `waiting` questions. Also what the
        wrapped objective tells.
        """
        totals = {"skipped": self.skipped, "buffered": len(self.buffer.items), "waiting": len(self._waiting)}
        own = self._measured | {f"verification/{name}": float(value) for name, value in totals.items()}
        return self.generation.metrics() | own

    def state_dict(self) -> dict[str, object]:
        """Everything that later batches depend on."""
        return {
            "version": STATE_VERSION,
            "generations": self.generations,
            "skipped": self.skipped,
            "buffer": _rows(self.buffer.items),
            "target": self.buffer.target,
            "phases": [_rows(tasks) for tasks in self._phases],
            "ready": _rows(self._ready),
            "waiting": _rows(self._waiting),
            "open": _rows(self._open.values()),
            "generation": self.generation.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what `state_dict` gave. Raises `ConfigError` for the state of another version."""
        if state.get("version") != STATE_VERSION:
            raise ConfigError(f"self-verify state has version {state.get('version')}; this program reads {STATE_VERSION}")
        self.generations, self.skipped = cast(int, state["generations"]), cast(int, state["skipped"])
        self.buffer.items, self.buffer.target = _rows(state["buffer"]), cast(int, state["target"])
        self._phases = [_rows(tasks) for tasks in cast(list[object], state["phases"])]
        self._ready, self._waiting = _rows(state["ready"]), _rows(state["waiting"])
        self._open = {str(task["id"]): task for task in _rows(state["open"])}
        self.generation.load_state_dict(cast(Mapping[str, object], state["generation"]))


def _rows(tasks: object) -> list[Task]:
    """Copies, so that a state does not change after it was taken."""
    return [dict(task) for task in cast(Sequence[Task], tasks)]


def _verifies(task: Task) -> bool:
    return task.get("kind") == VERIFY


def _verdict_metrics(judged: Sequence[tuple[Rollout, Task]]) -> dict[str, float]:
    right = [float(bool(rollout.correct)) for rollout, _ in judged]
    found = {
        "verification_accuracy": right,
        "yes_share": [float(rollout.answer == "Yes") for rollout, _ in judged],
        "unparsed_share": [float(not rollout.valid) for rollout, _ in judged],
        "accuracy_on_yes": [one for one, (_, task) in zip(right, judged, strict=True) if task["label"] == "Yes"],
        "accuracy_on_no": [one for one, (_, task) in zip(right, judged, strict=True) if task["label"] == "No"],
    }
    return {f"verification/{name}": sum(values) / len(values) for name, values in found.items() if values}


@dataclass(frozen=True, kw_only=True)
class SelfVerifySettings:
    """`SelfVerify` of `SingleTurn` in a recipe."""

    name: ClassVar[str] = "self_verify"
    needs: ClassVar[Needs] = Needs(tasks=("characters", "prompts"))
    max_tokens: int | None = None
    """Of an answer; None: what the task's longest answer needs."""
    strategy: Strategy = "verify_alter"
    interval: int = 5
    """Generation batches between two verification phases (`verify_alter`)."""
    loops: int = 1
    """Most batches of a phase."""
    init_batches: int = 400
    """Batches of verification before the first of generation (`verify_init`)."""

    def __post_init__(self) -> None:
        if self.interval < 1 or self.loops < 1 or self.init_batches < 0:
            raise ConfigError("`interval` and `loops` are 1 or more, `init_batches` 0 or more")
        check_max_tokens(self.max_tokens)

    @property
    def gives(self) -> Rewards:
        """As `SelfVerify.gives`; a schedule of verification alone may find nothing to verify."""
        return replace(SelfVerify.gives, skips=self.strategy == "self_verify")

    def reply_tokens(self, task: Any) -> int:
        """Of an answer or a verdict, whichever is longer."""
        return max(self.max_tokens or int(task.max_answer) + 1, int(task.max_verdict) + 1)

    def build(self, setup: Setup) -> SelfVerify:
        """With the task as checker and as the form of verification."""
        return SelfVerify(
            SingleTurn(setup.task, max_tokens=self.max_tokens, temperature=setup.temperature),
            strategy=self.strategy,
            interval=self.interval,
            loops=self.loops,
            init_steps=self.init_batches,
            n=setup.group_size,
            seed=setup.seed,
            prompts=setup.task,
            temperature=setup.temperature,
        )
