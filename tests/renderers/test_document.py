"""Documents become typed blocks, and nothing hostile in them survives."""

from __future__ import annotations

import re
import time

import pytest
from helpers.slow import slow

from memagent_renderers.document import MAX_BLOCKS, MAX_CHARS, MAX_NESTING, TIERS, clean, parse, to_html

OUR_TAGS = re.compile(
    r"</?(h[1-6]|p|b|i|s|u|code|pre|br|span)>|<p style=\"margin-left:\d+px\">"
    r"|<span style=\"(;?(color|background):#[0-9a-f]{6}|;?font-size:[\d.]+px)+\">"
)

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=http://127.0.0.1/x.js></SCRIPT>",
    "<iframe src='file:///etc/passwd'></iframe>",
    "<style>body{display:none}</style>",
    "</style></head><body onload=alert(1)>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1/'>",
    "<link rel=stylesheet href=http://127.0.0.1/a.css>",
    "<base href='file:///'>",
    "<img src=file:///etc/passwd onerror=alert(1)>",
    "![x](file:///etc/passwd)",
    "![x](http://127.0.0.1/x.png)",
    "[click](javascript:alert(1))",
    "<javascript:alert(1)>",
    "<svg onload=alert(1)><script>1</script></svg>",
    "<object data=x></object><embed src=x><video src=x></video>",
    "<b onclick='alert(1)' style='position:fixed;float:right'>x</b>",
    "<span style='background:url(http://127.0.0.1/)'>x</span>",
    "<span style='color:red;float:right;width:expression(alert(1))'>x</span>",
    "<span style='color:#f00\"><script>'>x</span>",
    "<font color='\"><script>alert(1)</script>'>x</font>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&#x3c;img src=x&#x3e;",
    "<div>\n<p onmouseover=alert(1)>x</p>\n</div>",
    "<!-- <script> --> <![CDATA[<script>]]> <?php echo 1 ?> <!DOCTYPE x>",
    "```html\n</pre></code><script>alert(1)</script>\n```",
    "`</code><script>alert(1)</script>`",
    "|<script>|<img src=x>|\n|-|-|\n|<iframe>|</td></table>|",
    "# <h1 style='x'><base>\n",
    '<a href="http://127.0.0.1" download>text</a>',
    "\ud800 lone surrogate \udfff",
]


@pytest.mark.parametrize("document", HOSTILE)
def test_only_our_own_tags_are_printed(document: str) -> None:
    html = to_html(document)
    leftover = OUR_TAGS.sub("", html)
    assert "<" not in leftover, html
    html.encode("utf-8")


def test_what_is_not_allowed_stays_visible_as_text() -> None:
    text = parse("<script>alert(1)</script> and <div class=x>")[0].text
    assert text == "<script>alert(1)</script> and <div class=x>"


def test_links_and_images_are_shown_as_their_text() -> None:
    assert parse("see [the map](http://x.y/z), ![a photo](file:///p), <http://x.y>")[0].text == (
        "see the map, a photo, http://x.y"
    )


def test_a_reference_definition_does_not_vanish() -> None:
    assert "http://x.y" in "".join(block.text for block in parse('[ref]: http://x.y "title"'))


def test_tiers_follow_headings_weight_and_size() -> None:
    document = (
        "# a\n## b\n###### c\n\n**d**\n\ne **f**\n\n<small>g</small>\n\n"
        "<span style='font-size:40px'>h</span>\n\n<font size=5>i</font>\n"
    )
    assert [block.tier for block in parse(document)] == ["h1", "h2", "h6", "bold", "body", "small", "h1", "h2"]
    assert set(TIERS) >= {block.tier for block in parse(document)}


def test_colour_and_size_are_checked_and_clamped() -> None:
    assert '<span style="color:#ff0000">' in to_html("<font color=red>x</font> y")
    assert "style" not in to_html("<font color=white>hidden</font> y")
    assert "font-size:96px" in to_html("<span style='font-size:9000px'>x</span> y")
    assert "font-size:6px" in to_html("<span style='font-size:0px'>x</span> y")


def test_lists_may_interrupt_a_paragraph_and_nest() -> None:
    blocks = parse("Pets:\n- dog\n  - Biscuit\n- cat\n\n3. third")
    assert [(block.marker, block.depth, block.text) for block in blocks] == [
        ("", 0, "Pets:"),
        ("•", 0, "dog"),
        ("•", 1, "Biscuit"),
        ("•", 0, "cat"),
        ("3.", 0, "third"),
    ]


def test_table_rows_keep_every_cell() -> None:
    blocks = parse("| a | b |\n|---|---|\n| 1 | **2** |")
    assert [(block.text, block.tier) for block in blocks] == [("a | b", "bold"), ("1 | 2", "body")]


@pytest.mark.parametrize("written", ["a\u202eb", "a&#x202e;b", "a\u2066b", "a\x07b", "a&#7;b"])
def test_controls_and_direction_overrides_leave_a_mark(written: str) -> None:
    assert parse(written)[0].text == "a�b"


def test_invisible_characters_are_removed_and_marks_do_not_pile_up() -> None:
    assert clean("pass\u200bword\u00ad\ufeff") == "password"
    assert clean("Z" + "\u0335" * 50) == "Z\u0335\u0335"
    assert clean("e\u0301") == "é"


def test_overlong_documents_say_what_is_left_out() -> None:
    assert parse("word " * MAX_CHARS)[-1].text == f"[{4 * MAX_CHARS:,} more characters are not shown]"


def test_documents_of_too_many_blocks_say_what_is_left_out() -> None:
    blocks = parse("a\n\n" * (MAX_BLOCKS + 5))
    assert len(blocks) == MAX_BLOCKS + 1
    assert blocks[-1].text == "[5 more paragraphs are not shown]"


def test_nesting_beyond_the_limit_leaves_a_mark() -> None:
    deep = "\n".join("  " * level + f"- item {level}" for level in range(MAX_NESTING))
    blocks = parse(deep)
    assert "not shown" in blocks[-1].text
    assert blocks[5].text == "item 5"
    assert "not shown" in parse(">" * 1000 + " deep")[-1].text


@pytest.mark.parametrize(
    "bomb",
    [
        "[",
        "![",
        "*a ",
        slow("**a*"),
        "<b>",
        "<![CDATA[",
        "[a](",
        "_a_",
        slow("~~a"),
        ">",
        "- ",
        "`",
        "&lt;",
        slow("|a|b|\n|-|-|\n"),
    ],
)
def test_markdown_bombs_end_quickly(bomb: str) -> None:
    start = time.process_time()
    to_html(bomb * (300_000 // len(bomb)))
    assert time.process_time() - start < 4  # 0.2 to 1 s each on an idle machine
