"""What a question asks for, and which sentences hold it; the whole is tested with the answers (`tests/test_grounding.py`)."""

from __future__ import annotations

import pytest

from memagent.text.questions import ParsedQuestion, current_part, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where do I live?", "en"),
        ("2 + 2", "en"),
        ("Wo wohne ich?", "de"),
        ("Où habite ma tante ?", "fr"),
        ("¿Cómo se llama mi perro?", "es"),
        ("Dove abito adesso?", "it"),
        ("どこに住んでいますか", "ja"),
        ("我住在哪里", "zh"),
        ("Где я живу?", ""),
    ],
)
def test_the_language_is_told_by_its_function_words(text: str, language: str) -> None:
    assert language_of(text).name == language


@pytest.mark.parametrize(
    ("text", "kind", "anchors", "about_self"),
    [
        ("How old is my aunt?", "age", ("aunt",), True),
        ("How many bees do I keep?", "number", ("bees",), True),
        ("When is the regatta?", "when", ("regatta",), False),
        ("Which town does Ute live in?", "where", ("ute", "live"), False),
        ("Who sings in the choir?", "who", ("sings", "choir"), False),
        ("What's my name?", None, ("name",), True),
        ("What do I do for a living?", None, ("work",), True),
        ("Where do I live now?", "where", ("live",), True),
        ("兄の猫の名前は何ですか", None, ("兄", "猫"), False),
    ],
)
def test_a_question_is_its_kind_its_words_and_whether_it_is_about_oneself(
    text: str, kind: str | None, anchors: tuple[str, ...], about_self: bool
) -> None:
    found = ParsedQuestion.of(text)
    assert (found.kind, found.anchors, found.about_self) == (kind, anchors, about_self)


@pytest.mark.parametrize(
    ("question", "sentence", "answered"),
    [
        ("What is my dad's job?", "My father works as a glazier.", True),
        ("What is my mum's job?", "My father works as a glazier.", False),
        ("Which school does Ida attend?", "Ida goes to the Runeberg school.", True),
        ("Which school does Ida attend?", "Ida goes to school by bus.", False),
        ("How old is Ida?", "Ida turned seven.", True),
        ("How old is Ida?", "Ida has seven hens.", False),
        ("Where does Ida live?", "Ida lives alone.", False),
        ("Where does Ida live?", "Ida dreams of living in Rome.", False),
        ("¿Dónde vive mi hermano?", "Mi hermano vive en Cuenca.", True),
        ("¿Dónde vive mi hermano?", "Mi hermana vive en Cuenca.", False),
        ("Wie heißt unsere Katze?", "Unser Kater heißt Moritz.", True),
        ("Where does my aunt live?", "Tormod's aunt lives in Bergen.", False),
        ("Where does my aunt live?", "My aunt lives near Tormod's office.", True),
        ("What does Tormod do?", "Tormod's aunt works as a vet.", False),
        ("Was macht mein Onkel beruflich?", "Silkes Onkel hat den Beruf Tischler.", False),
        ("Où habite mon oncle ?", "L'oncle de Ferdinand habite à Metz.", False),
        ("¿Dónde vive mi tía?", "La tía de Nuria vive en Vigo.", False),
        ("Dove vive mia zia?", "La zia di Carla vive a Bari.", False),
        ("妹の仕事は何ですか", "部長の妹の仕事は歯科医です。", False),
        ("Comment s'appelle mon père ?", "Je joue à pair ou impair.", False),
        ("Comment s'appelle ma mère ?", "J'appelle ça des fruits de mer.", False),
        ("Where do I live?", "In the film that I love the heroine lives in Prague.", False),
        ("What is my ticket number?", "My ticket is 88-204.", True),
        ("What is my ticket number?", "My ticket cost 88 pounds.", False),
        ("When did I sell my kayak?", "I finally sold my kayak the day before yesterday.", True),
        ("Which town was I born in?", "I was born in 1971.", False),
        ("How old is Bea?", "Bea is 4 June, no, that's her birthday.", False),
        ("What's my name?", "Hi, I'm Ottilie, a baker in Graz.", True),
        ("What's my name?", "I'm Scottish, from Oban.", False),
        ("What do I want to learn?", "I'd like to learn the banjo, if I learn anything.", True),
        ("Why did I leave Basel?", "I left Basel in May.", False),
    ],
)
def test_a_sentence_answers_when_it_holds_what_is_asked_as_a_fact(question: str, sentence: str, answered: bool) -> None:
    assert ParsedQuestion.of(question).answered_by(sentence) is answered


@pytest.mark.parametrize(
    ("question", "said", "part"),
    [
        ("Where do I live?", "I moved from Leeds to York last week.", "I moved … to York last week."),
        ("What bike do I have?", "My bike was stolen, so I got a Brompton.", "so I got a Brompton."),
        ("Which phone company do I use?", "We gave up Telia and went over to Elisa.", "went over to Elisa."),
        ("Wer ist mein Chef?", "Jens hat gekündigt, mein Chef ist jetzt Olaf.", "mein Chef ist jetzt Olaf."),
        ("What is my dog called?", "My dog is called Rolf.", "My dog is called Rolf."),
        ("Where is my bike?", "My bike was stolen.", "My bike was stolen."),
        ("Où habite le cousin de Luc ?", "Le cousin de Luc habite à Brest.", "Le cousin de Luc habite à Brest."),
        ("猫の名前は？", "猫を飼っています。名前は、タマです。", "猫を飼っています。名前は、タマです。"),
        ("What is the port?", "host: zeus\nport: 81", "host: zeus port: 81"),
    ],
)
def test_what_holds_now_is_the_part_behind_what_has_ended(question: str, said: str, part: str) -> None:
    assert current_part(said, ParsedQuestion.of(question)) == part
