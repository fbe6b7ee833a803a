"""The answer probe: what it takes for shown, and that it knows nothing of the generator."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.environments.amemgym.baselines import state_text
from memagent.environments.amemgym.data import UserItem, UserSession
from memagent.environments.amemgym.generate import ValueMatcher, generate_users, preset
from memagent.environments.amemgym.rule_reader import RuleBasedReader, evidence_of, question_prompt, state_prompt

BUS = "I spend forty minutes on line nine each morning."
LOW = "Lunch should stay under three euros."
BIKE = "My new panniers rub my heel on the way to the office, how do I move them?"
FIRST, SECOND = {"commute_mode": "bus", "lunch_budget": "low"}, {"commute_mode": "bike", "lunch_budget": "low"}
ITEM = UserItem.model_validate(
    {
        "id": "w-07",
        "start_time": "2023-05-01",
        "user_profile": {"uuid": "w-07", "formatted_str": "name: Ines"},
        "state_schema": {"commute_mode": ["bus", "bike", "remote"], "lunch_budget": ["low", "mid"]},
        "periods": [
            {
                "period_end": day,
                "sessions": [{"query": query, "exposed_states": told, "session_time": f"{day} 20:00:00"}],
                "state": state,
                "updates": {name: {"old": None, "new": value} for name, value in told.items()},
            }
            for day, query, told, state in (
                ("2023-05-01", f"{BUS} {LOW} Any podcast?", FIRST, FIRST),
                ("2023-08-01", BIKE, {"commute_mode": "bike"}, SECOND),
            )
        ],
        "qas": [
            {
                "query": "How should I plan my meals?",
                "required_info": ["commute_mode", "lunch_budget"],
                "answer_choices": [
                    {"state": state, "answer": answer}
                    for state, answer in (
                        (["bus", "low"], "Beans."),
                        (["bike", "low"], "Rice."),
                        (["bike", "mid"], "Fish."),
                        (["remote", "mid"], "Soup."),
                    )
                ],
            }
        ],
    }
)
READER = RuleBasedReader(ITEM)
QUESTION = ITEM.qas[0]


@pytest.mark.parametrize(
    ("view", "options", "score"),
    [
        (f"{LOW}\n{BIKE}", [1], 1.0),
        (f"{BIKE}\n{BUS} {LOW}", [1], 1.0),  # told later, wherever it stands
        (f"{BUS}\n{LOW}", [0], 0.0),
        (BIKE, [1, 2], 0.5),
        (LOW, [0, 1], 0.5),
        ("", [0, 1, 2, 3], 0.25),
        ("What a day it was on the way to the office.", [0, 1, 2, 3], 0.25),
        (f"- commute mode: bike\n{LOW}", [1], 1.0),
        ("commute_mode: bus\ncommute_mode: bike\nlunch_budget: low", [1], 1.0),
        (f"commute mode is bus\n{BIKE}\n{LOW}", [1], 1.0),  # dated words go before names
        ("lunch budget: lower mid\ncommute mode: remote", [3], 0.0),
        ("commute mode: bus or bike", [0, 1, 2, 3], 0.25),
    ],
)
def test_options_follow_what_the_view_shows(view: str, options: list[int], score: float) -> None:
    assert READER.options(view, QUESTION, period=1) == options
    assert READER.score(view, QUESTION, period=1) == score


def test_a_statement_of_later_counts_for_nothing_before_it_was_made() -> None:
    assert READER.values(f"{BUS}\n{BIKE}", ["commute_mode"], period=0) == {"commute_mode": "bus"}


def test_four_fifths_of_the_words_suffice_and_less_does_not() -> None:
    words = BIKE.split()
    blotted = [*words[:4], "···", *words[5:9], "····", *words[10:]]
    assert READER.values(" ".join(blotted), ["commute_mode"], period=1) == {"commute_mode": "bike"}
    assert READER.values(" ".join(words[: len(words) // 2]), ["commute_mode"], period=1) == {}
    assert READER.values(" and ".join(f"{word} so on it goes" for word in words), ["commute_mode"], period=1) == {}


def test_line_breaks_of_a_page_do_not_hide_a_sentence() -> None:
    assert READER.values(BIKE.replace("rub my", "rub\nmy"), ["commute_mode"], period=1) == {"commute_mode": "bike"}


def test_the_probe_names_each_value_and_its_place() -> None:
    first, second = READER.probe(BIKE, QUESTION, period=1).results
    assert (first.info_type, first.response_state, first.score) == ("commute_mode", "bike", 1.0)
    assert (first.write_pos, first.read_pos) == (1, 1)
    assert (second.response_state, second.score, second.write_pos) == (None, 0.0, 0)
    failed = READER.probe(None, QUESTION, period=1).results
    assert all(one.json_error and one.score == 0 for one in failed)


def test_prompts_hold_the_options_and_the_values() -> None:
    prompt = question_prompt(QUESTION)
    assert "How should I plan my meals?" in prompt
    assert "1: Beans.\n2: Rice.\n3: Fish.\n4: Soup." in prompt
    assert all(word in state_prompt(ITEM, QUESTION) for word in ("commute_mode", "remote", "lunch_budget", "mid"))


@given(st.text(max_size=60), st.integers(0, 1))
def test_any_view_gives_a_score_and_some_option(view: str, period: int) -> None:
    assert READER.options(view, QUESTION, period=period)
    assert 0 <= READER.score(view, QUESTION, period=period) <= 1


def test_sentences_and_values_are_matched_as_the_generator_meant_it() -> None:
    """The rule by which an opening is taken apart holds for procedural users; no word of the bank is needed for it."""
    for item in generate_users(4, settings=preset("v1.base"), seed=11):
        matcher = ValueMatcher(item.state_schema)
        for period in item.periods:
            for session in period.sessions:
                for one in evidence_of(session, 0):
                    said = matcher.exposed(" ".join(word for words in one.sentences for word in words))
                    assert said == {one.variable: {one.value}}, session.query


def test_an_opening_that_only_asks_is_evidence_as_a_whole() -> None:
    session = UserSession(
        query="Can I eat soup daily? Or twice?", exposed_states={"a": "1", "b": "2", "c": "3"}, session_time=""
    )
    assert {one.sentences for one in evidence_of(session, 0)} == {(("can", "i", "eat", "soup", "daily"), ("or", "twice"))}


def test_an_oracle_is_read_right_on_procedural_users() -> None:
    for item in generate_users(3, settings=preset("v1.extra"), seed=2):
        reader = RuleBasedReader(item)
        for p, period in enumerate(item.periods):
            assert all(reader.score(state_text(period.state), question, period=p) == 1 for question in item.qas)


def test_neither_the_reader_nor_any_memory_or_assistant_loads_the_generator() -> None:
    base = "memagent.environments.amemgym"
    parts = [f"{base}.{name}" for name in ("rule_reader", "assistants", "dialogues", "simulated_user")]
    memories = [f"memagent.memory.{name}" for name in ("rag", "long_context", "notes", "memocr")]
    listed = f"[one for one in sys.modules if one.startswith({base + '.generate'!r})]"
    script = f"import sys, {', '.join(parts + memories)}; print({listed})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_of_two_names_of_which_one_holds_the_other_the_longer_counts() -> None:
    schema = {"outings": ("day_hikes", "multi_day_hikes"), "lunch_budget": ("low", "mid")}
    reader = RuleBasedReader(ITEM.model_copy(update={"state_schema": schema}))
    assert reader.values("outings: multi_day_hikes", ["outings"], period=1) == {"outings": "multi_day_hikes"}
    assert reader.values("outings: day hikes", ["outings"], period=1) == {"outings": "day_hikes"}
