"""Search terms: one normal form of a word, words of scripts without spaces, parts of compounds."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent import Store
from memagent.text.tokens import WholeWords, content_words, parts, query_terms, terms, whole_words

_CHATTER = [
    "I bought a new lamp for the kitchen.",
    "今日は天気がいいです。",
    "会議は三時からです。",
    "电影很好看。",
    "我昨天去了公园。",
    "明日は友達と映画を見る。",
    "Das Wetter ist heute schön.",
    "ประชุมวันจันทร์ตอนเช้า",
    "오늘은 날씨가 좋아요.",
    "Мы ездили на дачу.",
    "الاجتماع يوم الاثنين",
    "मुझे चाय पसंद है।",
    "Nous avons mangé une pizza.",
]


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        ("Zoë", unicodedata.normalize("NFD", "Zoë")),
        ("Zoë", "ZOE"),
        ("STRASSE", "straße"),
        ("ＤＯＧ", "dog"),
        ("ﬁnd", "find"),
        ("مُحَمَّد", "محمد"),
        ("שָׁלוֹם", "שלום"),
        ("ΟΔΌΣ", "οδος"),
        ("ёлка", "елка"),
        ("co\u00adop", "coop"),
        ("می\u200cروم", "میروم"),
        ("ﾀﾏ", "タマ"),
    ],
)
def test_a_word_written_in_two_ways_is_one_term(written: str, otherwise: str) -> None:
    assert terms(written) == terms(otherwise) != []


@pytest.mark.parametrize("word", ["हिन्दी", "বাংলা", "தமிழ்", "മലയാളം"])
def test_vowel_signs_do_not_break_a_word(word: str) -> None:
    assert terms(f"{word} {word}") == [word, word]


@pytest.mark.parametrize(
    ("fact", "question"),
    [
        ("うちの猫はタマと言う。", "猫の名前は何ですか"),
        ("猫叫豆豆。", "我家的猫多大？"),
        ("แมวของฉันชื่อมะลิ", "แมวชื่ออะไร"),
        ("ໝາຂອງຂ້ອຍຊື່ດຳ", "ໝາຊື່ຫຍັງ"),
        ("ឆ្កែរបស់ខ្ញុំឈ្មោះពេជ្រ", "ឆ្កែឈ្មោះអ្វី"),
        ("ကျွန်တော့်ခွေးနာမည် ဖြူလုံး", "ခွေးနာမည်ဘာလဲ"),
        ("우리 고양이는 나비라고 해요.", "고양이의 이름은 뭐예요?"),
        ("मेरी बिल्ली का नाम मीनू है।", "बिल्ली का नाम क्या है?"),
        ("قِطَّتِي اسمها لولو", "ما اسم قطتي"),
        ("Meine Freundin heißt Zoë.", unicodedata.normalize("NFD", "Wann hat Zoë Geburtstag?")),
        ("Der Zahnarzttermin ist am Freitag.", "Wann muss ich zum Zahnarzt?"),
    ],
)
def test_a_question_finds_its_fact_first_in_any_script(tmp_path: Path, fact: str, question: str) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="u")
        memory.add([*(f"{_CHATTER[k % len(_CHATTER)]} {k}" for k in range(20)), fact])
        memory.add([f"{_CHATTER[k % len(_CHATTER)]} {k}" for k in range(20, 40)])
        assert memory.search(question, limit=1)[0].item.text == fact


def test_a_compound_is_found_by_the_words_it_is_made_of() -> None:
    assert {"zahnarzt", "termin"} <= set(parts("Der Zahnarzttermin ist heute."))
    assert parts("a short word") == []


def test_a_question_is_not_searched_for_its_particles() -> None:
    assert query_terms("猫呢？") == ["猫呢", "猫"]
    assert query_terms("What is it?") == query_terms("it")


def test_two_characters_of_an_unspaced_script_count_as_a_word() -> None:
    assert content_words("我的猫叫豆豆") == 3
    assert content_words("猫") == content_words("แมว") == 1


_ALTERNATIVES = (
    r"no longer|now|chang\w+|, not|ne .{0,30}plus|^forget|fiancée?|[月火]曜|any ?more|n'.{0,9}plus|a(?:b c|d)|\bup",
    "ahora|jetzt",
)
_SAID = "no|longer|now|changed|,|not|ne|plus|forget|月曜|any|more|n'|ab|c|ad|ahora|jetzt|x.|@|up|now's|fiancé"


@pytest.mark.parametrize("alternatives", _ALTERNATIVES)
@given(
    st.lists(st.sampled_from(_SAID.split("|")) | st.text(max_size=3), max_size=8),
    st.sampled_from(["", " ", "\n", "\u3000", ".", "-"]),
)
def test_looking_words_up_finds_what_searching_the_text_does(alternatives: str, words: list[str], between: str) -> None:
    text = between.join(words)
    searched = re.search(whole_words(alternatives), text) is not None
    assert WholeWords(alternatives).within(text) is searched
