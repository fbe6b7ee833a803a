"""Chance, the upper bound and both memory scores, against the published numbers where there are some."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from helpers.amemgym_published import AGENTS, CURVES, LLM, NAMES, RANDOM, UPPER
from helpers.synthetic_users import chosen, made_items, perfect_utilization, profile, right, told
from hypothesis import given, settings
from hypothesis import strategies as st

from memagent.environments.amemgym.baselines import first_option, initial_state, policy_scores, random_baseline
from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.official_format import AnswerRecord
from memagent.environments.amemgym.scoring.answers import score_answers
from memagent.environments.amemgym.scoring.memory_score import bounds_report, memory_curve, memory_score
from memagent.environments.amemgym.scoring.metrics import AGE_METRICS
from memagent.environments.amemgym.scoring.upper_bound import read_upper_bound, upper_bound
from memagent.errors import InputError


def _base_sized(option_counts: list[int], first_right: int, *, users: int = 20, periods: int = 11) -> list[UserItem]:
    """Users of v1.base's sizes: a question a variable, and the first option right in `first_right` cells of all."""
    questions = len(option_counts) // users
    starts = [first_right // len(option_counts) + (k < first_right % len(option_counts)) for k in range(len(option_counts))]
    items = []
    for u in range(users):
        counts, kept = (one[u * questions : (u + 1) * questions] for one in (option_counts, starts))
        schema = {f"v{q}": [f"{q}-{k}" for k in range(n)] for q, n in enumerate(counts)}
        states = [{f"v{q}": f"{q}-{0 if p < kept[q] else 1}" for q in range(questions)} for p in range(periods)]
        choices = {name: [{"state": [value], "answer": value} for value in values] for name, values in schema.items()}
        raw = {
            "id": f"u{u}",
            "start_time": "2020-10-01",
            "user_profile": profile(f"u{u}"),
            "state_schema": schema,
            "periods": [
                {"period_end": f"period {p}", "sessions": [], "state": one, "updates": {}} for p, one in enumerate(states)
            ],
            "qas": [{"query": f"{name}?", "required_info": [name], "answer_choices": choices[name]} for name in schema],
        }
        items.append(UserItem.model_validate(raw))
    return items


def _mean(cells: Any) -> float:
    return float(np.mean(cells))


def _answers(items: list[UserItem], pick: Any) -> dict[str, Any]:
    found = chosen(items, pick)
    return {user: [[AnswerRecord.model_validate(one) for one in row] for row in matrix] for user, matrix in found.items()}


# -- chance and constant policies -------------------------------------------------------------------------------------


def test_published_option_counts_give_the_published_baselines() -> None:
    """882 options of 4 to 7 a question over 200 questions: only these numbers of questions give the published baseline."""
    counts = [4] * 132 + [5] * 56 + [6] * 10 + [7] * 2
    assert (len(counts), sum(counts)) == (200, 882)
    Random(0).shuffle(counts)
    items = _base_sized(counts, 565)
    assert _mean(random_baseline(items)) == pytest.approx(RANDOM, abs=1e-12)
    assert _mean(policy_scores(items, first_option)) == pytest.approx(0.25681818181818183, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9_999))
def test_chance_is_the_mean_of_one_over_n(seed: int) -> None:
    items = made_items(2, seed=seed)
    shares = [[[1 / len(one.answer_choices) for one in item.qas] for _ in item.periods] for item in items]
    assert random_baseline(items) == shares
    first = [[[float(right(item, p, q) == 0) for q in range(5)] for p in range(5)] for item in items]
    assert policy_scores(items, first_option) == first
    assert all(row == [1.0] * 5 for user in policy_scores(items, initial_state) for row in user[:1])


# -- upper bound ------------------------------------------------------------------------------------------------------


def test_the_upper_bound_is_keyed_by_question_and_values(tmp_path: Path) -> None:
    items = made_items(2)
    draw = Random(3)
    picks = [[[draw.randrange(len(one.answer_choices)) for _ in one.answer_choices] for one in item.qas] for item in items]
    results = [
        [[told(item, q, k, picks=pick) for k, pick in enumerate(row)] for q, row in enumerate(user)]
        for item, user in zip(items, picks, strict=True)
    ]
    (tmp_path / "utilization_results.json").write_text(json.dumps(results))
    found = read_upper_bound(tmp_path / "utilization_results.json", items)
    for u, item in enumerate(items):
        for p in range(5):
            for q in range(5):
                golden = right(item, p, q)
                assert found[u][p][q] == float(picks[u][q][golden] == golden)
    assert read_upper_bound(tmp_path, items) == found
    (tmp_path / "utilization_metrics.json").write_text(json.dumps({"accuracy": found}))
    assert read_upper_bound(tmp_path / "utilization_metrics.json", items) == found


def test_what_was_drawn_for_an_upper_bound_counts_only_in_compat() -> None:
    (item,) = made_items(1)
    asked = [
        {**told(item, 0, k, picks=k), "raw_response": "hm", "json_error": True} for k in range(len(item.qas[0].answer_choices))
    ]
    results = [[asked, *perfect_utilization([item])[0][1:]]]
    for compat, wanted in ((True, 1.0), (False, 1 / len(asked))):
        invalid: Counter[str] = Counter()
        assert {row[0] for row in upper_bound([item], results, compat=compat, counts=invalid)[0]} == {wanted}
        assert invalid["invalid"] == len(asked)


def test_where_no_option_suits_there_is_no_upper_bound_but_in_compat_the_last() -> None:
    raw = made_items(1)[0].model_dump(mode="json")
    del raw["qas"][0]["answer_choices"][right(UserItem.model_validate(raw), 0, 0)]
    broken = UserItem.model_validate(raw)
    results = perfect_utilization([broken])
    with pytest.raises(InputError, match=r"question 0: no option suits the state \(I7\).*--compat"):
        upper_bound([broken], results)
    assert upper_bound([broken], results, compat=True)[0][0][0] == 1.0


def test_compat_lets_equal_values_of_two_questions_collide() -> None:
    (item,) = _base_sized([4, 4], 22, users=1)
    raw = item.model_dump(mode="json")
    raw["qas"][1]["required_info"], raw["qas"][1]["answer_choices"] = ["v0"], raw["qas"][0]["answer_choices"]
    twice = UserItem.model_validate(raw)
    results = [[[told(twice, q, k, picks=k if q == 0 else 3 - k) for k in range(4)] for q in range(2)]]
    assert upper_bound([twice], results)[0][0] == [1.0, 0.0]
    assert upper_bound([twice], results, compat=True)[0][0] == [0.0, 0.0]


def test_replies_score_their_expectation_and_gaps_stay_gaps() -> None:
    (item,) = made_items(1)
    results: list[Any] = [[[{"raw_response": "hm"} for _ in one.answer_choices] for one in item.qas]]
    assert upper_bound([item], results) == random_baseline([item])
    results[0][0] = [None] * len(item.qas[0].answer_choices)
    assert [row[0] for row in upper_bound([item], results)[0]] == [None] * 5


def test_upper_bounds_of_other_data_or_counted_from_zero_are_refused(tmp_path: Path) -> None:
    items = made_items(2)
    results = perfect_utilization(items)
    results[0][1][2] |= {"answer": 2, "answer_state": None}
    with pytest.raises(InputError, match="user u0, question 1, option 2: its answer is 2, expected 3"):
        upper_bound(items, results)
    results[0][1][2] |= {"answer": 3, "answer_state": ["x", "y"]}
    with pytest.raises(InputError, match="give the data it ran on"):
        upper_bound(items, results)
    results[0][1].pop()
    with pytest.raises(InputError, match="not one record an option"):
        upper_bound(items, results)
    for content in ({"accuracy": [[[1.0]], [[1.0]]]}, [[]], 3):
        (tmp_path / "u.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"u\.json"):
            read_upper_bound(tmp_path / "u.json", items)


# -- memory score -----------------------------------------------------------------------------------------------------


def _memory(overall: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return memory_curve(overall, np.full(11, RANDOM), np.array(UPPER))


@pytest.mark.parametrize("agent", CURVES)
def test_the_period_rule_gives_the_published_memory_scores(agent: str) -> None:
    overall = np.array([float(one) for one in CURVES[agent][3].split()])
    curve = _memory(overall)
    _, mean, *points = AGENTS[NAMES[agent]]
    assert curve.mean() == pytest.approx(mean, abs=0.0005 + 1e-9)
    assert curve[[0, 5, 10]].tolist() == pytest.approx(points, abs=0.0005 + 1e-9)


def test_the_published_curve_of_the_plain_model_in_full() -> None:
    overall = np.array([float(one) for one in CURVES["LLM"][3].split()])
    assert _memory(overall).tolist() == pytest.approx(LLM, abs=0.0005 + 1e-9)


@pytest.mark.parametrize("agent", AGENTS)
def test_every_published_point_is_the_score_of_some_number_of_right_answers(agent: str) -> None:
    """Without the overall curve of an agent: one of 201 accuracies gives each published point to three decimals."""
    possible = [_memory(np.full(11, k / 200)) for k in range(201)]
    for p, published in zip((0, 5, 10), AGENTS[agent][2:], strict=True):
        assert min(abs(curve[p] - published) for curve in possible) <= 0.0005 + 1e-9


@pytest.mark.parametrize("agent", AGENTS)
def test_published_means_fit_one_another(agent: str) -> None:
    """Of six agents only means and three points are published: what the other eight periods add lies within their weights."""
    overall, memory, *points = AGENTS[agent]
    told, upper = [0, 5, 10], np.array(UPPER)
    others = [p for p in range(11) if p not in told]
    known = sum(point * (upper[p] - RANDOM) for p, point in zip(told, points, strict=True))
    left = 11 * (overall - RANDOM) - known
    weights = 1 / (upper[others] - RANDOM)
    wanted, rounding = 11 * memory - sum(points), 0.0005 * (11 + 11 * weights.max() + 6)
    assert left * weights.min() - rounding <= wanted <= left * weights.max() + rounding


def test_scores_are_not_clipped_and_places_without_room_are_counted() -> None:
    chance, upper = [[[0.25], [0.25]], [[0.25], [0.25]]], [[[1.0], [0.0]], [[0.25], [1.0]]]
    accuracy = [[[0.0], [0.0]], [[0.0], [1.0]]]
    by_user = memory_score(accuracy, chance, upper, rule="user_period")
    assert by_user.undefined == 2
    assert by_user.curve.tolist() == pytest.approx([-1 / 3, 1.0])
    assert by_user.mean == pytest.approx((1 - 1 / 3) / 2)
    by_period = memory_score(accuracy, chance, upper, rule="period")
    assert by_period.undefined == 0
    assert by_period.curve.tolist() == pytest.approx([-0.25 / 0.375, 1.0])
    none = memory_score(accuracy, chance, chance)
    assert (none.undefined, none.rows("x")) == (2, [])
    with pytest.raises(InputError, match="no rule 'both'"):
        memory_score(accuracy, chance, upper, rule="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not of the same users"):
        memory_score(accuracy, chance[:1], upper)


def test_all_three_numbers_average_over_the_cells_that_were_answered() -> None:
    accuracy: Any = [[[1.0, None]], [[None, None]]]
    score = memory_score(accuracy, [[[0.5, 0.25]], [[0.25, 0.25]]], [[[1.0, 0.0]], [[0.0, 0.0]]])
    assert (score.mean, score.undefined, score.users) == (1.0, 0, [1, 1])


# -- reference assistants ---------------------------------------------------------------------------------------------


def test_oracle_random_and_stale_score_as_they_must() -> None:
    items = made_items(20, seed=4, periods=6)
    upper: Any = upper_bound(items, perfect_utilization(items))
    chance: Any = random_baseline(items)

    def score(pick: Any) -> Any:
        return score_answers(_answers(items, pick), items).cells["accuracy"]

    oracle = score(right)
    assert oracle == upper
    assert {memory_score(oracle, chance, upper, rule=rule).mean for rule in ("period", "user_period")} == {1.0}
    means = []
    for seed in range(10):
        draw = Random(seed)
        guessed = score(lambda item, _p, q, draw=draw: draw.randrange(len(item.qas[q].answer_choices)))
        means.append(memory_score(guessed, chance, upper).mean)
    assert abs(np.mean(means)) <= 3 * np.std(means, ddof=1) / np.sqrt(len(means))
    old = score(lambda item, _p, q: right(item, 0, q))
    assert old == policy_scores(items, initial_state)
    for rule in ("period", "user_period"):
        found = memory_score(old, chance, upper, rule=rule)  # type: ignore[arg-type]
        assert found.curve[0] == 1.0
        assert 0.02 < found.mean < 0.98


def test_a_report_names_the_rules_and_has_intervals() -> None:
    items = made_items(4)
    upper: Any = upper_bound(items, perfect_utilization(items))
    report = bounds_report(items, upper=upper, results={"mine": policy_scores(items, initial_state)})
    assert report.meta["rules"] == {"memory_score": "period", "memory_score_user_period": "user_period"}
    assert report.meta["undefined"]["mine/memory_score"] == 0
    rows = {(row.method, row.metric, row.at): row for row in report.rows}
    assert {method for method, _, _ in rows} == {"random", "upper_bound", "constant_1", "stale", "mine"}
    mine = rows["mine", "memory_score", "mean"]
    assert mine.low is not None
    assert mine.high is not None
    assert mine.low <= mine.value <= mine.high
    assert rows["stale", "memory_score", "mean"].value == mine.value
    assert json.loads(report.model_dump_json())["rows"]


def test_pictures_say_what_is_a_period_and_what_an_age() -> None:
    report = bounds_report(made_items(1))
    assert [report.x_label(name) for name in ("accuracy", *AGE_METRICS)] == [
        *("period", "age in periods", "age in periods", "changes so far")
    ]
