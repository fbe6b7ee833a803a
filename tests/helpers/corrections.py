"""Natural corrections: what is told, a question, and the newest and an older value of what it asks for."""

from __future__ import annotations

from typing import NamedTuple


class Correction(NamedTuple):
    """What is told in this order, so that `newest` holds and `older` does not."""

    told: tuple[str, ...]
    question: str
    newest: str
    older: str


CORRECTIONS = tuple(
    Correction(*one)
    for one in (
        (
            ("My sister lives in Rome.", "I like figs.", "My sister moved to Milan."),
            "Where does my sister live?",
            "Milan",
            "Rome",
        ),
        (("Ich wohne in Köln.", "Es regnet.", "Ich bin nach Hamburg umgezogen."), "Wo wohne ich?", "Hamburg", "Köln"),
        (
            (
                "The wedding is on 14 June.",
                "The wedding moved to 21 June.",
                "I bought a hat.",
                "The wedding has been moved again, to 5 July.",
            ),
            "When is the wedding?",
            "5 July",
            "14 June",
        ),
        (("My locker is number 31.", "No wait, it's number 37."), "Which locker is mine?", "37", "31"),
        (("My car is on level 3.", "I like figs.", "Oops, I meant level 5."), "Where is my car?", "level 5", "level 3"),
        (("I weigh 82 kilos.", "Actually make that 79."), "How much do I weigh?", "79", "82"),
        (("I have five grandchildren.", "Six, with little Jory."), "How many grandchildren do I have?", "Six", "five"),
        (
            ("My aunt lives in Cork.", "I like figs.", "Forget what I said about my aunt, she lives in Galway."),
            "Where does my aunt live?",
            "Galway",
            "Cork",
        ),
        (("The rehearsal is on Tuesday.", "Wait, no, it's on Thursday."), "When is the rehearsal?", "Thursday", "Tuesday"),
        (
            ("The wifi password is pelican42.", "I like figs.", "We changed the wifi password, it's heron77 these days."),
            "What is the wifi password?",
            "heron77",
            "pelican42",
        ),
        (
            ("Mein Arzt heißt Dr. Krause.", "Es regnet.", "Nein, Moment, mein Arzt heißt Dr. Kruse."),
            "Wie heißt mein Arzt?",
            "Kruse",
            "Krause",
        ),
        (
            ("Ich arbeite bei Bosch.", "Es regnet.", "Vergiss, was ich gesagt habe, ich arbeite bei Miele."),
            "Wo arbeite ich?",
            "Miele",
            "Bosch",
        ),
        (
            ("J'habite à Nantes.", "Il pleut.", "En fait, je viens de déménager à Rennes."),
            "Où est-ce que j'habite ?",
            "Rennes",
            "Nantes",
        ),
        (
            ("Ma chienne s'appelle Luna.", "Il pleut.", "Non, pardon, ma chienne s'appelle Lina."),
            "Comment s'appelle ma chienne ?",
            "Lina",
            "Luna",
        ),
        (
            ("Mi color favorito es el verde.", "Perdón, quise decir el azul."),
            "¿Cuál es mi color favorito?",
            "azul",
            "verde",
        ),
        (
            ("El vuelo sale a las 8:30.", "Llueve.", "Han cambiado el vuelo, sale a las 11:45."),
            "¿A qué hora sale el vuelo?",
            "11:45",
            "8:30",
        ),
        (("我住在上海。", "下雨了。", "我搬到成都了。"), "我住在哪里？", "成都", "上海"),
        (("我的医生是王大夫。", "不对，我的医生是李大夫。"), "我的医生是谁？", "李大夫", "王大夫"),
        (
            ("集合場所は渋谷です。", "雨が降っています。", "集合場所は新宿に変わりました。"),
            "集合場所はどこですか？",
            "新宿",
            "渋谷",
        ),
        (("会議は月曜日です。", "あ、違う、水曜日です。"), "会議はいつですか？", "水曜日", "月曜日"),
        (("Мою собаку зовут Рекс.", "Ой, нет, мою собаку зовут Макс."), "Как зовут мою собаку?", "Макс", "Рекс"),
        (("أسكن في القاهرة.", "الجو حار.", "انتقلت إلى الإسكندرية."), "أين أسكن؟", "الإسكندرية", "القاهرة"),
        (
            ("제 고양이 이름은 나비예요.", "비가 와요.", "아니, 제 고양이 이름은 초코예요."),
            "제 고양이 이름은 뭐예요?",
            "초코",
            "나비",
        ),
    )
)

AMENDED = (
    ("I have five grandchildren. Six, with little Jory.", "How many grandchildren do I have?", "Six"),
    ("We meet at noon. No, at one.", "When do we meet?", "at one"),
    ("Mein Bruder hat drei Katzen. Vier, mit der neuen.", "Wie viele Katzen hat mein Bruder?", "Vier"),
    ("J'ai deux vélos. Trois, en comptant celui de la cave.", "Combien de vélos ai-je ?", "Trois"),
    ("My blood type is A. Sorry, B.", "What is my blood type?", "Sorry, B"),
    ("会議は三時です。いや、四時です。", "会議は何時ですか？", "四時"),
)
"""Messages of which a later sentence amends the first: the message, a question, and what now holds."""


def talk(told: tuple[str, ...]) -> list[str]:
    """What is told, and a talk about other things after it."""
    return [*told, *(f"I read chapter {number}." for number in range(12))]
