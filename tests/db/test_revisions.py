"""What is shown of a derived item follows the order of the log; clocks decide nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from memagent.db import log, revisions
from memagent.store import Store
from memagent.types import now


class Clock:
    """A clock that can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta()
        for module in (log, revisions):
            monkeypatch.setattr(module, "now", self)

    def __call__(self) -> datetime:
        return now() + self.ahead


@pytest.mark.parametrize("kind", ["notes", "memocr"])
@pytest.mark.parametrize(
    ("at_edit", "at_flush"),
    [
        (timedelta(hours=-1), timedelta(hours=-1)),
        (timedelta(hours=-1), timedelta()),
        (timedelta(minutes=10), timedelta(minutes=5)),
        (timedelta(days=400), timedelta(days=-400)),
        (timedelta(), timedelta()),
    ],
)
def test_an_edited_message_is_read_anew_whatever_the_clocks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, at_edit: timedelta, at_flush: timedelta
) -> None:
    clock = Clock(monkeypatch)
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory(kind)
        (id,) = memory.add("I live in Lyon.").ids
        memory.consolidate()
        assert [item.text for item in memory.items()] == ["I live in Lyon."]
        clock.ahead = at_edit
        memory.update(id, "I live in Oslo.")
        clock.ahead = at_flush
        memory.consolidate()
        assert "Lyon" not in str([item.text for item in memory.items()])
        memory.rebuild()  # type: ignore[attr-defined]
        assert [item.text for item in memory.items()] == ["I live in Oslo."]
        view = memory.recall("Where do I live?", budget=60)
        assert "Oslo" in str(view.text or [source.text for source in view.sources])


def test_a_note_made_from_an_edited_text_is_alive_though_the_edit_has_a_later_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("notes")
        (id,) = memory.add("I live in Lyon.").ids
        clock.ahead = timedelta(minutes=10)
        memory.update(id, "I live in Oslo.")
        clock.ahead = timedelta(minutes=5)
        memory.consolidate()
        assert [item.text for item in memory.items()] == ["I live in Oslo."]
