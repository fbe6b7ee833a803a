"""The chat on a terminal: reads lines, prints answers as they are generated, handles Ctrl-C and Ctrl-D."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from memagent.cli.chat.once import consolidate_after_turn, print_answer, start_turn
from memagent.cli.chat.slash import Slash
from memagent.cli.chat.terminal import LineReader, line_reader
from memagent.cli.common import INTERRUPTED, clean, print_status
from memagent.errors import MemAgentError

if TYPE_CHECKING:
    from memagent.cli.chat.session import ChatSession

DOUBLE_CTRL_C_SECONDS = 2.0
"""Seconds within which a second Ctrl-C ends the chat."""


def loop(chat: ChatSession) -> None:
    """Run turns until the user exits. Every turn is stored before the next prompt is shown."""
    ask, slash, stops = line_reader(chat), Slash(chat), _Stops()
    agent = chat.agent
    memory = "no memory" if agent.memory is None else f"memory {agent.memory.kind}, session {clean(agent.memory.session)}"
    stored = ", nothing of this chat is stored" if agent.read_only and agent.memory is not None else ""
    print_status(f"{agent.model.name}, {memory}{stored}. /help lists commands, Ctrl-D exits.")
    if agent.model.small:
        print_status("(a demonstration model: it quotes what you told it; for a better one: memagent chat -m ollama:MODEL)")
    if agent.memory is not None:
        said = len(agent.memory.messages(session=agent.memory.session))
        if said:
            print_status(f"({said} messages of this session so far)")
    with stops.listening():
        while not slash.done:
            try:
                stops.raise_lost()
                _step(chat, slash, ask, stops)
            except EOFError:
                print_status("")
                return
            except MemAgentError as error:
                print_status(f"memagent: {error}")
            except KeyboardInterrupt:
                stops.count()
                print_status("(stopped)")


class _Stops:
    """Ends the program at the second Ctrl-C within `DOUBLE_CTRL_C_SECONDS` seconds.

    Python throws an exception away that is raised in a callback, such as that of a weak reference: a Ctrl-C that arrives just
    then would do nothing and print a traceback. Such a one counts before the next entry is read.
    """

    def __init__(self) -> None:
        self._last = float("-inf")
        self._pending = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notice every Ctrl-C."""
        before, unraisable = signal.signal(signal.SIGINT, self._interrupted), sys.unraisablehook

        def quiet(found: Any) -> None:
            if not isinstance(found.exc_value, KeyboardInterrupt):
                unraisable(found)

        sys.unraisablehook = quiet
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            sys.unraisablehook = unraisable

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._pending = True
        raise KeyboardInterrupt

    def raise_lost(self) -> None:
        """Raise the `KeyboardInterrupt` that nobody has counted."""
        if self._pending:
            raise KeyboardInterrupt

    def count(self) -> None:
        self._pending = False
        now = time.monotonic()
        if now - self._last < DOUBLE_CTRL_C_SECONDS:
            sys.exit(INTERRUPTED)
        self._last = now


def _step(chat: ChatSession, slash: Slash, ask: LineReader, stops: _Stops) -> None:
    """Read one entry; if it is for the model, run the turn."""
    try:
        line = ask(slash.prompt, slash.prefill)
    except KeyboardInterrupt:
        stops.count()
        print_status("(the lines are dropped)" if slash.leave_multi() else "(Ctrl-C again to exit)")
        return
    question = slash.handle(line)
    if question is not None:
        slash.question = question
        _turn(chat, slash, question, stops)


def _turn(chat: ChatSession, slash: Slash, question: str, stops: _Stops) -> None:
    pieces = start_turn(chat, question)
    answer = print_answer(chat, pieces)
    if answer is not None:
        slash.add_answer(answer)
    if answer is None or answer.stop_reason == "interrupted":
        stops.count()
        print_status("(interrupted; the answer so far is stored)")
        return
    consolidate_after_turn(chat.agent)
