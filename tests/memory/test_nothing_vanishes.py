"""Every kind of memory, in any script and form of text: what is shown and what `dropped` counts is all that was said."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memagent import Store
from memagent.memory.view import clean
from memagent.text.sentences import sentences
from memagent.types import ImagePart, Message, Recall, TextPart
from memagent_renderers.document import clean as visible
from memagent_renderers.fonts import substitute

KINDS = ("rag", "long_context", "notes", "memocr")
SAMPLES = {
    "latin": "Zoë lives in Kraków. Her café: «Łódź».",
    "greek": "Το βιβλίο είναι εδώ. Πού είναι η γάτα;",
    "cyrillic": "Мою собаку зовут Рекс! Где мы были? На даче.",
    "arabic": "اسم قطتي لولو. أين تسكن؟",
    "hebrew": "לכלבה שלי קוראים לאסי.",
    "devanagari": "मेरी बिल्ली का नाम मीनू है। मुझे चाय पसंद है।",
    "thai": "แมวของฉันชื่อมะลิ",
    "han": "我的猫叫豆豆。我住在上海。",
    "kana": "うちの猫はタマと言う。",
    "hangul": "우리 고양이는 나비라고 해요.",
    "emoji": "👩\u200d🚀 🙂",
    "list": "Shopping:\n- milk\n- eggs\n- 2 kg flour\n- salt",
    "table": "| day | dish |\n|---|---|\n| Mon | soup |\n| Tue | fish |",
    "pairs": "host: nas\nport: 22\nuser: ada",
    "code": "def f(x):\n    return x + 1",
    "short": "Loves jazz. Hates rain. Drinks tea.",
    "talk": "Hi! How are you? Thanks. Nice.",
    "one run": "x" * 500,
}
_LETTERS = [
    "kzQé",
    "αβΓς",
    "абвй",
    "ابتث",
    "אבגד",
    "अकखि",
    "กขิ่",
    "我的猫",
    "うちタ",
    "고양이",
    "ሀለሐ",
    "აბგ",
    "தமிழ்",
    "🙂👩🏽\u200d🚀",
    "12५٣",
]
_STOPS = ".!?…,:;'\"()¿¡‼⁇।॥۔؟،。！？、፧።։"
_OTHERS = " \n\t-*|#`/+\x00\x0b\x1c\xa0\xad\u0301\u3000\u200b\u200c\u200d\u2028\ufe0f☃"
_FREE = ".,;:!?…'\"()-*`"
"""Signs that a repetition of something may have or lack."""


def _squeezed(text: str) -> str:
    plain = "".join(unicodedata.normalize("NFC", substitute(visible(clean(text)))[0]).casefold().split())
    return plain.replace("�", "")


def _missing(said: list[str], recall: Recall) -> list[str]:
    """Sentences of what was said that no source of a view shows. What was said twice, signs at the end aside, is shown once."""
    view = _squeezed("\n".join(source.text for source in recall.sources))
    ways: dict[str, list[str]] = {}
    for one in (one for text in said for line in text.splitlines() for one in sentences(line, join=False)):
        sign = _squeezed(one)
        ways.setdefault(sign.translate(dict.fromkeys(map(ord, _FREE))).rstrip(_STOPS) or sign, []).append(sign)
    return [same[0] for same in ways.values() if not any(one in view for one in same)]


def _store(folder: Path, kind: str) -> tuple[Store, dict[str, str]]:
    return Store(folder, embedder=None), {"engine": "fake"} if kind == "memocr" else {}


@pytest.fixture(autouse=True)
def _every_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMAGENT_FALLBACK_FONT")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_while_the_budget_is_free_everything_is_shown(tmp_path: Path, kind: str, sample: str) -> None:
    store, options = _store(tmp_path, kind)
    with store:
        memory = store.memory(kind, user="ada", **options)
        memory.add(SAMPLES[sample])
        for _ in ("before it is consolidated", "after"):
            recall = memory.recall("What do I know?", budget=2000)
            assert _missing([SAMPLES[sample]], recall) == []
            undrawn = recall.picture is not None and bool(recall.picture.missing)
            assert recall.dropped == 0 or undrawn
            memory.consolidate()


_TEXT = st.sampled_from(_LETTERS).flatmap(
    lambda letters: st.lists(
        st.one_of(st.text(letters, min_size=1, max_size=20), st.text(_STOPS, max_size=3), st.text(_OTHERS, max_size=2)),
        min_size=1,
        max_size=30,
    ).map("".join)
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_shown_is_counted(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        said=st.lists(_TEXT, min_size=1, max_size=12),
        budget=st.sampled_from([16, 64, 256, 8000]),
        consolidated=st.booleans(),
        query=st.sampled_from(["", "猫?", "What is α?"]),
    )
    @example(said=["।अ"], budget=16, consolidated=True, query="")
    @example(said=["我。", "\u0301\x00\x0b‼", "12+"], budget=16, consolidated=False, query="")
    @example(said=["é.\x0b ।k?"], budget=8000, consolidated=True, query="")
    def check(said: list[str], budget: int, consolidated: bool, query: str) -> None:
        store, options = _store(tmp_path_factory.mktemp("store"), kind)
        with store:
            memory = store.memory(kind, user="ada", **options)
            memory.add(said)
            if consolidated:
                memory.consolidate()
            recall = memory.recall(query, budget=budget)
        assert recall.cost <= budget
        assert recall.dropped or not _missing(said, recall)
        if budget == 8000 and recall.picture is None:
            assert recall.dropped == 0

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_in_a_message_is_named_in_the_view(tmp_path: Path, kind: str) -> None:
    picture = ImagePart(data=b"\x89PNG")
    store, options = _store(tmp_path, kind)
    with store:
        memory = store.memory(kind, user="ada", **options)
        memory.add(Message(role="user", content=(picture, TextPart(text="This is my cat Tama."))))
        memory.add(Message(role="user", content=(picture, picture)))
        for _ in ("before it is consolidated", "after"):
            shown = " ".join(source.text for source in memory.recall("cat", budget=200).sources)
            assert shown.count("[picture]") >= 2
            memory.consolidate()
