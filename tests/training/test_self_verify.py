"""Self-verify beyond its checklist: edge cases, the wrapped objective, the state."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent.memory.memocr.loops import Loop
from memagent.models.base import Reply
from memagent_training.grpo.rollout import Rollout
from memagent_training.objectives import EpisodeResult, Objective, PolicyRequest, SelfVerify, SingleTurn, Task
from memagent_training.objectives.boxed import INSTRUCTION, BoxedAnswers, generation_prompt
from memagent_training.objectives.self_verify import STRATEGIES, NaturalLanguage, Strategy, VerificationBuffer
from memagent_training.objectives.verification import (
    Response,
    build_verification_items,
    overlong_penalty,
    parse_verdict,
    pick_verifications,
    verdict_reward,
    verification_prompt,
    verification_reward,
)
from memagent_training.tasks import Arithmetic, Cipher

RESPONSES = st.lists(st.lists(st.sampled_from([1.0, 0.0, None]), max_size=6), max_size=12)


# -- the builder ------------------------------------------------------------------------------------------------------


@given(RESPONSES, st.integers(0, 5), st.booleans())
def test_items_are_balanced_filtered_and_diverse(groups: list[list[float | None]], seed: int, pre_shuffle: bool) -> None:
    picks = pick_verifications(groups, seed=seed, pre_shuffle=pre_shuffle)
    flat = [reward for group in groups for reward in group]
    kept = [[reward for reward in group if reward is not None] for group in groups]
    kept = [group for group in kept if group]
    half = len(kept) // 2
    mixed = sum(len(set(group)) == 2 for group in kept)
    some_right = sum(1.0 in group for group in kept)
    counts = Counter(pick.label for pick in picks.chosen)
    assert (picks.half, picks.groups, picks.all_wrong) == (half, len(kept), len(kept) - some_right)
    yes_pool = any(group == [1.0] * len(group) or (group.count(1.0) > 1 and 0.0 in group) for group in kept)
    no_pool = any(group.count(0.0) > 1 and 1.0 in group for group in kept)
    assert counts["Yes"] == (half if yes_pool else min(half, mixed))
    assert counts["No"] == (half if no_pool else min(half, mixed))
    for pick in picks.chosen:
        assert pick.response.index is not None
        group = groups[pick.group]
        assert flat[pick.response.index] == (1.0 if pick.label == "Yes" else 0.0)
        assert pick.pass_rate == pytest.approx(group.count(1.0) / len(group))
        assert pick.pass_rate > 0
    if not picks.repeats:
        assert all(count <= 2 for count in Counter((pick.group, pick.label) for pick in picks.chosen).values())
    assert picks == pick_verifications(groups, seed=seed, pre_shuffle=pre_shuffle)


def test_nothing_to_verify_gives_an_empty_list() -> None:
    nothing: list[list[list[float | None]]] = [[], [[]], [[None, None]], [[1, 0]], [[0, 0], [0, 0]], [[None], [None]]]
    for groups in nothing:
        assert build_verification_items(groups, seed=0) == []


def test_only_right_groups_give_only_yes_unless_both_are_required() -> None:
    groups = [[1, 1]] * 4
    assert [item.label for item in build_verification_items(groups, seed=0)] == ["Yes", "Yes"]
    assert build_verification_items(groups, seed=0, require_both=True) == []
    assert len(build_verification_items([[1, 0], [1, 0]], seed=0, require_both=True)) == 2


def test_later_groups_are_used_only_after_a_shuffle() -> None:
    groups = [[1, 0]] * 10
    assert {pick.group for pick in pick_verifications(groups, seed=0).chosen} == set(range(5))
    assert {pick.group for pick in pick_verifications(groups, seed=0, pre_shuffle=True).chosen} - set(range(5))
    shuffled = build_verification_items(groups, seed=0, pre_shuffle=True)
    assert all((item.index % 2 == 0) == (item.label == "Yes") for item in shuffled)


def test_responses_come_as_records_mappings_arrays_and_bare_rewards() -> None:
    records = [[Response(question="q", answer="7", reward=1.0), Response(question="q", answer=None, reward=0.0)]] * 2
    mappings = [[{"question": "q", "answer": "7", "correct": True}, {"question": "q", "answer": "8", "valid": False}]] * 2
    (one,), (two,) = build_verification_items(records, seed=1), build_verification_items(mappings, seed=1)
    assert one == two
    assert one.prompt == verification_prompt("q", "7")
    array = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]])
    assert build_verification_items(array, seed=3) == build_verification_items(array.astype(float).tolist(), seed=3)
    bools: list[list[bool]] = (array == 1).tolist()
    assert build_verification_items(bools, seed=3) == build_verification_items(array, seed=3)


def test_a_given_index_and_prompt_writer_are_used() -> None:
    groups = [[Response(answer="7", reward=1, index=70)], [Response(answer="8", reward=1, index=80)]]
    (item,) = build_verification_items(groups, seed=0, prompt=lambda question, answer: f"<{answer}>")
    assert (item.index, item.prompt) in [(70, "<7>"), (80, "<8>")]


@pytest.mark.parametrize(
    ("groups", "n", "message"),
    [
        ([[float("nan")]], None, "finite"),
        ([[{"answer": "1"}]], None, "neither `reward` nor `correct`"),
        ([[{"reward": "high"}]], None, "'high'"),
        ([[1, 0, 1]], 2, "n=2"),
        ([1, 0], None, "sequence of groups"),
        ([{"reward": 1}], None, "sequence of groups"),
    ],
)
def test_bad_groups_are_refused(groups: list[list[float]], n: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_verification_items(groups, seed=0, n=n)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        build_verification_items([], seed=-1)


def test_builder_imports_no_torch_and_in_any_order() -> None:
    for first, second in (
        ("memagent_training.grpo", "memagent_training.objectives"),
        ("memagent_training.objectives", "memagent_training.grpo"),
    ):
        code = f"import sys, {first}, {second}, memagent_training.objectives.verification; assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)


# -- prompt and reward ------------------------------------------------------------------------------------------------


def test_the_prompt_asks_a_teacher_and_drops_the_answer_format() -> None:
    prompt = verification_prompt(generation_prompt("What is 6 times 7?"), "41")
    assert prompt.startswith("You are a teacher")
    for part in ("What is 6 times 7?", "41", "explain", "Answer:", "\\boxed{Yes}", "\\boxed{No}"):
        assert part in prompt
    assert prompt.count(INSTRUCTION) == 1
    assert prompt.endswith(INSTRUCTION)


def test_rewards_refuse_what_they_cannot_mean() -> None:
    with pytest.raises(InputError, match="label `yes`"):
        verdict_reward("Yes", "yes", 0.5)
    for rate in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="pass rate"):
            verification_reward("\\boxed{Yes}", "Yes", rate)
    for bad in ({"length": -1}, {"length": 1, "buffer": 0}, {"length": 1, "factor": -1.0}, {"length": 1, "limit": 10}):
        with pytest.raises(InputError, match="length="):
            overlong_penalty(**bad)
    assert overlong_penalty(75, limit=100, buffer=50, factor=2.0) == pytest.approx(-1.0)


def test_verdicts_are_read_from_the_last_box() -> None:
    assert parse_verdict("\\boxed{No} or rather Answer: \\boxed{\\text{Yes}}") == "Yes"
    assert NaturalLanguage().verdict("Answer: \\boxed{No}") == "No"
    assert parse_verdict("Answer: Yes") is None


# -- episodes ---------------------------------------------------------------------------------------------------------


def finish(loop: Loop[EpisodeResult], text: str) -> tuple[PolicyRequest, EpisodeResult]:
    request = next(loop)
    assert isinstance(request, PolicyRequest)
    with pytest.raises(StopIteration) as end:
        loop.send(Reply(text=text))
    outcome = end.value.value
    assert isinstance(outcome, EpisodeResult)
    return request, outcome


def test_single_turn_asks_once_and_rewards_the_checkers_word() -> None:
    objective = SingleTurn(Cipher(max_length=3))
    task = {"id": "t", "prompt": "a12=", "answer": "34"}
    request, right = finish(objective.episode(task, seed=9), "34")
    assert (request.messages[0].text, request.max_tokens, request.seed, request.role) == ("a12=", 4, 9, "answer")
    assert request.temperature == 1.0
    assert right == EpisodeResult(rewards={"answer": 1.0}, answer="34", correct=True, valid=True)
    _, wrong = finish(objective.episode(task, seed=9), "35")
    assert wrong == EpisodeResult(rewards={"answer": 0.0}, answer="35", correct=False, valid=True)
    _, malformed = finish(objective.episode(task, seed=9), "3x")
    assert malformed == EpisodeResult(rewards={"answer": 0.0}, answer=None, correct=False, valid=False)
    for setting in ({"max_tokens": 0}, {"temperature": 0.0}):
        with pytest.raises(ConfigError):
            SingleTurn(Cipher(), **setting)


def test_verification_episodes_scale_the_reward_but_not_correctness() -> None:
    family = Arithmetic()
    objective = SelfVerify(SingleTurn(family), prompts=family)
    task = {"id": "verify/q/3", "kind": "verify", "prompt": "3?9+7=", "label": "Yes", "pass_rate": 0.25}
    request, right = finish(objective.episode(task, seed=4), "3Y")
    assert (request.role, request.max_tokens, request.seed, request.messages[0].text) == ("verify", 3, 4, "3?9+7=")
    assert right == EpisodeResult(rewards={"answer": 0.25}, answer="Yes", correct=True, valid=True)
    _, wrong = finish(objective.episode(task, seed=4), "3N")
    assert wrong == EpisodeResult(rewards={"answer": 0.0}, answer="No", correct=False, valid=True)
    _, malformed = finish(objective.episode(task, seed=4), "Y")
    assert malformed == EpisodeResult(rewards={"answer": 0.0}, answer=None, correct=False, valid=False)


def test_other_tasks_go_to_the_wrapped_objective() -> None:
    objective = SelfVerify(SingleTurn(BoxedAnswers(max_answer=100)))
    request, outcome = finish(objective.episode({"id": "q", "prompt": "1+1", "answer": "2"}, seed=0), "\\boxed{2}")
    assert (request.role, outcome.rewards) == ("answer", {"answer": 1.0})


def test_impossible_settings_of_the_objective_are_refused() -> None:
    class Other(SingleTurn):
        reward_keys: tuple[str, ...] = ("std", "augM")

    with pytest.raises(ConfigError, match="augM"):
        SelfVerify(Other(Cipher()))
    for setting in (
        {"strategy": "both"},
        {"n": 0},
        {"init_steps": -1},
        {"seed": -1},
        {"interval": 0},
        {"loops": 0},
        {"temperature": 0},
    ):
        with pytest.raises(ConfigError):
            SelfVerify(SingleTurn(Cipher()), **setting)


# -- schedules --------------------------------------------------------------------------------------------------------


class Sampler:
    """A stand-in for the trainer: rolls out tasks with a coin for a policy."""

    def __init__(self, objective: Objective, *, size: int = 8, n: int = 4, rate: float = 0.5) -> None:
        self.objective, self.size, self.n, self.rate = objective, size, n, rate
        self.rolled = 0
        self.steps = 0

    def draw(self, step: int) -> list[Task]:
        return [{"id": f"q{step * self.size + k}", "prompt": f"p{step * self.size + k}"} for k in range(self.size)]

    def roll(self, tasks: Sequence[Task], n: int) -> list[Rollout]:
        rng = np.random.default_rng([7, self.steps, self.rolled])
        self.rolled += 1
        return [self._attempt(task, f"{visit}", k, rng) for visit, task in enumerate(tasks) for k in range(n)]

    def _attempt(self, task: Task, group: str, k: int, rng: np.random.Generator) -> Rollout:
        right = bool(rng.random() < self.rate)
        verdict = ("Yes", "No")[int(rng.integers(2))]
        answer, correct = (verdict, verdict == task["label"]) if task.get("kind") == "verify" else (str(int(right)), right)
        rewards = {"answer": float(correct)}
        return Rollout(
            id=f"{group}/{k}",
            group_id=group,
            prompt_id=str(task["id"]),
            segments=(),
            rewards=rewards,
            answer=answer,
            correct=correct,
        )

    def step(self) -> list[Task]:
        tasks = list(self.objective.batch(self.draw(self.steps), step=self.steps, roll=self.roll))
        if tasks:
            self.objective.observe(self.roll(tasks, self.n))
        self.steps += 1
        return tasks


def kinds(tasks: Sequence[Task]) -> set[object]:
    return {task.get("kind", "question") for task in tasks}


def wrap(strategy: Strategy, **settings: int) -> SelfVerify:
    return SelfVerify(SingleTurn(Cipher()), strategy=strategy, **settings)  # type: ignore[arg-type]


def test_displaced_questions_are_asked_next_and_in_order() -> None:
    objective = wrap("verify_alter", interval=2)
    sampler = Sampler(objective)
    batches = [sampler.step() for _ in range(9)]
    assert [kinds(batch) for batch in batches] == [{"question"}, {"question"}, {"verify"}] * 3
    asked = [task["id"] for batch in batches if kinds(batch) == {"question"} for task in batch]
    assert asked == [f"q{k}" for k in range(6 * 8)]
    assert objective.metrics()["verification/waiting"] == 3 * 8


def test_a_question_waits_once() -> None:
    objective = wrap("verify_alter", interval=1)
    sampler = Sampler(objective)
    rows = sampler.draw(0)
    for step in range(20):
        tasks = objective.batch(rows, step=step, roll=sampler.roll)
        assert kinds(tasks) == {"question"} if step == 0 or step % 2 else {"verify"}
        objective.observe(sampler.roll(tasks, 4))
        assert objective.metrics()["verification/waiting"] <= 8


def test_a_phase_of_two_loops_takes_two_batches() -> None:
    objective = wrap("verify_alter", interval=3, loops=2)
    sampler = Sampler(objective)
    assert [len(kinds(batch) & {"verify"}) for batch in (sampler.step() for _ in range(10))] == [0, 0, 0, 1, 1, 0, 0, 0, 1, 1]


def test_mixed_holds_half_questions_and_half_items_of_the_batch_before() -> None:
    objective = wrap("mixed")
    sampler = Sampler(objective)
    first, second, third = sampler.step(), sampler.step(), sampler.step()
    assert kinds(first) == {"question"}
    for batch in (second, third):
        assert [task.get("kind") for task in batch].count("verify") == len(batch) // 2 == 4
    assert all(task["made"] == 1 for task in second[4:])
    assert all(task["made"] == 2 for task in third[4:])
    assert [task["id"] for batch in (first, second, third) for task in batch if "kind" not in task] == [
        f"q{k}" for k in range(16)
    ]
    assert objective.metrics()["verification/age_max"] == 1.0


def test_verify_init_turns_into_generation() -> None:
    sampler = Sampler(wrap("verify_init", init_steps=3))
    assert [kinds(sampler.step()) for _ in range(5)] == [{"verify"}] * 3 + [{"question"}] * 2
    assert sampler.rolled == 5 + 3


def test_ids_name_the_judgement_and_not_the_visit() -> None:
    sampler = Sampler(wrap("self_verify"))
    for task in sampler.step():
        _, question, answer = str(task["id"]).split("/")
        assert task["prompt"] == verification_prompt(question.replace("q", "p"), answer)
        assert (answer, answer == "1") == (task["answer"], task["label"] == "Yes")


def test_metrics_are_of_the_current_batch() -> None:
    objective = wrap("self_verify", n=4)
    sampler = Sampler(objective)
    tasks = sampler.step()
    found = objective.metrics()
    yes = [task for task in tasks if task["label"] == "Yes"]
    assert (found["verification/items_yes"], found["verification/items_no"]) == (len(yes), len(tasks) - len(yes))
    assert found["verification/half"] == 4
    assert found["verification/age_mean"] == 0.0
    assert found["verification/unparsed_share"] == 0.0
    accuracy = (
        found["verification/accuracy_on_yes"] * len(yes) + found["verification/accuracy_on_no"] * (len(tasks) - len(yes))
    ) / len(tasks)
    assert found["verification/verification_accuracy"] == pytest.approx(accuracy)
    share = found["verification/yes_share"]
    assert share * len(tasks) == pytest.approx(
        found["verification/accuracy_on_yes"] * len(yes) + (1 - found["verification/accuracy_on_no"]) * (len(tasks) - len(yes))
    )
    plain = wrap("generate")
    Sampler(plain).step()
    assert set(plain.metrics()) == {"verification/skipped", "verification/buffered", "verification/waiting"}


def test_rollouts_of_unknown_tasks_are_refused() -> None:
    objective = wrap("generate")
    with pytest.raises(InputError, match="not in the current batch"):
        objective.observe(Sampler(objective).roll([{"id": "stray"}], 1))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(STRATEGIES), st.integers(0, 9), st.integers(1, 3))
def test_a_restored_objective_goes_on_as_if_nothing_had_been(strategy: Strategy, cut: int, interval: int) -> None:
    whole = Sampler(wrap(strategy, interval=interval, init_steps=4, seed=5))
    expected = [whole.step() for _ in range(14)]
    first = Sampler(wrap(strategy, interval=interval, init_steps=4, seed=5))
    before = [first.step() for _ in range(cut)]
    state = json.loads(json.dumps(first.objective.state_dict()))
    second = Sampler(wrap(strategy, interval=interval, init_steps=4, seed=5))
    second.objective.load_state_dict(state)
    second.steps, second.rolled = first.steps, first.rolled
    assert before + [second.step() for _ in range(14 - cut)] == expected
    assert second.objective.state_dict() == whole.objective.state_dict()


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="version 0"):
        wrap("mixed").load_state_dict({"version": 0})


def test_the_buffer_keeps_its_target_over_an_empty_build() -> None:
    buffer: VerificationBuffer[int] = VerificationBuffer(interval=3)
    assert buffer.after_update(1, [1, 2, 3], target=4) == []
    assert buffer.after_update(2, [], target=0) == []
    assert [sorted(batch) for batch in buffer.after_update(3, [9])] == [[1, 2, 3]]
    assert (buffer.items, buffer.target) == ([9], 1)
