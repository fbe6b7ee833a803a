"""Opening a chat: sessions new and continued, and the models of agent and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from invocations import opened

from memagent.cli.chat import once
from memagent.cli.chat.session import ChatOptions
from memagent.cli.chat.slash import Slash
from memagent.errors import InputError


def test_a_continued_session_shows_the_model_its_last_turns(tmp_path: Path) -> None:
    with opened(tmp_path, ChatOptions(session="s")) as chat:
        once.as_text(chat, "My dog is called Biscuit.")
    with opened(tmp_path, ChatOptions(resume=True)) as chat:
        assert chat.session == "s"
        assert chat.agent.memory is not None
        assert [message.text for message in chat.agent.memory.messages()] == ["My dog is called Biscuit.", "Noted."]


def test_continuing_without_a_session_starts_one_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(tmp_path, ChatOptions(resume=True)) as chat:
        assert "this one is new" in capsys.readouterr().err
        assert chat.session
    with pytest.raises(InputError, match="one of the two"), opened(tmp_path, ChatOptions("a", resume=True)):
        pass


@pytest.mark.parametrize(("name", "same"), [("same", True), ("garbage", False)])
def test_the_memory_model_is_another_or_the_same(tmp_path: Path, name: str, same: bool) -> None:
    with opened(tmp_path, memory="notes", memory_model=name) as chat:
        memory = chat.agent.memory
        assert memory is not None
        assert (memory.model is chat.agent.model) is same
        Slash(chat).handle("/model garbage")
        assert (memory.model is chat.agent.model) is same
