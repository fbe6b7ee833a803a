"""Each way in which a model may answer wrongly is told to it and mended, and so is what a reader takes otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.ideal_writer import GoodWriter, Spoiler, extra_calls, matcher, written

from memagent.environments.amemgym.data import UserItem
from memagent.environments.amemgym.estimate import generation_calls
from memagent.environments.amemgym.generate.by_model.writer import MAX_REWRITES
from memagent.environments.amemgym.generate.templates import load_bank
from memagent.environments.amemgym.validate import check_items
from memagent.errors import ModelError
from memagent.models.base import Request

SPOILT: list[tuple[str, Any, str]] = [
    ("UpdateAnswer", lambda a, g: {**a, "updated": {**a["updated"], **_one_more(a, g)}}, "properties change, exactly"),
    ("ProfileAnswer", lambda a, g: a | {"profile": "word " * 500}, "500 words"),
    ("QuestionsAnswer", lambda a, g: {"questions": a["questions"][:-1]}, "3 questions, 4 are wanted"),
    ("QuestionsAnswer", lambda a, g: {"questions": [*a["questions"][:-1], a["questions"][0]]}, "stands there twice"),
    ("QuestionsAnswer", lambda a, g: _with_need(a, lambda needs: needs[:1]), "has 1 properties, not 2"),
    ("QuestionsAnswer", lambda a, g: _with_need(a, lambda needs: [needs[0], needs[0]]), "2 times"),
    ("QuestionsAnswer", lambda a, g: _with_need(a, _twice_a_value), "not 3 different values"),
    ("MergedAnswer", lambda a, g: {"merged": dict(list(a["merged"].items())[1:])}, "is in no group"),
    ("MergedAnswer", lambda a, g: {"merged": {**a["merged"], "more": ["unheard_of"]}}, "unheard_of is not a name"),
    ("MergedAnswer", lambda a, g: {"merged": _one_question_merged(a, g)}, "question 1 would depend on both 2 times"),
    ("MergedAnswer", lambda a, g: {"merged": {"all": list(a["merged"])}}, "only 1 groups are left, 3 are needed"),
    ("StateAnswer", lambda a, g: {"state": dict.fromkeys(a["state"], "?")}, "is '\\?', not one of"),
    ("StateAnswer", lambda a, g: {"state": dict(list(a["state"].items())[1:])}, "is missing"),
    ("StateAnswer", lambda a, g: {"state": "all in the middle"}, "state: Input should be"),
    ("UpdateAnswer", lambda a, g: a | {"updated": a["updated"] | {"unheard_of": "x"}}, "unheard_of is not a property"),
    ("UpdateAnswer", lambda a, g: a | {"updated": {name: g["present"][name] for name in a["updated"]}}, "already"),
    ("EventsAnswer", lambda a, g: {"events": a["events"][1:]}, "has no event"),
    ("EventsAnswer", lambda a, g: {"events": [*a["events"], a["events"][0]]}, "is named 2 times"),
    ("EventsAnswer", lambda a, g: {"events": [*a["events"], {"states": ["odd"], "event": "It rained."}]}, "odd did not change"),
    ("HintsAnswer", lambda a, g: {"hints": [a["hints"][0] | {"event": 9}]}, "there is no event 9"),
    ("OptionsAnswer", lambda a, g: {"answers": {"variant_1": "Rest."}}, "variant_2 is missing"),
    ("OptionsAnswer", lambda a, g: {"answers": dict.fromkeys(a["answers"], "Rest.")}, "the same answer"),
    ("ChoiceAnswer", lambda a, g: {"variant": 0}, "there is no variant 0"),
    ("ChoiceAnswer", lambda a, g: {"variant": "the first"}, "variant: Input should be a valid integer"),
    ("InitialQueriesAnswer", lambda a, g: {"queries": a["queries"][1:]}, "is given away by no text"),
    ("InitialQueriesAnswer", lambda a, g: {"queries": [*a["queries"], a["queries"][0]]}, "is given away 2 times"),
    ("InitialQueriesAnswer", lambda a, g: {"queries": [_untrue(one) for one in a["queries"]]}, "not '\\?'"),
    ("InitialQueriesAnswer", lambda a, g: {"queries": [{"exposed_states": g["state"], "query": "Hello?"}]}, "1 to 3 are"),
    ("QueriesAnswer", lambda a, g: {"queries": [*a["queries"], "And?"]}, "events is wanted"),
    ("ExposureAnswer", lambda a, g: {"told": {"unheard_of": "x"}}, "unheard_of is not a property"),
]  # fmt: skip


def _one_more(answer: Any, given: dict[str, Any]) -> dict[str, str]:
    name = next(name for name in given["may_change"] if name not in answer["updated"])
    return {name: next(value for value in given["schema"][name] if value != given["present"][name])}


def _with_need(answer: Any, change: Any) -> Any:
    first, *others = answer["questions"]
    return {"questions": [first | {"required_info": change(first["required_info"])}, *others]}


def _twice_a_value(needs: Any) -> Any:
    return [needs[0] | {"info_choices": ["a", "a", "b"]}, needs[1]]


def _untrue(opening: Any) -> Any:
    return opening | {"exposed_states": dict.fromkeys(opening["exposed_states"], "?")}


def _one_question_merged(answer: Any, given: dict[str, Any]) -> dict[str, list[str]]:
    names = [need["info_type"] for need in given["questions"][0]["required_info"]]
    return {"both": names, **{name: group for name, group in answer["merged"].items() if name not in names}}


@pytest.mark.parametrize(("form", "spoil", "told"), SPOILT, ids=[f"{form}-{told[:20]}" for form, _, told in SPOILT])
def test_a_wrong_answer_goes_back_with_the_reason_and_costs_one_call(form: str, spoil: Any, told: str, tmp_path: Path) -> None:
    model = Spoiler(form, spoil)
    found = written(model, tmp_path)
    assert (extra_calls(found), found.retries, found.repairs) == (1, 1, 0)
    assert len(model.told) == 1
    assert re.search(told, model.told[0])
    assert check_items(found.items) == []


def test_names_that_mean_the_same_become_one_and_get_one_list_of_values(tmp_path: Path) -> None:
    class Renames(GoodWriter):
        """Calls a variable of the first question otherwise in a second question, with other values."""

        def _questions(self, given: dict[str, Any], request: Request) -> Any:
            answer = super()._questions(given, request)
            first, second, *others = answer["questions"]
            copy = first["required_info"][0]
            renamed = {"info_type": "Other Name", "info_choices": [f"{one} too" for one in copy["info_choices"]]}
            second = second | {"required_info": [renamed, second["required_info"][1]]}
            return {"questions": [first, second, *others]}

        def _merged(self, given: dict[str, Any], request: Request) -> Any:
            merged = super()._merged(given, request)["merged"]
            merged.pop("other_name")
            stays = given["questions"][0]["required_info"][0]["info_type"]
            return {"merged": merged | {stays: [stays, "other_name"]}}

    model = Renames()
    found = written(model, tmp_path)
    (item,) = found.items
    assert model.steps["ValuesAnswer"] == 1
    assert found.usage.calls == generation_calls(item) + 1
    assert "other_name" not in item.state_schema
    assert item.qas[1].required_info[0] == item.qas[0].required_info[0]
    assert check_items([item]) == []


# -- readers ----------------------------------------------------------------------------------------------------------


def _leaking(answer: Any, given: dict[str, Any]) -> Any:
    first, *others = answer["queries"]
    other = next(name for name in given["schema"] if name not in given["events"][0]["changes"])
    return {"queries": [f"{first} By the way, {_cue(other, given['schema'][other][0])}.", *others]}


def _hinting(answer: Any, given: dict[str, Any]) -> Any:
    first, *others = answer["events"]
    cue = _cue(*next(iter(given["unchanged"].items())))
    return {"events": [first | {"event": f"{first['event']} Also, {cue}."}, *others]}


def _swapped(answer: Any, given: dict[str, Any]) -> Any:
    one, two = list(answer["answers"])[:2]
    return {"answers": answer["answers"] | {one: answer["answers"][two] + " Really.", two: "It depends."}}


def _cue(variable: str, value: str) -> str:
    return load_bank().variables[variable].cues_of(value)[0]


@pytest.mark.parametrize(
    ("form", "spoil", "repairs"),
    [
        ("QueriesAnswer", _leaking, 2),
        ("InitialQueriesAnswer", lambda a, g: {"queries": [one | {"query": "Well?"} for one in a["queries"]]}, 2 * 8),
        ("EventsAnswer", _hinting, 2),
        ("OptionsAnswer", _swapped, 2 * 2),
    ],
)
def test_a_text_that_tells_too_much_or_too_little_is_written_anew(form: str, spoil: Any, repairs: int, tmp_path: Path) -> None:
    found = written(Spoiler(form, spoil), tmp_path)
    assert (extra_calls(found), found.retries, found.repairs) == (repairs, 0, repairs)
    assert_tells_what_it_should(found.items[0])


def assert_tells_what_it_should(item: UserItem) -> None:
    """Utterances, events and options give away what they are for, and nothing else."""
    for session in (session for period in item.periods for session in period.sessions):
        assert matcher().exposed(session.query) == {name: {value} for name, value in session.exposed_states.items()}
        assert session.event is None or matcher().hinted(session.event) == session.exposed_states.keys()
    for question in item.qas:
        for choice in question.answer_choices:
            wanted = {name: {value} for name, value in zip(question.required_info, choice.state, strict=True)}
            assert matcher().advised(choice.answer) == wanted


def test_a_text_that_stays_wrong_ends_after_twenty_rewrites(tmp_path: Path) -> None:
    class Confused(GoodWriter):
        def _exposure(self, given: dict[str, Any], request: Request) -> Any:
            return {"told": {}}

    with pytest.raises(ModelError, match=f"still wrong after {MAX_REWRITES} rewrites: .* could not be told"):
        written(Confused(), tmp_path)
    assert not (tmp_path / "data.json").exists()
