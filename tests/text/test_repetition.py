from __future__ import annotations

from memagent.text.repetition import repeats_itself


def test_loops_are_seen() -> None:
    assert repeats_itself("Sure:\n" + "|  |  |\n" * 9)
    assert repeats_itself("To be or not. " * 3)
    assert not repeats_itself("one two three one two three four")
    assert not repeats_itself("No, no, no! " + "A list: tent, stove, socks.")
    assert not repeats_itself(" " * 90)
