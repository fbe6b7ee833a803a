"""Values that sentences state, and how two sentences stand to each other."""

from __future__ import annotations

import pytest

from memagent.text.attributes import completes, corrects, in_earnest, meaning, repeats, replaces


@pytest.mark.parametrize(
    ("sentence", "slot", "value"),
    [
        ("I live in Lyon.", "home", "Lyon"),
        ("By the way, I now live in New York!", "home", "New York"),
        ("No, we live in Paris these days.", "home", "Paris"),
        ("Jetzt wohne ich in Graz.", "home", "Graz"),
        ("J’habite à Lille depuis hier.", "home", "Lille"),
        ("Ahora vivo en Bilbao.", "home", "Bilbao"),
        ("Biscuit is the name of my dog.", "name of dog", "Biscuit"),
        ("My birthday is on May 3rd.", "birthday", "May 3rd"),
        ("I'm 34.", "age", "34"),
        ("I have a new number: 555-9876.", "phone", "555-9876"),
        ("My email is kim@post.example now.", "email", "kim@post.example"),
    ],
)
def test_a_plain_statement_has_an_attribute(sentence: str, slot: str, value: str) -> None:
    found = meaning(sentence).attribute
    assert found is not None
    assert (found.slot, found.value) == (slot, value)


@pytest.mark.parametrize(
    "sentence",
    [
        "My phone is broken.",
        "My name is hard to spell.",
        "I live in fear.",
        "I live in Lyon and Paris.",
        "I live in Lyon, near the station.",
        "I am 5 years older than Tom.",
        "My birthday is in 3 days.",
        "If I lived in Rome, I would be happy.",
        "I don't live in Lyon.",
        "Anna says I live in Lyon.",
        "Ich heiße das nicht gut.",
        "J'habite à cinq minutes de la gare.",
        "Mi teléfono está roto.",
    ],
)
def test_what_is_not_wholly_a_statement_of_a_value_that_can_be_has_none(sentence: str) -> None:
    assert meaning(sentence).attribute is None


@pytest.mark.parametrize(
    ("old", "new", "relation"),
    [
        ("I live in Lyon.", "My home is in Lyon.", repeats),
        ("I live in Lyon, France.", "I live in Lyon.", repeats),
        ("My birthday is on 3 May.", "I was born on May 3rd.", repeats),
        ("I have a peanut allergy.", "I am allergic to peanuts.", repeats),
        ("I live in Lyon with my wife Anna.", "I live in Lyon.", repeats),
        ("I live in Lyon.", "I live in Lyon, France.", completes),
        ("My name is Ada.", "My name is Ada Lovelace.", completes),
        ("I was born on 3 May.", "My birthday is on May 3rd 1990.", completes),
        ("I live in York.", "I live in Leeds.", replaces),
        ("My mobile number is 555-1234.", "My new mobile number is 555-7777.", replaces),
        ("I don't drink coffee.", "I drink coffee.", replaces),
        ("Je ne fume pas.", "Je fume.", replaces),
        ("I work at Arcadis.", "I started at Siemens.", corrects),
        ("Soy vegetariana.", "Ahora como carne otra vez.", corrects),
    ],
)
def test_sentences_stand_to_each_other_as_a_careful_person_would_say(old: str, new: str, relation: object) -> None:
    one, other = meaning(new), meaning(old)
    hold = [name for name in (repeats, completes, replaces) if name(one, other)]
    assert hold[:1] == ([] if relation is corrects else [relation])
    if relation is corrects:
        assert corrects(one, other) > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I live in Lyon.", "I like Lyon."),
        ("I live in Lyon.", "I lived in Lyon."),
        ("I live in Lyon.", "I live in France."),
        ("I live in York.", "I live in New York."),
        ("I live in New York.", "I live in York."),
        ("My phone number is 555-1234.", "My mobile number is 555-7777."),
        ("My name is Ada Lovelace.", "My name is Lovelace."),
        ("I am 34 years old.", "I am 5."),
        ("My dog is called Rex.", "My dog is called Balu."),
        ("Anna loves Bob.", "Bob loves Anna."),
        ("I eat fish.", "I eat fish only at Christmas."),
        ("I moved to Oslo.", "I moved from Oslo."),
    ],
)
def test_what_can_both_be_true_stays(old: str, new: str) -> None:
    one, other = meaning(new), meaning(old)
    assert not any(relation(one, other) for relation in (repeats, completes, replaces))


@pytest.mark.parametrize(
    ("message", "earnest"),
    [
        ("I live in Lyon now. Any tips?", True),
        ("My email is kim@example.com.", True),
        ('He wrote: "Hi. I live in Rome now."', False),
        ("> I live in Rome now.", False),
        ("Translate this. I live in Rome now.", False),
        ("Stell dir vor: Ich wohne jetzt in Rom.", False),
        ("Il a dit « J'habite à Rome ».", False),
        ("Ojalá. Ahora vivo en Roma.", False),
    ],
)
def test_what_is_quoted_supposed_or_said_by_others_is_not_in_earnest(message: str, earnest: bool) -> None:
    assert in_earnest(message) is earnest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I like C", "I like C++."),
        ("My favourite language is C.", "My favourite language is C#."),
        ("My favourite emoji is 🙂.", "My favourite emoji is 🚀."),
        ("It was -5 outside.", "It was 5 outside."),
        ("मेरी बिल्ली का नाम मीनू है।", "मेरी बिल्ली का नाम मीना है।"),
        ("ฉันเห็นม้า", "ฉันเห็นมา"),
        ("Tôi bán dừa.", "Tôi bán dưa."),
        ("हाँ", "हैं"),
        ("I feel fine. 😀", "I feel fine. 😢"),
    ],
)
def test_signs_and_vowel_marks_tell_statements_apart(one: str, other: str) -> None:
    for new, old in ((one, other), (other, one)):
        assert not repeats(meaning(new), meaning(old))


@pytest.mark.parametrize(
    ("one", "other"), [("मुझे चाय पसंद है।", "मुझे चाय पसंद है"), ("我住在上海。", "我住在上海！"), ("“I like tea!”", "I like tea")]
)
def test_stops_and_quotes_tell_nothing_apart(one: str, other: str) -> None:
    for new, old in ((one, other), (other, one)):
        assert repeats(meaning(new), meaning(old))
