"""Users written by a model: a perfect one costs what the formula says, and a user that fails leaves the others alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.ideal_writer import SMALL, GoodWriter, written

from memagent.environments.amemgym.data import load_items
from memagent.environments.amemgym.estimate import generation_calls
from memagent.environments.amemgym.generate import preset, settings_from
from memagent.environments.amemgym.generate.working_files import STAGES, convert, convert_user
from memagent.environments.amemgym.validate import check_items, require_valid
from memagent.errors import InputError, ModelError
from memagent.models.base import Request


@pytest.mark.parametrize("name", ["v1.base", "v1.extra"])
def test_a_perfect_model_costs_what_the_formula_says(name: str, tmp_path: Path) -> None:
    used = preset(name)
    model = GoodWriter(used)
    found = written(model, tmp_path, settings=used)
    (item,) = found.items
    assert check_items([item]) == []
    assert (found.retries, found.repairs, found.failed) == (0, 0, {})
    options = sum(len(question.answer_choices) for question in item.qas)
    sessions = sum(len(period.sessions) for period in item.periods)
    formula = 3 + 1 + 2 * used.num_periods + used.num_questions + options + 1 + used.num_periods + sessions
    event_checks = used.num_periods
    assert found.usage.calls == model.steps.total() == generation_calls(item) == formula + event_checks
    assert model.steps["HintsAnswer"] == event_checks
    assert found.usage.text_in > 1000 * found.usage.calls / 4


def test_the_files_have_the_official_shapes_and_convert_to_the_same_item(tmp_path: Path) -> None:
    (item,) = written(GoodWriter(), tmp_path).items
    folder = tmp_path / "raw" / item.id
    files = {file.stem: json.loads(file.read_text("utf-8")) for file in folder.iterdir()}
    assert set(files) == {*STAGES, "item"}
    assert all(set(one) == {"question", "required_info"} for one in files["questions"])
    assert all(set(need) == {"info_type", "info_choices"} for one in files["questions"] for need in one["required_info"])
    transition = files["state_transition"]
    assert list(transition) == ["states", "updates", "update_cnts"]
    assert [len(transition["states"]), len(transition["updates"]), transition["updates"][0]] == [4, 4, None]
    for update in transition["updates"][1:]:
        assert list(update) == ["period_summary", "updated", "period_start", "period_end", "old", "events"]
        assert all(set(event) == {"states", "event"} for event in update["events"])
    assert all(set(one) == {"variant", "answer"} for question in files["personalized_answers"] for one in question)
    assert all(set(one) == {"query", "exposed_states", "timestamp"} for period in files["sessions"] for one in period)
    assert files["user_profile"]["formatted_str"].splitlines()[-1] == "complementary_info: Someone with a steady temper."
    assert json.loads((tmp_path / "raw/user_profiles.json").read_text("utf-8")) == [files["user_profile"]]
    expected = item.model_dump(mode="json")
    assert files["item"] == expected
    origin = expected.pop("generation")
    assert (origin["model"], origin["index"], origin["settings"]) == ("good-writer", 0, SMALL.fingerprint())
    assert convert_user(folder).model_dump(mode="json") == expected
    items = load_items(tmp_path / "data.json")
    assert items == [item]
    require_valid(items, tmp_path / "data.json")


def test_a_models_changes_are_counted_real_and_capped(tmp_path: Path) -> None:
    used = preset("v1.base")
    items = written(GoodWriter(used), tmp_path, n=3, settings=used, concurrency=2).items
    sizes = Counter(len(period.updates) for item in items for period in item.periods[1:])
    assert set(sizes) == {3, 4, 5}
    assert all(max(item.periods[0].update_cnts.values()) <= used.max_changes_per_state for item in items)


def test_a_models_options_hold_every_experienced_variant_in_a_drawn_order(tmp_path: Path) -> None:
    used = preset("v1.base")
    items = written(GoodWriter(used), tmp_path, n=2, settings=used).items
    firsts = Counter[str]()
    for item in items:
        assert len(set(item.model_dump()["generation"]["option_seeds"])) == len(item.qas)
        for question in item.qas:
            states = [choice.state for choice in question.answer_choices]
            lived = {tuple(period.state[name] for name in question.required_info) for period in item.periods}
            assert lived == {choice.state for choice in question.answer_choices if choice.type == "experience"}
            assert len(set(states)) == len(states) == max(len(lived), used.min_state_variants)
            firsts[question.answer_choices[0].type] += 1
    assert set(firsts) == {"experience", "random"}


def test_written_users_are_the_same_under_any_concurrency(tmp_path: Path) -> None:
    for concurrency in (1, 4):
        written(GoodWriter(), tmp_path / str(concurrency), n=6, concurrency=concurrency)
    one, four = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*.json")}
        for root in (tmp_path / "1", tmp_path / "4")
    )
    assert len(one) == 6 * 7 + 2
    assert one == four


def test_identical_prompts_of_two_users_have_different_seeds(tmp_path: Path) -> None:
    class Noting(GoodWriter):
        def say(self, form: str, given: dict[str, Any], request: Request) -> str:
            seeds.append(request.seed)
            return super().say(form, given, request)

    seeds: list[int] = []
    written(Noting(), tmp_path, n=2)
    assert len(set(seeds)) == len(seeds)


# -- failed -----------------------------------------------------------------------------------------------------------


class FailsFor(GoodWriter):
    """Fails in one step for the users whose name has this in it."""

    def __init__(self, form: str, who: str, text: str = "I would rather not.") -> None:
        super().__init__()
        self._form, self._who, self._text = form, who, text

    def say(self, form: str, given: dict[str, Any], request: Request) -> str:
        about = str(given.get("profile") or given.get("descriptions"))
        return self._text if form == self._form and self._who in about else super().say(form, given, request)


def _name(index: int, tmp_path: Path) -> str:
    found = written(GoodWriter(), tmp_path / "probe", n=index + 1)
    return found.items[index].user_profile.name


def test_a_user_that_cannot_be_written_fails_with_the_reason_and_the_others_survive(tmp_path: Path) -> None:
    model = FailsFor("StateAnswer", _name(1, tmp_path))
    found = written(model, tmp_path / "made", n=3, concurrency=2)
    assert [one.item is None for one in found.users] == [False, True, False]
    (reason,) = found.failed.values()
    assert reason.startswith(
        "initial state: the model gave no usable `StateAnswer` in 5 tries; the last: the text: Invalid JSON"
    )
    assert found.users[1].retries == 4
    items = load_items(tmp_path / "made/data.json")
    assert len(items) == 2
    require_valid(items, tmp_path / "made/data.json")
    converted = convert(tmp_path / "made/raw")
    assert [item.id for item in converted.items] == [item.id for item in found.items]
    missing = "state_transition.json, personalized_answers.json, sessions.json of the user is missing; generate it first"
    assert converted.dropped == {found.users[1].id: missing}


@pytest.mark.parametrize("form", ["ProfileAnswer", "UpdateAnswer", "InitialQueriesAnswer", "QueriesAnswer"])
def test_failing_at_any_step_leaves_the_others_alone(form: str, tmp_path: Path) -> None:
    model = FailsFor(form, _name(0, tmp_path), text="[]")
    found = written(model, tmp_path / "made", n=2)
    assert list(found.failed) == [found.users[0].id]
    assert form in found.failed[found.users[0].id]


def test_stages_of_an_earlier_run_do_not_hide_that_a_user_failed(tmp_path: Path) -> None:
    assert len(written(GoodWriter(), tmp_path, n=2).items) == 2
    name = load_items(tmp_path / "data.json")[0].user_profile.name
    found = written(FailsFor("QuestionsAnswer", name), tmp_path, n=2)
    assert convert(tmp_path / "raw").dropped.keys() == found.failed.keys() != set()


def test_a_refused_key_ends_the_run_at_once(tmp_path: Path) -> None:
    class Refused(GoodWriter):
        calls = 0

        def _say(self, request: Request) -> str:
            self.calls += 1
            raise ModelError("the server answered 401", status=401)

    model = Refused()
    with pytest.raises(ModelError, match="401"):
        written(model, tmp_path, n=40, concurrency=2)
    assert model.calls < 40


def test_a_broken_run_stops_the_users_under_way(tmp_path: Path) -> None:
    class Breaks(GoodWriter):
        def _say(self, request: Request) -> str:
            if self.steps.total() == 50:
                raise ZeroDivisionError
            return super()._say(request)

    model = Breaks()
    with pytest.raises(ZeroDivisionError):
        written(model, tmp_path, n=30, concurrency=2)
    assert model.steps["ProfileAnswer"] < 10


def test_the_cap_gives_way_only_where_too_few_variables_are_left(tmp_path: Path) -> None:
    tight = settings_from(
        {
            "num_questions": 2,
            "num_periods": 4,
            "num_changes_per_period": 3,
            "max_changes_per_state": 1,
            "num_states_per_question": 3,
        }
    )
    (item,) = written(GoodWriter(tight), tmp_path, settings=tight).items
    over = sum(max(0, times - 1) for times in item.periods[0].update_cnts.values())
    assert item.model_dump()["generation"]["changes_over_cap"] == over > 0
    assert all(2 <= len(period.updates) <= 4 for period in item.periods[1:])
    assert min(item.periods[0].update_cnts.values()) == 1


@pytest.mark.parametrize(("cap", "told"), [(1, "may not change any more"), (2, None)])
def test_a_model_cannot_change_a_variable_beyond_the_cap(cap: int, told: str | None, tmp_path: Path) -> None:
    used = SMALL.model_copy(update={"max_changes_per_state": cap})

    class Repeats(GoodWriter):
        def answer(self, form: str, given: dict[str, Any], request: Request) -> Any:
            answer = super().answer(form, given, request)
            said.extend(message.text for message in request.messages[1:])
            if form == "UpdateAnswer" and len(given["earlier_periods"]) == 1 and len(request.messages) == 1:
                earlier = next(iter(given["earlier_periods"][0]["updated"]))
                first, *others = answer["updated"].items()
                other = next(value for value in given["schema"][earlier] if value != given["present"][earlier])
                answer["updated"] = {earlier: other, **{name: value for name, value in others if name != earlier}}
                if len(answer["updated"]) == len(others):
                    answer["updated"] |= [first]
            return answer

    said: list[str] = []
    found = written(Repeats(used), tmp_path, settings=used)
    assert max(found.items[0].periods[0].update_cnts.values()) == cap
    assert found.retries == (0 if told is None else 1)
    assert told is None or told in said[-1]


def test_a_folder_with_other_users_is_refused(tmp_path: Path) -> None:
    written(GoodWriter(), tmp_path, n=2)
    with pytest.raises(InputError, match="holds 1 users that this run does not make"):
        written(GoodWriter(), tmp_path, n=1)
    assert len(written(GoodWriter(), tmp_path, n=3).items) == 3


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give 0 or more"):
        written(GoodWriter(), tmp_path, n=-1)
    assert written(GoodWriter(), tmp_path, n=0).users == []
