"""Reading lines: with editing, history and completion, or plainly on a dumb terminal. Prompts go to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from memagent.cli.chat.slash import COMMANDS, MEMORY_VERBS
from memagent.cli.common import one_line, print_status

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completer
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History

    from memagent.cli.chat.session import ChatSession

_OFFERED = 200
"""Newest items whose ids are offered for completion."""
_WITH_ID = ("/memory show ", "/memory update ", "/memory delete ")


class LineReader(Protocol):
    """Reads one entry. Raises `EOFError` at Ctrl-D and `KeyboardInterrupt` at Ctrl-C."""

    def __call__(self, prompt: str, default: str = "") -> str:
        """`default` is the text that the line starts with, where lines can be edited."""
        ...


def line_reader(chat: ChatSession) -> LineReader:
    name = os.environ.get("TERM", "" if os.name == "nt" else "dumb")
    if name == "dumb" or not sys.stderr.isatty():
        return _plain
    return _edited(chat)


def _plain(prompt: str, default: str = "") -> str:
    sys.stderr.write(f"{prompt}(Enter alone: {one_line(default)}) " if default else prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n") or default


def _edited(chat: ChatSession) -> LineReader:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import create_output

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        history=_history(chat),
        completer=completer(chat),
        complete_in_thread=True,
        key_bindings=keys,
        output=create_output(stdout=sys.stderr),
    )
    return lambda prompt, default="": session.prompt(prompt, default=default)


def _history(chat: ChatSession) -> History:
    """Lines of earlier chats, from a private file of the user; of this chat only where that cannot be written or must not."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class TypedLines(FileHistory):
        """Keeps in mind what cannot be written any more."""

        def store_string(self, string: str) -> None:
            with suppress(OSError):
                super().store_string(string)

    if chat.store is None or chat.agent.read_only:
        return InMemoryHistory()
    file = chat.store.backend.history_file(chat.user)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.open("ab").close()
    except OSError as error:
        print_status(f"typed lines are not kept: cannot write {error.filename}: {error.strerror}")
        return InMemoryHistory()
    return TypedLines(str(file))


def completer(chat: ChatSession) -> Completer:
    """Completes slash commands, their arguments, and ids of items."""
    from prompt_toolkit.completion import Completer, Completion

    class Slashes(Completer):
        """Adapter of `offers` to prompt_toolkit."""

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            typed = document.text_before_cursor
            word = typed.rpartition(" ")[2]
            for text, meta in offers(chat, typed):
                if text.startswith(word):
                    yield Completion(text, start_position=-len(word), display_meta=meta)

    return Slashes()


def offers(chat: ChatSession, typed: str) -> Iterator[tuple[str, str]]:
    """Completions at the end of `typed`, each with its description."""
    if not typed.startswith("/") or typed.startswith("//") or "\n" in typed:
        return
    if " " not in typed:
        yield from ((f"/{name}", text) for name, text in COMMANDS.items())
    elif typed.startswith(_WITH_ID) and typed.count(" ") == 2 and chat.agent.memory is not None:
        items = chat.agent.memory.items(newest_first=True, limit=_OFFERED)
        yield from ((item.id, one_line(item.text, 50)) for item in items)
    elif typed.startswith("/memory ") and typed.count(" ") == 1:
        yield from MEMORY_VERBS.items()
    elif typed.startswith("/model ") and typed.count(" ") == 1:
        from memagent.models.registry import list_models

        yield from ((one.name.partition(":")[0] + ":" * (":" in one.name), one.description) for one in list_models())
    elif typed.startswith("/image ") and typed.count(" ") == 1:
        yield "save", "write it to a file"
