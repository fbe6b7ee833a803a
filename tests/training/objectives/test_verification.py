"""Verification items, verdicts and their rewards (arXiv 2602.07594)."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from helpers.verification_sampler import Sampler, alternating, kinds, wrap
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import InputError
from memagent_training.objectives.boxed import INSTRUCTION, generation_prompt, last_boxed
from memagent_training.objectives.self_verify import NaturalLanguage, VerificationBuffer
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

RESPONSES = st.lists(st.lists(st.sampled_from([1.0, 0.0, None]), max_size=6), max_size=12)


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


def test_builder_on_seven_groups() -> None:
    for seed in range(20):
        picks = pick_verifications(groups_of(SPEC), seed=seed)
        assert (picks.half, picks.all_wrong, picks.repeats) == (3, 2, 0)
        assert Counter(item.label for item in build_verification_items(groups_of(SPEC), seed=seed)) == {"Yes": 3, "No": 3}


def test_pass_rate_is_over_all_rollouts() -> None:
    rates = {pick.group: pick.pass_rate for seed in range(20) for pick in pick_verifications(groups_of(SPEC), seed=seed).chosen}
    assert rates == {0: 0.5, 2: 1.0, 3: 0.25, 5: 0.75}
    wider = pick_verifications(groups_of(SPEC), seed=0, n=8)
    assert {pick.pass_rate for pick in wider.chosen if pick.group == 3} == {0.125}


def test_two_of_a_label_before_repeats() -> None:
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


def test_the_answer_is_judged_and_the_reference_absent() -> None:
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


def test_reward_is_scaled_and_accuracy_is_not() -> None:
    for rate in (0.125, 0.25, 0.5, 0.75, 1.0):
        assert verification_reward("so \\boxed{Yes}", "Yes", rate) == min(rate, 0.5)
        assert verification_reward("so \\boxed{No}", "Yes", rate) == 0.0
        assert verification_reward("so Yes", "Yes", rate) == 0.0
    policy = alternating("self_verify")
    policy.step()
    # Every second "verdict" of this policy is called correct: the metric is 0.5 whatever the pass rates.
    assert policy.objective.metrics()["verification/verification_accuracy"] == 0.5


def test_the_factor_cancels_under_the_deviation_only() -> None:
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


def test_a_verdict_is_the_last_box_and_must_be_closed() -> None:
    assert last_boxed("\\boxed{No} \\boxed{Yes}") == "Yes"
    assert last_boxed("\\boxed{Yes} \\boxed{No") is None
    assert last_boxed("\\boxed{Yes}" + " " * 200, window=200) is None
    assert parse_verdict("\\boxed{Yes}") == "Yes"
    for text in ("\\boxed{yes}", "\\boxed{Yes.}", "\\boxed{YES}", "\\boxed{Yes, it is}", "\\boxed{}"):
        assert parse_verdict(text) is None


def test_the_buffer_holds_the_steps_own_items_after_a_phase() -> None:
    buffer: VerificationBuffer[int] = VerificationBuffer(interval=5)
    for step in range(1, 5):
        buffer.after_update(step, [step] * 4)
    assert buffer.after_update(5, [5, 5, 5, 5])
    assert buffer.items == [5] * 4

    policy = alternating("verify_alter")
    for _ in range(5):
        policy.step()
    assert {task["made"] for task in policy.objective.buffer.items} == {5}
    assert len(policy.objective.buffer.items) == 6


def test_overlong_penalty() -> None:
    assert [overlong_penalty(length) for length in (0, 9728, 9984, 10240)] == [0.0, 0.0, -0.5, -1.0]
