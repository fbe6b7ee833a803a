"""The bank is sound: rich and small, and no phrase is taken for another or names a value."""

from __future__ import annotations

from importlib import resources

import pytest
from pydantic import ValidationError

from memagent.environments.amemgym import generate
from memagent.environments.amemgym.generate import ValueMatcher
from memagent.environments.amemgym.generate.templates import TemplateBank, load_bank, phrasings, words_of


def test_the_bank_is_as_rich_as_promised() -> None:
    bank = load_bank()
    assert len(bank.domains) >= 30
    assert len(bank.variables) >= 60
    for domain in bank.domains:
        assert 2 <= len(domain.variables) <= 3
        assert len(set(domain.questions)) >= 3
    for variable in bank.variables.values():
        assert len(variable.frames) >= 4
        assert sum(len(phrasings(frame)) for frame in variable.frames) >= 6
        assert all(len(cues) >= 4 for cues in variable.cues)
    for open_to in (("all",), ("all", "working")):
        assert sum(len(one.variables) == 3 for one in bank.domains if one.open_to in open_to) >= 10


def test_the_bank_stays_small() -> None:
    assert sum(len(file.read_bytes()) for file in (resources.files(generate) / "bank").iterdir()) < 300_000


def test_phrases_are_sentences_that_can_be_joined() -> None:
    for name, variable in load_bank().variables.items():
        for cue in (cue for cues in variable.cues for cue in cues):
            assert cue[-1] not in ".!?", cue
            assert cue[0].islower() or cue.startswith(("I ", "I'", "Wednesday", "Saturday", "Monday", "Mrs.")), (name, cue)
        assert all(one.endswith("?") for frame in variable.frames for one in phrasings(frame))
        assert all(event[0].islower() and event[-1] not in ".,!?" for event in variable.all_events()), name
        possessives = {"my", "his", "her", "their", "himself", "herself", "myself"}
        assert not [event for event in variable.all_events() if possessives & set(words_of(event))], name
        assert all(advice[0].isupper() and advice.endswith(".") for advice in variable.advice), name


def test_no_phrase_stands_within_a_text_of_another_variable() -> None:
    matcher, bank = ValueMatcher(), load_bank()
    for name, text in bank.texts():
        assert matcher.hinted(text) <= {name}, text
        assert set(matcher.advised(text)) <= {name}, text
    for text in (question for domain in bank.domains for question in domain.questions):
        assert not matcher.hinted(text)


def test_cues_of_one_value_are_never_found_for_another() -> None:
    matcher = ValueMatcher()
    for name, variable in load_bank().variables.items():
        for value, cues in zip(variable.values, variable.cues, strict=True):
            for cue in cues:
                assert matcher.exposed(f"Well: {cue.upper()}!") == {name: {value}}


def test_a_bank_whose_texts_name_values_or_repeat_is_refused() -> None:
    content = load_bank().model_dump(by_alias=True)
    variable = content["domains"][0]["variables"]
    name = next(iter(variable))
    first = variable[name]["frames"][0]
    variable[name]["frames"] = (*variable[name]["frames"][1:], "Is a full-frame camera heavy?")
    with pytest.raises(ValidationError, match="names the value 'full_frame_camera'"):
        TemplateBank.model_validate(content)
    variable[name]["frames"] = (first, first, first, first)
    with pytest.raises(ValidationError, match="more than once"):
        TemplateBank.model_validate(content)


def test_phrasings_decide_every_choice() -> None:
    assert phrasings("{a|b} c {d|e}") == ("a c d", "a c e", "b c d", "b c e")
    assert phrasings("plain") == ("plain",)
