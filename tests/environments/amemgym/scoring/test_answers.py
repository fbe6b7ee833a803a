"""Replies are read as documented, and scores are those of the released evaluator."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from helpers.synthetic_users import chosen, made_items, record, reply, right
from hypothesis import given
from hypothesis import strategies as st

from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.official_format import read_answers, usage_totals
from memagent.environments.amemgym.scoring.answers import parse_metrics, score_answers, score_report
from memagent.environments.amemgym.scoring.metrics import DRAWS, Pool, draw_users, pooled_rows, similarity
from memagent.environments.amemgym.scoring.reply_parser import ParsedReply, parse_reply
from memagent.errors import InputError

N = 5


def _file(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), "utf-8")
    return path


# -- replies ----------------------------------------------------------------------------------------------------------

ACCEPTED = {
    reply(2): 1,
    '{"answer": 2}': 1,
    "2": 1,
    " 2\n": 1,
    '"2"': 1,
    '{"answer": "2"}': 1,
    '{"answer": " 2 "}': 1,
    '{"answer": 2.0}': 1,
    '```\n{"answer": 2}\n```': 1,
    '```JSON\n{"answer": 2}\n```': 1,
    "```\n2\n```": 1,
    'I think of {this}. {"answer": 5} is best.': 4,
    '{"why": {"x": 1}, "answer": 1}': 0,
    f"first {reply(3)} then {reply(4)}": 2,
}
REFUSED: dict[str, str] = {
    "": "unreadable",
    "two": "unreadable",
    "Option 2": "unreadable",
    '{"answer": true}': "unreadable",
    "true": "unreadable",
    '{"answer": 2.5}': "unreadable",
    '{"answer": null}': "unreadable",
    '{"answer": [2]}': "unreadable",
    '{"answer": 1e999}': "unreadable",
    '{"choice": 2}': "unreadable",
    '{"answer": "²"}': "unreadable",
    "[" * 100_000: "unreadable",
    '{"answer": ' * 5_000: "unreadable",
    '{"answer": 0}': "out_of_range",
    '{"answer": -1}': "out_of_range",
    '{"answer": 6}': "out_of_range",
    reply(99): "out_of_range",
}


@pytest.mark.parametrize(("text", "option"), ACCEPTED.items())
def test_replies_that_say_an_option_are_accepted(text: str, option: int) -> None:
    assert parse_reply(text, options=N) == ParsedReply(option)


@pytest.mark.parametrize(("text", "problem"), REFUSED.items(), ids=range(len(REFUSED)))
def test_replies_that_say_none_are_refused(text: str, problem: str) -> None:
    assert parse_reply(text, options=N) == ParsedReply(None, problem)  # type: ignore[arg-type]


@given(st.text(max_size=80), st.integers(1, 7))
def test_any_reply_gives_an_option_of_the_question_or_a_problem(text: str, options: int) -> None:
    parsed = parse_reply(text, options=options)
    assert (parsed.option is None) == (parsed.problem is not None)
    assert parsed.option is None or 0 <= parsed.option < options


# -- scores -----------------------------------------------------------------------------------------------------------


def test_metrics_of_tuples() -> None:
    assert [similarity("abc", "abd", one) for one in parse_metrics("jaccard,hamming,accuracy")] == [0.0, 2 / 3, 2 / 4]
    assert [similarity("abc", "abc", one) for one in parse_metrics("accuracy,hamming,jaccard")] == [1.0, 1.0, 1.0]
    with pytest.raises(InputError, match="unequal numbers"):
        similarity("ab", "abc")
    with pytest.raises(InputError, match="no metric 'f1'"):
        parse_metrics("accuracy,f1")


def _answers(folder: Path, items: list[UserItem] | None, results: Any) -> Any:
    for user, matrix in results.items():
        (folder / user).mkdir(parents=True, exist_ok=True)
        _file(folder / user / "overall_results.json", matrix)
    return read_answers(folder, items=items)


def _replies(items: list[UserItem], text: str) -> dict[str, Any]:
    return {item.id: [[{"raw_response": text} for _ in item.qas] for _ in item.periods] for item in items}


def test_records_and_replies_and_no_data_score_alike(tmp_path: Path) -> None:
    items = made_items(3)
    draw = Random(5)
    records = chosen(items, lambda item, _p, q: draw.randrange(len(item.qas[q].answer_choices)))
    replies = {
        user: [[{"raw_response": one["raw_response"]} for one in row] for row in matrix] for user, matrix in records.items()
    }
    wanted = [[[one["scores"]["accuracy"] for one in row] for row in matrix] for matrix in records.values()]
    for compat in (False, True):
        found = score_answers(_answers(tmp_path / "records", items, records), items, compat=compat)
        assert found.cells["accuracy"] == wanted
    assert score_answers(_answers(tmp_path / "replies", items, replies), items).cells["accuracy"] == wanted
    alone = score_answers(read_answers(tmp_path / "records"))
    assert (alone.way, alone.cells["accuracy"]) == ("recorded", wanted)
    assert [one["accuracy"] for one in alone.official().values()] == wanted


def test_an_invalid_reply_scores_its_expectation_and_has_no_choice_to_take(tmp_path: Path) -> None:
    items = made_items(2)
    answers = _answers(tmp_path, items, _replies(items, "no idea"))
    scores = score_answers(answers, items)
    shares = [[[1 / len(one.answer_choices) for one in item.qas] for _ in item.periods] for item in items]
    assert scores.cells["accuracy"] == shares
    assert (scores.way, scores.counts["invalid"]) == ("expected", 50)
    with pytest.raises(InputError, match=r"user u0, period 0, question 0: the record lacks response_state"):
        score_answers(answers, items, compat=True)


def test_compat_keeps_the_choice_that_a_record_drew(tmp_path: Path) -> None:
    (item,) = made_items(1)
    results = chosen([item], right)
    results["u0"][1][2] = record(item, 1, 2, right(item, 1, 2), json_error=True)
    answers = _answers(tmp_path, [item], results)
    assert score_answers(answers, [item], compat=True).cells["accuracy"][0][1][2] == 1.0
    assert score_answers(answers, [item]).cells["accuracy"][0][1][2] == 1 / len(item.qas[2].answer_choices)
    assert score_answers(answers).counts["recorded_json_errors"] == 1


def test_numbers_out_of_range_are_no_answer(tmp_path: Path) -> None:
    items = made_items(1)
    found = score_answers(_answers(tmp_path, items, _replies(items, reply(0))), items)
    assert found.cells["accuracy"][0][0][0] == 1 / len(items[0].qas[0].answer_choices)
    assert found.counts["out_of_range"] == 25


def test_a_missing_golden_option_is_an_error_and_in_compat_the_last(tmp_path: Path) -> None:
    raw = made_items(1)[0].model_dump(mode="json")
    del raw["qas"][0]["answer_choices"][right(UserItem.model_validate(raw), 0, 0)]
    broken = UserItem.model_validate(raw)
    results = _replies([broken], reply(1))
    for row in results["u0"]:
        for cell, question in zip(row, broken.qas, strict=True):
            cell["response_state"] = list(question.answer_choices[-1].state)
    answers = _answers(tmp_path, [broken], results)
    with pytest.raises(InputError, match=r"user u0, period 0, question 0: no option has the values .*--compat"):
        score_answers(answers, [broken])
    scores = score_answers(answers, [broken], compat=True)
    assert scores.cells["accuracy"][0][0][0] == 1.0
    assert scores.counts["golden_missing"] >= 1


def test_questions_not_asked_are_left_out_and_counted(tmp_path: Path) -> None:
    items = made_items(2)
    results: Any = chosen(items, right)
    results["u0"][4] = [None] * 5
    del results["u1"]
    scores = score_answers(_answers(tmp_path, items, results), items)
    assert (scores.counts["answered"], scores.counts["unanswered"]) == (20, 5)
    assert scores.cells["accuracy"][0][4] == [None] * 5
    assert scores.filled(items)[1] == [[None] * 5] * 5
    rows = score_report(scores, method="x").rows
    assert [row.at for row in rows] == [0, 1, 2, 3, "mean"]
    assert json.loads(score_report(scores, method="x").model_dump_json())["meta"]["counts"]["unanswered"] == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["u0"].pop(), "have 4 periods of"),
        (lambda found: found["u0"][1].pop(), r"questions, the data 5 of 5"),
        (lambda found: found.update(stranger=found["u0"]), "stranger, who are not in the data"),
        (lambda found: found["u0"][1].__setitem__(2, "2"), "user u0, period 1, question 2: the whole: Input should be"),
        (lambda found: found["u0"][1][2].update(answer_state=["x", "y"]), "give the data it ran on"),
        (lambda found: found["u0"][1][2].update(json_error="maybe"), "json_error"),
        (lambda found: found.update(u0=[3]), "no list of periods"),
    ],
)
def test_results_that_do_not_fit_are_refused_with_the_place(tmp_path: Path, change: Any, message: str) -> None:
    items = made_items(2)
    results = chosen(items, right)
    change(results)
    with pytest.raises(InputError, match=message):
        score_answers(_answers(tmp_path, items, results), items)


def test_records_without_states_need_the_data(tmp_path: Path) -> None:
    (item,) = made_items(1)
    with pytest.raises(InputError, match=r"user u0, period 0, question 0: the record lacks .*--data"):
        score_answers(_answers(tmp_path / "one", None, {"u0": [[{"raw_response": reply(1)}]]}))
    for place, cell, invalid in (("numbers", {"response": 1}, 0), ("drawn", {"response": 1, "json_error": True}, 25)):
        results = {"u0": [[cell for _ in item.qas] for _ in item.periods]}
        assert score_answers(_answers(tmp_path / place, [item], results), [item]).counts["invalid"] == invalid


def test_results_are_found_in_the_folder_of_a_run_of_a_user_and_in_a_file(tmp_path: Path) -> None:
    items = made_items(2)
    whole = _answers(tmp_path / "agent", items, chosen(items, right))
    assert list(whole) == ["u0", "u1"]
    assert read_answers(tmp_path / "agent" / "u1", items=items) == {"u1": whole["u1"]}
    assert read_answers(tmp_path / "agent" / "u1" / "overall_results.json", items=items) == {"u1": whole["u1"]}
    assert usage_totals(whole) == {"input_tokens": 500, "output_tokens": 700, "seconds": 25.0}
    (tmp_path / "empty").mkdir()
    for bad, message in ((tmp_path / "absent.json", "cannot be read"), (tmp_path / "empty", "holds no results")):
        with pytest.raises(InputError, match=message):
            read_answers(bad)
    for content, message in (("3", "no list of periods"), ("{", "is not JSON"), ('{"u1": []}', "no list of periods")):
        (tmp_path / "odd.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_answers(tmp_path / "odd.json", items=items)


# -- curves -----------------------------------------------------------------------------------------------------------


def test_ragged_users_are_pooled_by_period() -> None:
    cells = [[[1.0, 0.0], [None, 1.0]], [[1.0]], [[0.0, 0.0, 0.0], [0.0], [1.0]]]
    assert Pool.of(cells).curve().tolist() == [2 / 6, 0.5, 1.0]
    rows = pooled_rows("x", "accuracy", cells)
    assert [(row.at, row.n) for row in rows] == [(0, 3), (1, 2), (2, 1), ("mean", 3)]
    assert rows[-1].value == pytest.approx((2 / 6 + 0.5 + 1) / 3, abs=1e-12)
    assert (rows[2].low, rows[2].high) == (None, None)


def test_intervals_draw_whole_users_a_thousand_times_by_a_seed() -> None:
    draw = Random(0)
    cells = [[[float(draw.random() < 0.4) for _ in range(10)] for _ in range(3)] for _ in range(8)]
    rows = pooled_rows("x", "accuracy", cells, seed=7)
    assert rows == pooled_rows("x", "accuracy", cells, seed=7)
    table = np.asarray(cells).mean(axis=2)
    drawn = draw_users(8, seed=7)
    assert drawn.shape == (DRAWS, 8)
    low, high = np.percentile([table[one].mean() for one in drawn], [2.5, 97.5])
    assert (rows[-1].low, rows[-1].high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert rows[-1].low is not None
    assert rows[-1].low < rows[-1].value
