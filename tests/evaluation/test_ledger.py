"""Items on disk: nothing lost, nothing twice."""

from __future__ import annotations

from pathlib import Path

from memagent.evaluation.result_log import Item, Key, ResultLog

ITEM = Item(case="q", seed=0, arm="fit", at=16, answer=1.0, evidence=None, tokens=16)


def test_items_are_found_again_under_the_same_settings_only(tmp_path: Path) -> None:
    ResultLog(tmp_path, "one", kind=Item).add(ITEM)
    assert ResultLog(tmp_path, "one", kind=Item).items == {Key("q", 0, "fit", 16): ITEM}
    assert ResultLog(tmp_path, "two", kind=Item).items == {}
    assert ResultLog(None, "one", kind=Item).items == {}


def test_half_a_line_is_passed_over_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    ResultLog(tmp_path, "one", kind=Item).add(ITEM)
    (file,) = tmp_path.iterdir()
    with file.open("a") as opened:
        opened.write(ITEM.model_dump_json()[:20])
    other = ITEM.model_copy(update={"seed": 1})
    ResultLog(tmp_path, "one", kind=Item).add(other)
    assert list(ResultLog(tmp_path, "one", kind=Item).items.values()) == [ITEM, other]


def test_a_failed_item_is_tried_again_and_counts_once(tmp_path: Path) -> None:
    ledger = ResultLog(tmp_path, "one", kind=Item)
    ledger.add(ITEM.model_copy(update={"answer": 0.0, "error": "RenderError: x"}))
    assert not ledger.done(ITEM.key)
    ledger.add(ITEM)
    assert ResultLog(tmp_path, "one", kind=Item).done(ITEM.key)
    assert list(ResultLog(tmp_path, "one", kind=Item).items.values()) == [ITEM]


def test_line_ends_within_a_text_do_not_part_an_item(tmp_path: Path) -> None:
    item = ITEM.model_copy(update={"case": "a\u2028b\x85c\r\nd"})
    ResultLog(tmp_path, "one", kind=Item).add(item)
    assert list(ResultLog(tmp_path, "one", kind=Item).items.values()) == [item]
