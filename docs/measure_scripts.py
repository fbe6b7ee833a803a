"""What the packaged OCR reads of several scripts: the table in docs/guides/rendering.md. Takes two minutes.

python docs/measure_scripts.py            # Chinese, Japanese and Korean need a font: `memagent doctor` says which is found
"""

from __future__ import annotations

from difflib import SequenceMatcher

from memagent_renderers import Picture, RapidOcrReader, fonts, text_of
from memagent_renderers.document import TIERS, parse
from memagent_renderers.engines import shared_engine
from memagent_renderers.layout import fill
from memagent_renderers.styled_blocks import prepare
from memagent_renderers.type_scale import TypeScale
from memagent_renderers.unicode_scripts import scripts_of

SIZES = (8, 10, 12, 16)
"""Type sizes in px; a line is as high as its type."""
WIDTH = 224
SAMPLES = {
    "English": (
        "Ada lives in Lyon, at 14 Baker Lane, and moved there from Bristol on 3 May 2023. Her dog is a "
        "beagle, born in June; the vet is closed on Wednesdays. She never eats peanuts and always asks for "
        "short answers."
    ),
    "French": (
        "Élodie habite à Besançon, près de l'hôtel où elle a été reçue l'été dernier. Son frère préfère la "
        "forêt, ça dépend des années; leur mère, très âgée, goûte déjà le gâteau de Noël et rêve d'une île."
    ),
    "German": (
        "Jürgen wohnt in Göttingen, Grüne Straße 7, und fährt täglich mit der Straßenbahn zur Universität. "
        "Für das Frühstück kauft er Brötchen, Käse und Äpfel; Nüsse verträgt er nicht, öfter möchte er süßen "
        "Tee."
    ),
    "Czech": (
        "Jiří bydlí v Plzni, Žižkova třída 12, a každý čtvrtek jezdí za svou babičkou do Kroměříže. Má dvě "
        "dcery a kočku; nejraději čte příběhy o řekách, pěstuje růže a večer chodí běhat. Lékař mu řekl, že "
        "ořechy jíst nesmí."
    ),
    "Polish": (
        "Małgorzata mieszka w Łodzi, przy ulicy Żeromskiego, i uczy się języka włoskiego. Jej mąż gotuje "
        "świetną zupę grzybową; dziś wieczorem pójdą do teatru, więc dzieci śpią u babci. Książki pożycza w "
        "każdą środę."
    ),
    "Vietnamese": (
        "Hương sống ở Đà Nẵng, gần chợ Hàn, và dạy tiếng Việt cho người nước ngoài. Mỗi buổi sáng chị uống "
        "cà phê sữa đá rồi đi bộ dọc bờ biển; chủ nhật chị nấu phở cho cả gia đình. Chị dị ứng với đậu "
        "phộng."
    ),
    "Greek": (
        "Η Ελένη μένει στη Θεσσαλονίκη, κοντά στη θάλασσα, και δουλεύει σε ένα παλιό βιβλιοπωλείο. Ο σκύλος "
        "της γεννήθηκε τον Ιούνιο· κάθε Τετάρτη πηγαίνει στον κτηνίατρο. Δεν τρώει ποτέ φιστίκια και πίνει "
        "τσάι."
    ),
    "Russian": (
        "Ольга живёт в Самаре, недалеко от набережной, и работает в городской библиотеке. Её собака родилась "
        "в июне; каждую среду они гуляют вместе с братом. Она никогда не ест арахис и любит короткие ответы."
    ),
    "Ukrainian": (
        "Олена мешкає у Львові, біля Оперного театру, і навчає дітей грати на скрипці. Її пес народився в "
        "червні; щосереди вони їздять до лікаря. Вона не їсть горіхів, п'є м'ятний чай та полюбляє стислі "
        "відповіді."
    ),
    "Chinese": (
        "林晓住在苏州平江路十四号，二零二三年五月从南京搬来。她养了一只叫豆豆的比格犬，每周三去看兽医。她对花"
        "生过敏，请不要推荐含有花生的菜。她喜欢简短的回答，正在图书馆修复一本旧地图集。"
    ),
    "Japanese": (
        "田中さんは京都市に住んでいて、ビスケットという名前の犬を飼っている。毎週水曜日に獣医へ行く。ピーナッ"
        "ツを食べると具合が悪くなるので、料理には気をつけること。短い答えを好み、図書館で古い地図を修理してい"
        "る。"
    ),
    "Korean": (
        "김민수는 부산에 살고 있으며 도서관에서 오래된 지도를 고친다. 그의 강아지는 유월에 태어났고 "
        "수요일마다 병원에 간다. 땅콩을 먹으면 아프기 때문에 요리를 고를 때 조심해야 한다. 그는 짧은 대답을 "
        "좋아한다."
    ),
}
"""Three sentences each, like those of a memory."""


def draw(text: str, size: int) -> Picture:
    """The text as one paragraph at `size` px, on dense lines."""
    passages, _ = prepare(parse(text))
    page = fill(passages, TypeScale(dict.fromkeys(TIERS, float(size)), loose=False), WIDTH * size // 8, 28 * size)
    return Picture(shared_engine().draw(page), page.width, page.height, 0)


def share_read(text: str, size: int, eye: RapidOcrReader) -> float:
    """Share of the words (of Chinese and Japanese: characters) that are read exactly, in order, each used once."""
    read = text_of(eye.read(draw(text, size)))
    wide = scripts_of(text) & {"Han", "Kana"}
    placed, found = (list("".join(one.split())) if wide else one.casefold().split() for one in (text, read))
    blocks = SequenceMatcher(None, placed, found, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(placed)


def main() -> None:
    """Prints the table."""
    eye = RapidOcrReader()
    print("| text | 8 px | 10 px | 12 px | 16 px |\n| --- | --- | --- | --- | --- |")
    for name, sample in SAMPLES.items():
        drawn, missing = fonts.substitute(sample)
        shares = ["no font" if missing else f"{share_read(drawn, size, eye):.2f}" for size in SIZES]
        print(f"| {name} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
