"""The event log gives back what was written, and stores a text once."""

from __future__ import annotations

from pathlib import Path

from memagent.store import Store
from memagent.types import ImagePart, Message, user_message


def test_a_message_with_a_picture_comes_back_whole(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add(user_message("what is this?", ImagePart(data=b"\x89PNG")))
        (message,) = memory.messages()
        assert message.images[0].data == b"\x89PNG"
        assert message.text == "what is this?"


def test_the_same_text_is_stored_once(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag")
        memory.add([Message(role="user", content="again and again")] * 5)
        assert len(memory.messages()) == 5
        with store.backend.database.read() as connection:
            assert connection.execute("SELECT count(*) FROM contents").fetchone()[0] == 1
