"""Procedural users of AMemGym: the published shape, the same from the same seed, and nothing leaks or repeats."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path
from random import Random
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from memagent.environments.amemgym.data import UserItem, golden_index, save_items
from memagent.environments.amemgym.generate import (
    PRESETS,
    GeneratorSettings,
    ValueMatcher,
    generate_user,
    generate_users,
    preset,
    settings_from,
    user_id,
    write_raw,
)
from memagent.environments.amemgym.generate.templates import load_bank
from memagent.environments.amemgym.generate.trajectory import evolve
from memagent.environments.amemgym.generate.working_files import convert, convert_user
from memagent.environments.amemgym.validate import check_items
from memagent.errors import InputError, UnknownName

REPOSITORY = Path(__file__).parents[4]
BASE = preset("v1.base")
MANY = [500, pytest.param(1000, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=MANY)
def many(request: pytest.FixtureRequest) -> tuple[list[UserItem], float]:
    """Users, and the seconds that they took."""
    began = time.process_time()  # other programs on the machine do not lengthen it
    return generate_users(request.param, settings=BASE), time.process_time() - began


@pytest.fixture(scope="module")
def users() -> list[UserItem]:
    return generate_users(40, settings=BASE)


def _json(items: list[UserItem]) -> str:
    return json.dumps([item.model_dump(mode="json") for item in items], ensure_ascii=False)


def test_a_thousand_users_take_less_than_a_minute(many: tuple[list[UserItem], float]) -> None:
    assert many[1] < 60 * len(many[0]) / 1000


def test_many_users_keep_every_invariant(many: tuple[list[UserItem], float]) -> None:
    assert check_items(many[0]) == []


def test_no_two_of_many_users_share_a_trajectory_or_an_id(many: tuple[list[UserItem], float]) -> None:
    trajectories = {json.dumps([period.state for period in item.periods], sort_keys=True) for item in many[0]}
    assert len(trajectories) == len({item.id for item in many[0]}) == len(many[0])


def test_a_constant_answer_scores_no_better_than_random(many: tuple[list[UserItem], float]) -> None:
    for place in range(BASE.min_state_variants):
        gains = []
        for item in many[0]:
            for question in item.qas:
                golden = [golden_index(question, period.state) for period in item.periods]
                gains.append(mean(one == place for one in golden) - 1 / len(question.answer_choices))
        assert abs(mean(gains)) < 3.5 * stdev(gains) / len(gains) ** 0.5, place


def test_users_are_people_of_all_ages_and_trades(many: tuple[list[UserItem], float]) -> None:
    profiles = [item.user_profile for item in many[0]]
    ages = [one.age for one in profiles if one.age is not None]
    assert (min(ages), max(ages)) == (18, 85)
    assert len({one.education_level for one in profiles}) == 9
    assert len({one.occupation.removeprefix("retired ") for one in profiles}) >= 16
    assert len({one.name for one in profiles}) > len(many[0]) * 0.8
    for one in profiles:
        lines = [line.partition(": ")[::2] for line in one.formatted_str.splitlines()]
        assert [key for key, _ in lines] == [
            *("name", "age", "gender", "marital_status", "education_level", "occupation"),
            *("hobbies_and_interests", "skills_and_expertise", "complementary_info"),
        ]
        assert all(str(getattr(one, key)) == value for key, value in lines)


def test_domains_of_working_life_are_for_people_with_a_job(many: tuple[list[UserItem], float]) -> None:
    working = {name for domain in load_bank().domains if domain.open_to == "working" for name in domain.variables}
    seen = Counter(
        bool(working & item.state_schema.keys())
        for item in many[0]
        if item.user_profile.occupation.startswith(("retired", "student"))
    )
    assert seen[False] > 100
    assert not seen[True]


def test_profiles_say_nothing_that_a_cue_or_an_event_says(many: tuple[list[UserItem], float]) -> None:
    matcher = ValueMatcher()
    assert not [item.id for item in many[0] if matcher.hinted(item.user_profile.formatted_str)]


def test_v1_base_has_the_published_shape(many: tuple[list[UserItem], float]) -> None:
    items = many[0]
    periods = [period for item in items for period in item.periods]
    assert {len(item.periods) for item in items} == {11}
    assert {len(item.qas) for item in items} == {10}
    assert {len(question.required_info) for item in items for question in item.qas} == {2}
    assert {len(period.updates) for item in items for period in item.periods[1:]} == {3, 4, 5}
    assert max(max(item.periods[0].update_cnts.values()) for item in items) == BASE.max_changes_per_state
    assert mean(len(period.sessions) for period in periods) == pytest.approx(4.29, abs=0.15)
    assert mean(len(item.state_schema) for item in items) == pytest.approx(20, abs=1)
    options = [len(question.answer_choices) for item in items for question in item.qas]
    assert min(options) == 4
    assert mean(options) == pytest.approx(4.41, abs=0.3)
    assert all(1 <= len(session.exposed_states) <= 3 for period in periods for session in period.sessions)


def test_v1_extra_has_the_published_shape() -> None:
    items = generate_users(30, settings=preset("v1.extra"))
    assert check_items(items) == []
    assert {len(item.periods) for item in items} == {21}
    assert {len(question.required_info) for item in items for question in item.qas} == {3}
    assert {len(item.state_schema) for item in items} == {30}
    assert {len(period.updates) for item in items for period in item.periods[1:]} == {3, 4, 5}
    assert sum(item.model_dump()["generation"]["changes_over_cap"] for item in items) == 0
    sessions = mean(len(period.sessions) for item in items for period in item.periods)
    assert sessions == pytest.approx(3.89, abs=0.3)


def test_the_start_prefers_middle_values(many: tuple[list[UserItem], float]) -> None:
    places = Counter(
        item.state_schema[variable].index(value) for item in many[0] for variable, value in item.periods[0].state.items()
    )
    assert places[1] / places.total() == pytest.approx(0.6, abs=0.02)


def test_a_user_repeats_no_utterance(users: list[UserItem]) -> None:
    for item in users:
        queries = [session.query for period in item.periods for session in period.sessions]
        assert len(set(queries)) == len(queries)


def test_a_user_depends_on_seed_and_index_alone(users: list[UserItem]) -> None:
    alone = [generate_user(index, settings=BASE) for index in reversed(range(8))]
    assert _json(alone[::-1]) == _json(users[:8])
    assert _json(generate_users(8, settings=BASE, seed=43)) != _json(users[:8])


def test_excluded_users_make_room_for_the_next(users: list[UserItem]) -> None:
    excluding = BASE.model_copy(update={"exclude_ids": (users[1].id,)})
    assert [one.id for one in generate_users(3, settings=excluding)] == [users[k].id for k in (0, 2, 3)]


def test_settings_give_numbers_that_are_not_given() -> None:
    assert len(generate_users(settings=settings_from({"num_user_profiles": 3}))) == 3
    assert generate_users(0, settings=BASE) == []
    assert user_id(0, settings=BASE) != user_id(0, settings=preset("v1.extra"))


def test_an_official_configuration_is_taken_and_its_keys_stay_unwritten(tmp_path: Path) -> None:
    config = {
        "start_date": "2021-01-31",
        "lang": "en",
        "num_user_profiles": 2,
        "num_questions": 4,
        "num_periods": 3,
        "num_months_per_period": 1,
        "num_states_per_question": 2,
        "num_choices_per_state": 3,
        "num_changes_per_period": 3,
        "max_changes_per_state": 2,
        "min_state_variants": 5,
        "num_rounds_init": 1,
        "num_rounds_update": 2,
        "llm_config_high_temp": {"api_key": "sk-secret"},
        "llm_config_low_temp": {"api_key": "sk-secret"},
        "exclude_ids": [],
        "seed": 7,
    }
    used = settings_from(config)
    assert set(config) == set(GeneratorSettings.model_fields)
    items = generate_users(settings=used)
    assert check_items(items) == []
    assert [period.period_end for period in items[0].periods] == ["2021-01-31", "2021-02-28", "2021-03-31", "2021-04-30"]
    assert "sk-secret" not in _json(items)
    assert "sk-secret" not in repr(used)
    assert used.fingerprint() == settings_from({**config, "llm_config_low_temp": None}).fingerprint()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_state_variants": 10}, "only 9 variants"),
        ({"num_changes_per_period": 84}, "a period may have 83"),
        ({"num_states_per_question": 4}, "num_states_per_question"),
        ({"questions": 3}, "the keys are start_date"),
    ],
)
def test_impossible_settings_are_refused_with_the_reason(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_from(values)


def test_what_the_bank_cannot_do_is_said() -> None:
    with pytest.raises(InputError, match="speaks en only"):
        generate_user(0, settings=settings_from({"lang": "zh"}))
    with pytest.raises(InputError, match=r"num_questions is 13, but the bank has only 1[12] questions about 3"):
        generate_user(0, settings=settings_from({"num_questions": 13, "num_states_per_question": 3}))
    with pytest.raises(InputError, match="give 0 or more"):
        generate_users(-1, settings=BASE)
    with pytest.raises(UnknownName, match=r"v1\.base, v1\.extra"):
        preset("v2")


@given(
    questions=st.integers(1, 12),
    periods=st.integers(1, 6),
    size=st.integers(1, 3),
    choices=st.integers(2, 3),
    changes=st.integers(1, 5),
    cap=st.integers(1, 3),
    start=st.dates(date(2019, 1, 1), date(2025, 12, 31)),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_any_settings_give_sound_users(
    questions: int, periods: int, size: int, choices: int, changes: int, cap: int, start: date, seed: int
) -> None:
    used = GeneratorSettings(
        start_date=start,
        num_questions=min(questions, 10) if size == 3 else questions,
        num_periods=periods,
        num_states_per_question=size,
        num_choices_per_state=choices,
        num_changes_per_period=changes,
        max_changes_per_state=cap,
        min_state_variants=min(4, choices**size),
    )
    items = generate_users(2, settings=used, seed=seed)
    assert check_items(items) == []
    for item in items:
        most = max((max(period.update_cnts.values()) for period in item.periods), default=0)
        assert most <= cap or item.model_dump()["generation"]["changes_over_cap"] > 0


def test_the_working_files_convert_back_to_the_same_users(tmp_path: Path, users: list[UserItem]) -> None:
    write_raw(users[:3], tmp_path / "raw")
    converted = convert(tmp_path / "raw")
    assert not converted.dropped
    for item, back in zip(users, converted.items, strict=False):
        expected = item.model_dump(mode="json")
        del expected["generation"]
        assert back.model_dump(mode="json") == expected
        assert back == convert_user(tmp_path / "raw" / item.id)
        stored = json.loads((tmp_path / "raw" / item.id / "item.json").read_text("utf-8"))
        assert stored == item.model_dump(mode="json")


def test_presets_are_frozen() -> None:
    assert set(PRESETS) == {"v1.base", "v1.extra"}
    with pytest.raises(ValidationError):
        BASE.seed = 1


def test_values_mostly_take_one_step_and_linked_variables_change_together(users: list[UserItem]) -> None:
    steps = Counter(
        abs(item.state_schema[variable].index(update.new) - item.state_schema[variable].index(str(update.old)))
        for item in users
        for period in item.periods[1:]
        for variable, update in period.updates.items()
        if item.state_schema[variable].index(str(update.old)) != 1
    )
    assert steps[1] / steps.total() == pytest.approx(0.8, abs=0.05)
    together = [
        any(len(session.exposed_states) > 1 for session in period.sessions) for item in users for period in item.periods[1:]
    ]
    assert 0.2 < mean(together) < 0.6


def test_the_shuffle_is_seeded_and_recorded(users: list[UserItem]) -> None:
    firsts = Counter[str]()
    for item in users:
        seeds = item.model_dump()["generation"]["option_seeds"]
        assert len(set(seeds)) == len(item.qas)
        for question in item.qas:
            if {choice.type for choice in question.answer_choices} == {"experience", "random"}:
                firsts[question.answer_choices[0].type] += 1
    assert min(firsts.values()) > 20
    other = generate_users(60, settings=BASE, seed=1)
    assert users[0].model_dump()["generation"]["option_seeds"] != other[0].model_dump()["generation"]["option_seeds"]


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys; from memagent.environments.amemgym.data import save_items\n"
        "from memagent.environments.amemgym.generate import generate_users, preset\n"
        "save_items(generate_users(5, settings=preset('v1.base'), seed=9), sys.argv[1])"
    )
    save_items(generate_users(5, settings=BASE, seed=9), tmp_path / "here.json")
    for hashing in ("0", "1"):
        command = [sys.executable, "-c", script, str(tmp_path / "there.json")]
        subprocess.run(command, cwd=REPOSITORY, env={"PYTHONHASHSEED": hashing}, check=True)
        assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()


def test_the_cap_is_hard_until_too_few_variables_are_left() -> None:
    used = settings_from({"num_questions": 2, "num_periods": 6, "num_changes_per_period": 3, "max_changes_per_state": 2})
    schema = dict.fromkeys("vwxyz", ("a", "b", "c"))
    evolution = evolve(schema, dict.fromkeys(schema, "d"), settings=used, rng=Random(3))
    counts = Counter(variable for changed in evolution.changed for variable in changed)
    assert evolution.over_cap == sum(max(0, times - 2) for times in counts.values()) > 0
    assert all(2 <= len(changed) <= 4 for changed in evolution.changed[1:])
    roomy = evolve(schema, dict.fromkeys(schema, "d"), settings=used.model_copy(update={"num_periods": 4}), rng=Random(3))
    assert roomy.over_cap == 0
    assert max(roomy.counts.values()) <= 2
    assert any(item.model_dump()["generation"]["changes_over_cap"] > 0 for item in generate_users(3, settings=used))


def test_the_number_of_changes_is_drawn_evenly_by_the_seed() -> None:
    items = generate_users(150, settings=BASE)
    sizes = Counter(len(period.updates) for item in items for period in item.periods[1:])
    assert all(times / sizes.total() == pytest.approx(1 / 3, abs=0.04) for times in sizes.values())


def test_options_suit_their_variant_alone(users: list[UserItem]) -> None:
    matcher = ValueMatcher()
    for question in (question for item in users for question in item.qas):
        assert not matcher.hinted(question.query)
        lived = sum(choice.type == "experience" for choice in question.answer_choices)
        assert len(question.answer_choices) == max(lived, BASE.min_state_variants)
        for choice in question.answer_choices:
            wanted = {name: {value} for name, value in zip(question.required_info, choice.state, strict=True)}
            assert matcher.advised(choice.answer) == wanted


def test_option_order_depends_on_user_and_question(users: list[UserItem]) -> None:
    orders = {
        tuple(
            question.required_info.index(name) * 3 + item.state_schema[name].index(value)
            for name, value in zip(question.required_info, question.answer_choices[0].state, strict=True)
        )
        for item in users
        for question in item.qas
    }
    assert len(orders) == 9


def test_distractors_differ_in_one_value_where_they_can(users: list[UserItem]) -> None:
    for question in (question for item in users for question in item.qas):
        lived = [choice.state for choice in question.answer_choices if choice.type == "experience"]
        for choice in question.answer_choices:
            if choice.type == "random":
                nearest = min(sum(a != b for a, b in zip(choice.state, one, strict=True)) for one in lived)
                assert nearest == 1


def test_provenance_is_written_with_the_user(users: list[UserItem]) -> None:
    record = json.loads(users[2].model_dump_json())["generation"]
    assert (record["index"], record["seed"], record["settings"]) == (2, 42, BASE.fingerprint())
