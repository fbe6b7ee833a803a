"""Self-verify: what each batch is about, and what is kept over a resume."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from helpers.verification_sampler import Sampler, alternating, kinds, wrap
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.errors import ConfigError, InputError
from memagent.memory.memocr.loops import Loop
from memagent.models.base import Reply
from memagent_training.grpo.needs import Rewards
from memagent_training.objectives import EpisodeResult, PolicyRequest, SelfVerify, SingleTurn, Task
from memagent_training.objectives.boxed import BoxedAnswers
from memagent_training.objectives.self_verify import STRATEGIES, Strategy, VerificationBuffer
from memagent_training.objectives.verification import (
    verification_prompt,
)
from memagent_training.tasks import Arithmetic, Cipher


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
        gives: Rewards = Rewards(ranges={"std": (0.0, 1.0), "augM": (0.0, 1.0)})

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


def test_verify_init_turns_into_generation() -> None:
    sampler = Sampler(wrap("verify_init", init_steps=3))
    assert [kinds(sampler.step()) for _ in range(5)] == [{"verify"}] * 3 + [{"question"}] * 2
    assert sampler.rolled == 5 + 3


def test_ids_name_the_judgement_and_not_the_visit() -> None:
    sampler = Sampler(wrap("self_verify"))
    for task in sampler.step():
        _, pays, question, answer = str(task["id"]).split("/")
        assert float(pays) == min(float(str(task["pass_rate"])), 0.5)
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


def verifies(tasks: Sequence[Task]) -> list[bool]:
    return [task.get("kind") == "verify" for task in tasks]


def test_phases_of_verify_alter() -> None:
    buffer: VerificationBuffer[tuple[int, int]] = VerificationBuffer(interval=5, loops=1, seed=3)
    phases = {}
    for step in range(1, 17):
        held = list(buffer.items)
        batches = buffer.after_update(step, [(step, k) for k in range(128)], target=128)
        if batches:
            phases[step] = (len(held), [len(batch) for batch in batches])
            assert set(batches[0]) < set(held)
            assert len({made for made, _ in batches[0]}) > 1
    assert phases == {5: (512, [128]), 10: (640, [128]), 15: (640, [128])}

    policy = alternating("verify_alter")
    slots = [all(verifies(policy.step())) for _ in range(18)]
    assert [slot for slot, verified in enumerate(slots) if verified] == [5, 11, 17]  # each after five generation batches


def test_self_verify_never_trains_on_generation() -> None:
    policy = alternating("self_verify")
    for _ in range(4):
        tasks = policy.step()
        assert tasks
        assert all(verifies(tasks))
    # Each step: the questions without an update, then the items, both with the same version of the policy.
    assert policy.rolled == [one for v in range(4) for one in ((v, "answer", 6, 8), (v, "verify", 6, 8))]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tasks_share_a_batch_only_when_mixed(strategy: Strategy) -> None:
    policy = alternating(strategy)
    shared = [len(set(verifies(policy.step()))) > 1 for _ in range(15)]
    assert shared == ([False] + [True] * 14 if strategy == "mixed" else [False] * 15)


def test_skips_are_counted_and_do_not_advance() -> None:
    policy = alternating("self_verify", right=False)
    assert [policy.step() for _ in range(3)] == [[], [], []]
    assert (policy.version, policy.objective.skipped) == (0, 3)

    alter = alternating("verify_alter", right=False)
    assert not any(any(verifies(alter.step())) for _ in range(11))
    assert alter.objective.skipped == 2  # after 5 and 10 batches; generation went on
    assert alter.version == 11


def test_verification_is_rolled_out_after_the_generation_update() -> None:
    policy = alternating("verify_alter")
    for _ in range(12):
        policy.step()
    verified = [version for version, what, *_ in policy.rolled if what == "verify"]
    assert verified == [5, 11]  # five generation updates, the first phase's, five more
    assert policy.rolled[4][:2] == (4, "answer")
    assert policy.rolled[5][:2] == (5, "verify")
