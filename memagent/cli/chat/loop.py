"""The chat on a terminal: lines in, answers out as they come, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from memagent.cli.chat.once import consolidate_after_turn, print_stream, start_turn, writer
from memagent.cli.chat.slash import Slash
from memagent.cli.chat.terminal import Asker, asker
from memagent.cli.common import INTERRUPTED, clean, print_status
from memagent.errors import MemAgentError

if TYPE_CHECKING:
    from memagent.cli.chat.session import ChatSession

DOUBLE_CTRL_C_SECONDS = 2.0
"""Seconds within which a second Ctrl-C ends the chat."""


def loop(chat: ChatSession) -> None:
    """Talk until the user leaves. Every turn is stored before the next prompt is shown."""
    ask, slash, stops = asker(chat), Slash(chat), _Stops()
    _greet(chat)
    while not slash.done:
        try:
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
    """Ends the program at the second Ctrl-C within `DOUBLE_CTRL_C_SECONDS` seconds."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def count(self) -> None:
        """Count one Ctrl-C."""
        now = time.monotonic()
        if now - self._last < DOUBLE_CTRL_C_SECONDS:
            sys.exit(INTERRUPTED)
        self._last = now


def _greet(chat: ChatSession) -> None:
    agent = chat.agent
    memory = "no memory" if agent.memory is None else f"memory {agent.memory.kind}, session {clean(agent.session)}"
    kept = ", nothing of this chat is kept" if agent.read_only and agent.memory is not None else ""
    print_status(f"{agent.model.name}, {memory}{kept}. /help lists commands, Ctrl-D leaves.")
    if agent.memory is not None:
        said = len(agent.memory.messages(session=agent.session))
        if said:
            print_status(f"({said} messages of this session so far)")


def _step(chat: ChatSession, slash: Slash, ask: Asker, stops: _Stops) -> None:
    """One entry, and the answer to it if it was for the model."""
    try:
        line = ask(slash.prompt, slash.prefill)
    except KeyboardInterrupt:
        stops.count()
        print_status("(the lines are dropped)" if slash.leave_multi() else "(Ctrl-C again to leave)")
        return
    said = slash.handle(line)
    if said is not None:
        slash.asked(said)
        _turn(chat, slash, said, stops)


def _turn(chat: ChatSession, slash: Slash, said: str, stops: _Stops) -> None:
    pieces = start_turn(chat.agent, said)
    show = writer(clean) if chat.stream else _silent
    try:
        print_stream(pieces, show, model=chat.agent.model.name)
    finally:  # also where the model fails half-way
        if chat.stream:
            show("\n")
    answer = pieces.answer
    if answer is not None:
        slash.keep(answer)
        if not chat.stream:
            writer(clean)(f"{answer.text}\n")
    if answer is None or answer.stop_reason == "interrupted":
        stops.count()
        print_status("(interrupted; what was said so far is kept)")
        return
    consolidate_after_turn(chat.agent)


def _silent(_piece: str) -> None:
    """Show nothing until the end."""
