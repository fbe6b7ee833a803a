"""Results and upper bounds may come in every shape that a file of them plausibly has."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers import amemgym_reference as reference
from helpers.amemgym_reports import curve_of, mean_of, run, write
from helpers.synthetic_users import chosen, made_items, perfect_utilization, probes, reply, told

from memagent.environments.amemgym.data import Item, save_items
from memagent.errors import InputError, MemAgentError


def test_results_of_every_shape_score_alike(tmp_path: Path) -> None:
    items = made_items(3)
    save_items(items, tmp_path / "data.json")
    matrices = {
        user: [[{**one, "llm_usage_statistics": None} for one in row] for row in matrix]
        for user, matrix in chosen(items, lambda item, p, q: (p + q) % 4).items()
    }
    texts = {user: [[one["raw_response"] for one in row] for row in matrix] for user, matrix in matrices.items()}
    objects = {user: [[{"answer": one["response"]} for one in row] for row in matrix] for user, matrix in matrices.items()}
    numbers = {
        user: [[{"response": str(one["response"])} for one in row] for row in matrix] for user, matrix in matrices.items()
    }
    values = {
        user: [[{"response_state": one["response_state"]} for one in row] for row in matrix]
        for user, matrix in matrices.items()
    }
    found = [
        curve_of(run("score", "--data", tmp_path / "data.json", "--results", write(tmp_path / "r.json", one), *flags))
        for shape in (dict, lambda one: list(one.values()))
        for one, flags in (
            (shape(matrices), []),
            (shape(matrices), ["--replies"]),
            (shape(texts), ["--replies"]),
            (shape(objects), ["--replies"]),
            (shape(numbers), []),
            (shape(values), []),
            (shape(matrices), ["--compat"]),
            (shape(texts), ["--replies", "--compat"]),
            (shape(values), ["--compat"]),
        )
    ]
    assert found == [found[0]] * len(found)
    assert len(set(found[0])) > 1


def test_one_users_matrix_needs_a_name_where_the_data_have_several(tmp_path: Path) -> None:
    items = made_items(3)
    save_items(items, tmp_path / "data.json")
    matrix = chosen(items, lambda item, p, q: 0)["u1"]
    data = ["--data", tmp_path / "data.json"]
    with pytest.raises(InputError, match=r"one user's periods, the data have 3 users; give a list of users"):
        run("score", *data, "--results", write(tmp_path / "alone.json", matrix))
    named = run("score", *data, "--results", write(tmp_path / "u1" / "some file.json", matrix))
    in_list = run("score", *data, "--results", write(tmp_path / "list.json", [None, matrix]))
    assert list(named["meta"]["overall_metrics"]) == list(in_list["meta"]["overall_metrics"]) == ["u1"]
    assert named["rows"] == in_list["rows"]


def test_upper_bounds_of_every_shape_are_one(tmp_path: Path) -> None:
    items = made_items(2)
    save_items(items, tmp_path / "data.json")
    asked = [
        [[told(item, q, k, picks=(k + q) % 3) for k in range(len(one.answer_choices))] for q, one in enumerate(item.qas)]
        for item in items
    ]
    plain = ["bounds", "--data", tmp_path / "data.json", "--utilization"]
    first = run(*plain, write(tmp_path / "gpt" / "utilization_results.json", asked), "--files", tmp_path / "official")
    texts = [[[one["raw_response"] for one in row] for row in user] for user in asked]
    values = [[[{"response_state": one["response_state"]} for one in row] for row in user] for user in asked]
    again = [
        run(*plain, tmp_path / "gpt"),
        run(*plain, tmp_path / "official" / "utilization_metrics.json"),
        run(*plain, write(tmp_path / "object.json", {"u1": asked[1], "u0": asked[0]})),
        run(*plain, write(tmp_path / "texts.json", texts)),
        run(*plain, write(tmp_path / "values.json", values)),
    ]
    assert all(one["rows"] == first["rows"] for one in again)
    partly = run(*plain, write(tmp_path / "partly.json", [None, asked[1]]))
    assert partly["meta"]["upper_bound_unasked"] == 25
    for odd in ({}, [None, None], [asked[0], "x"], [asked[0], [None]], 3):
        with pytest.raises(InputError, match=r"odd\.json is no list of 2 users"):
            run(*plain, write(tmp_path / "odd.json", odd))


def test_amemgym_checklist_12_what_was_drawn_for_an_upper_bound_counts_only_in_compat(tmp_path: Path) -> None:
    (item,) = made_items(1)
    save_items([item], tmp_path / "data.json")
    asked = [
        {**told(item, 0, k, picks=k), "raw_response": "hm", "json_error": True} for k in range(len(item.qas[0].answer_choices))
    ]
    whole = [asked, *perfect_utilization([item])[0][1:]]
    path = write(tmp_path / "u.json", [whole])
    for flags, wanted in ((["--compat"], 1.0), ([], (4 + 1 / len(asked)) / 5)):
        report = run("bounds", "--data", tmp_path / "data.json", "--utilization", path, *flags)
        assert mean_of(report, method="upper_bound") == pytest.approx(wanted, abs=1e-9)
        assert report["meta"]["upper_bound_counts"]["invalid"] == len(asked)


def test_where_no_option_suits_compat_takes_the_last(tmp_path: Path) -> None:
    raw = made_items(1)[0].model_dump(mode="json")
    del raw["qas"][0]["answer_choices"][reference.golden(raw, 0, 0)]
    broken = Item.model_validate(raw)
    save_items([broken], tmp_path / "data.json")
    last = len(broken.qas[0].answer_choices) - 1
    asked = [
        [
            [{"raw_response": reply(k + 1 if k == last else last + 1)} for k in range(len(one.answer_choices))]
            for one in broken.qas
        ]
    ]
    options = ["--data", tmp_path / "data.json", "--utilization", write(tmp_path / "u.json", asked)]
    with pytest.raises(InputError, match=r"question 0: no option suits the state \(I7\).*--compat"):
        run("bounds", *options)
    run("bounds", *options, "--compat", "--files", tmp_path / "files")
    assert json.loads((tmp_path / "files" / "utilization_metrics.json").read_text())["accuracy"][0][0][0] == 1.0


def test_probes_that_are_raw_need_the_data(tmp_path: Path) -> None:
    path = write(tmp_path / "probes.json", [["{}"]])
    with pytest.raises(InputError, match="give the data file by --data"):
        run("diagnose", "--results", path, "--replies")
    with pytest.raises(InputError, match=r"raw replies are read with --replies"):
        run("diagnose", "--results", path)


def test_records_null_and_replies_of_probes_may_be_mixed(tmp_path: Path) -> None:
    (item,) = made_items(1)
    save_items([item], tmp_path / "data.json")
    records = probes(item, lambda name, p: True)
    mixed: list[Any] = [
        [
            (one, json.dumps(values), {"raw_response": json.dumps(values)}, values, None)[(p + q) % 5]
            for q, one in enumerate(row)
            for values in [{name: item.periods[p].state[name] for name in item.qas[q].required_info}]
        ]
        for p, row in enumerate(records)
    ]
    options = ["--data", tmp_path / "data.json", "--results", write(tmp_path / "p.json", [mixed]), "--replies"]
    counts = run("diagnose", *options)["meta"]["diagnosis_metrics"]["u0"]
    holes = [[None if (p + q) % 5 == 4 else 1 for q in range(5)] for p in range(5)]
    assert counts["memory_success"] == holes


def test_answers_that_merely_lie_beside_the_probes_may_fail_to_fit(tmp_path: Path) -> None:
    items = made_items(2)
    save_items(items, tmp_path / "data.json")
    results = write(tmp_path / "probes.json", [probes(item, lambda name, p: p == 0) for item in items])
    overall = write(tmp_path / "overall_results.json", [[["text" for _ in item.qas] for _ in item.periods] for item in items])
    options = ["diagnose", "--data", tmp_path / "data.json", "--results", results]
    report = run(*options)
    assert "raw replies are read with --replies" in report["meta"]["rates_left_out"]
    assert {row["metric"] for row in report["rows"]} == {"write_failure_count", "read_failure_count", "memory_success_count"}
    with pytest.raises(InputError, match="raw replies are read with --replies"):
        run(*options, "--overall", overall)
    assert mean_of(run(*options, "--replies"), "write_failure") is not None


ODD: list[Any] = [None, 0, 2.5, True, "x", "", [], {}, [[]], {"answer": 1}, {"raw_response": 3}, {"results": [None]}, 10**400]


def _spoilt(value: Any, draw: Random) -> Any:
    """A copy with something odd, missing, doubled or wrapped at a random place."""
    copy = json.loads(json.dumps(value))
    holder: Any = [copy]
    key: Any = 0
    for _ in range(draw.randint(1, 6)):
        node = holder[key]
        if not isinstance(node, list | dict) or not node:
            break
        holder, key = node, draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
    match draw.randrange(4):
        case 0 if isinstance(holder, list):
            holder.append(holder[key])
        case 1:
            del holder[key]
        case 2:
            holder[key] = [holder[key]]
        case _:
            holder[key] = draw.choice(ODD)
    return copy


@pytest.mark.parametrize("seed", range(60))
def test_a_spoilt_file_gives_a_report_or_an_error_of_ours(seed: int, tmp_path: Path) -> None:
    draw, items = Random(seed), made_items(2)
    whole = {
        "data": [item.model_dump(mode="json") for item in items],
        "overall": list(chosen(items, lambda item, p, q: (p + q) % 4).values()),
        "probes": [probes(item, lambda name, p: p % 2 == 0) for item in items],
        "bound": perfect_utilization(items),
    }
    spoilt = draw.choice(list(whole))
    files = {
        name: write(tmp_path / f"{name}.json", one) for name, one in {**whole, spoilt: _spoilt(whole[spoilt], draw)}.items()
    }
    flags = [flag for flag in ("--compat", "--replies") if draw.random() < 0.3]
    command = draw.choice(
        [
            ["score", "--results", files["overall"]],
            ["diagnose", "--results", files["probes"], "--overall", files["overall"]],
            ["bounds", "--utilization", files["bound"], "--results", files["overall"]],
        ]
    )
    with suppress(MemAgentError):
        assert run(*command, "--data", files["data"], *flags)["report"] == 1
