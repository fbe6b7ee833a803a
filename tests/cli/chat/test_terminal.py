"""What completion offers while a line is typed."""

from __future__ import annotations

from pathlib import Path

from invocations import opened

from memagent.cli.chat import once
from memagent.cli.chat.slash import COMMANDS, MEMORY_VERBS
from memagent.cli.chat.terminal import offers


def test_completion_offers_commands_verbs_ids_and_models(tmp_path: Path) -> None:
    with opened(tmp_path) as chat:
        once.as_text(chat, "My dog is called Biscuit.")

        def offered(typed: str) -> list[str]:
            return [text for text, _ in offers(chat, typed)]

        assert offered("/b") == [f"/{name}" for name in COMMANDS]
        assert offered("/memory ") == list(MEMORY_VERBS)
        assert [text.split("-")[0] for text in offered("/memory delete ")] == ["m2", "m1"]
        assert "openai:" in offered("/model ")
        assert offered("/memory search ") == offered("hello /") == offered("//x") == []
