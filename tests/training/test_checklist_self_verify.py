"""The conformance checklist of `self_verify.md`, section 14. Item 14 is the trainer's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from memagent_training.grpo.rollout import Rollout
from memagent_training.objectives import SelfVerify, SingleTurn, Task
from memagent_training.objectives.boxed import last_boxed
from memagent_training.objectives.self_verify import STRATEGIES, Strategy, VerificationBuffer
from memagent_training.objectives.verification import (
    Response,
    build_verification_items,
    overlong_penalty,
    parse_verdict,
    pick_verifications,
    verification_prompt,
    verification_reward,
)
from memagent_training.tasks import Cipher

SPEC = ["1100", "0000", "1111", "100x", "xxxx", "111x", "0x00"]


def groups_of(texts: Sequence[str]) -> list[list[Response]]:
    """1 right, 0 wrong, x without a box; the answers tell which response they are."""
    return [
        [
            Response(
                question=f"question {g}", answer=None if c == "x" else f"answer {g}.{k}", reward=float(c == "1"), valid=c != "x"
            )
            for k, c in enumerate(text)
        ]
        for g, text in enumerate(texts)
    ]


class Policy:
    """Rolls out, remembering with which version; every second answer is right."""

    def __init__(self, objective: SelfVerify, *, size: int, right: bool | None = None) -> None:
        self.objective, self.size, self.right = objective, size, right
        self.version = self.steps = 0
        self.rolled: list[tuple[int, str, int, int]] = []  # version, what, tasks, rollouts each

    def roll(self, tasks: Sequence[Task], n: int) -> list[Rollout]:
        self.rolled.append((self.version, "/".join(sorted({str(task.get("kind", "answer")) for task in tasks})), len(tasks), n))
        return [
            Rollout(
                id=f"{visit}.{k}",
                group_id=str(visit),
                prompt_id=str(task["id"]),
                segments=(),
                answer=str(k),
                correct=k % 2 == 0 if self.right is None else self.right,
            )
            for visit, task in enumerate(tasks)
            for k in range(n)
        ]

    def step(self) -> list[Task]:
        drawn: list[Task] = [{"id": f"{self.steps}:{k}", "prompt": f"{k}"} for k in range(self.size)]
        tasks = list(self.objective.batch(drawn, step=self.steps, roll=self.roll))
        self.steps += 1
        if tasks:
            self.objective.observe(self.roll(tasks, 8))
            self.version += 1
        return tasks


def train(strategy: Strategy, *, size: int = 6, right: bool | None = None) -> Policy:
    return Policy(SelfVerify(SingleTurn(Cipher()), strategy=strategy), size=size, right=right)


def verifies(tasks: Sequence[Task]) -> list[bool]:
    return [task.get("kind") == "verify" for task in tasks]


def test_checklist_01_builder_on_seven_groups() -> None:
    for seed in range(20):
        picks = pick_verifications(groups_of(SPEC), seed=seed)
        assert (picks.half, picks.all_wrong, picks.repeats) == (3, 2, 0)
        assert Counter(item.label for item in build_verification_items(groups_of(SPEC), seed=seed)) == {"Yes": 3, "No": 3}


def test_checklist_02_items_come_from_valid_responses_of_solved_questions() -> None:
    flat = "".join(SPEC)
    for seed in range(20):
        for item in build_verification_items(groups_of(SPEC), seed=seed):
            assert flat[item.index] == {"Yes": "1", "No": "0"}[item.label]
            assert "1" in SPEC[item.index // 4]


def test_checklist_03_pass_rate_is_over_all_rollouts() -> None:
    rates = {pick.group: pick.pass_rate for seed in range(20) for pick in pick_verifications(groups_of(SPEC), seed=seed).chosen}
    assert rates == {0: 0.5, 2: 1.0, 3: 0.25, 5: 0.75}
    wider = pick_verifications(groups_of(SPEC), seed=0, n=8)
    assert {pick.pass_rate for pick in wider.chosen if pick.group == 3} == {0.125}


def test_checklist_04_two_of_a_label_before_repeats() -> None:
    for texts in (SPEC, ["1100"] * 3 + ["0000"] * 5, ["1100"] + ["0000"] * 9, ["1110"] * 8):
        for seed in range(10):
            picks = pick_verifications(groups_of(texts), seed=seed)
            once = Counter((pick.group, pick.label, pick.response.index) for pick in picks.chosen)
            distinct = Counter((group, label) for group, label, _ in once)
            assert max(distinct.values()) <= 2
            for label in ("Yes", "No"):
                repeated = any(count > 1 for (_, which, _), count in once.items() if which == label)
                available = sum(
                    min(2, text.count("1" if label == "Yes" else "0")) for text in texts if "1" in text and "0" in text
                ) + (sum("0" not in text and "1" in text for text in texts) if label == "Yes" else 0)
                assert not repeated or sum(1 for _, which, _ in once if which == label) == available


def test_checklist_05_labels_are_balanced() -> None:
    for texts in (["1100"] * 8, ["1000"] * 2 + ["0000"] * 6, ["1100"] + ["1111"] * 7, ["1x00", "10xx", "1110", "1111"]):
        picks = pick_verifications(groups_of(texts), seed=1)
        assert Counter(pick.label for pick in picks.chosen) == {"Yes": picks.half, "No": picks.half} or texts[0] == "1000"
    short = Counter(pick.label for pick in pick_verifications(groups_of(["1000"] * 2 + ["0000"] * 6), seed=1).chosen)
    assert short == {"Yes": 2, "No": 4}  # the Yes pool is empty: two sure ones and no more


def test_checklist_06_the_answer_is_judged_and_the_reference_absent() -> None:
    groups = [
        [
            {"question": f"Q{g}?", "answer": f"a{g}{k}", "reward": k % 2, "reasoning": "secret", "reference": "42"}
            for k in range(4)
        ]
        for g in range(4)
    ]
    items = build_verification_items(groups, seed=0)
    assert len(items) == 4
    for item in items:
        group, place = divmod(item.index, 4)
        assert item.prompt == verification_prompt(f"Q{group}?", f"a{group}{place}")
        assert "secret" not in item.prompt
        assert "42" not in item.prompt


def test_checklist_07_reward_is_scaled_and_accuracy_is_not() -> None:
    for rate in (0.125, 0.25, 0.5, 0.75, 1.0):
        assert verification_reward("so \\boxed{Yes}", "Yes", rate) == min(rate, 0.5)
        assert verification_reward("so \\boxed{No}", "Yes", rate) == 0.0
        assert verification_reward("so Yes", "Yes", rate) == 0.0
    policy = train("self_verify")
    policy.step()
    # Every second "verdict" of this policy is called correct: the metric is 0.5 whatever the pass rates.
    assert policy.objective.metrics()["verification/verification_accuracy"] == 0.5


def test_checklist_08_the_factor_cancels_under_the_deviation_only() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rewards = rng.integers(0, 2, size=8).astype(float)
        centred = rewards - rewards.mean()
        plain = centred / (rewards.std(ddof=1) + 1e-6)
        for factor in (0.125, 0.5):
            scaled = rewards * factor
            advantages = (scaled - scaled.mean()) / (scaled.std(ddof=1) + 1e-6)
            assert np.abs(advantages - plain).max() < 1e-4
            np.testing.assert_allclose(scaled - scaled.mean(), factor * centred, atol=1e-15)


def test_checklist_09_parser() -> None:
    assert last_boxed("\\boxed{No} \\boxed{Yes}") == "Yes"
    assert last_boxed("\\boxed{Yes} \\boxed{No") is None
    assert last_boxed("\\boxed{Yes}" + " " * 200) is None
    assert parse_verdict("\\boxed{Yes}") == "Yes"
    for text in ("\\boxed{yes}", "\\boxed{Yes.}", "\\boxed{YES}", "\\boxed{Yes, it is}", "\\boxed{}"):
        assert parse_verdict(text) is None


def test_checklist_10_phases_of_verify_alter() -> None:
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

    policy = train("verify_alter")
    slots = [all(verifies(policy.step())) for _ in range(18)]
    assert [slot for slot, verified in enumerate(slots) if verified] == [5, 11, 17]  # each after five generation batches


def test_checklist_11_the_buffer_holds_the_steps_own_items_after_a_phase() -> None:
    buffer: VerificationBuffer[int] = VerificationBuffer(interval=5)
    for step in range(1, 5):
        buffer.after_update(step, [step] * 4)
    assert buffer.after_update(5, [5, 5, 5, 5])
    assert buffer.items == [5] * 4

    policy = train("verify_alter")
    for _ in range(5):
        policy.step()
    assert {task["made"] for task in policy.objective.buffer.items} == {5}
    assert len(policy.objective.buffer.items) == 6


def test_checklist_12_self_verify_never_trains_on_generation() -> None:
    policy = train("self_verify")
    for _ in range(4):
        tasks = policy.step()
        assert tasks
        assert all(verifies(tasks))
    # Each step: the questions without an update, then the items, both with the same version of the policy.
    assert policy.rolled == [one for v in range(4) for one in ((v, "answer", 6, 8), (v, "verify", 6, 8))]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_checklist_13_tasks_share_a_batch_only_when_mixed(strategy: Strategy) -> None:
    policy = train(strategy)
    shared = [len(set(verifies(policy.step()))) > 1 for _ in range(15)]
    assert shared == ([False] + [True] * 14 if strategy == "mixed" else [False] * 15)


def test_checklist_15_skips_are_counted_and_do_not_advance() -> None:
    policy = train("self_verify", right=False)
    assert [policy.step() for _ in range(3)] == [[], [], []]
    assert (policy.version, policy.objective.skipped) == (0, 3)

    alter = train("verify_alter", right=False)
    assert not any(any(verifies(alter.step())) for _ in range(11))
    assert alter.objective.skipped == 2  # after 5 and 10 batches; generation went on
    assert alter.version == 11


def test_checklist_16_overlong_penalty() -> None:
    assert [overlong_penalty(length) for length in (0, 9728, 9984, 10240)] == [0.0, 0.0, -0.5, -1.0]


def test_checklist_17_verification_is_rolled_out_after_the_generation_update() -> None:
    policy = train("verify_alter")
    for _ in range(12):
        policy.step()
    verified = [version for version, what, *_ in policy.rolled if what == "verify"]
    assert verified == [5, 11]  # five generation updates, the first phase's, five more
    assert policy.rolled[4][:2] == (4, "answer")
    assert policy.rolled[5][:2] == (5, "verify")
