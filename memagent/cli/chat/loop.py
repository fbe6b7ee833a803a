"""The chat on a terminal: lines in, answers out as they come, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from memagent.cli.chat.once import begin, hear, settle, writer
from memagent.cli.chat.slash import Slash
from memagent.cli.chat.terminal import Asker, asker
from memagent.cli.common import INTERRUPTED, clean, note
from memagent.errors import MemAgentError

if TYPE_CHECKING:
    from memagent.cli.chat.command import ChatSession

TWICE = 2.0
"""Seconds within which a second Ctrl-C ends the chat."""


def loop(talk: ChatSession) -> None:
    """Talk until the user leaves. Every turn is stored before the next prompt is shown."""
    ask, slash, stops = asker(talk), Slash(talk), _Stops()
    _greet(talk)
    while not slash.done:
        try:
            _step(talk, slash, ask, stops)
        except EOFError:
            note("")
            return
        except MemAgentError as error:
            note(f"memagent: {error}")
        except KeyboardInterrupt:
            stops.count()
            note("(stopped)")


class _Stops:
    """Ends the program at the second Ctrl-C within `TWICE` seconds."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def count(self) -> None:
        """Count one Ctrl-C."""
        now = time.monotonic()
        if now - self._last < TWICE:
            sys.exit(INTERRUPTED)
        self._last = now


def _greet(talk: ChatSession) -> None:
    agent = talk.agent
    memory = "no memory" if agent.memory is None else f"memory {agent.memory.kind}, session {clean(agent.session)}"
    kept = ", nothing of this chat is kept" if agent.read_only and agent.memory is not None else ""
    note(f"{agent.model.name}, {memory}{kept}. /help lists commands, Ctrl-D leaves.")
    if agent.memory is not None:
        said = len(agent.memory.messages(session=agent.session))
        if said:
            note(f"({said} messages of this session so far)")


def _step(talk: ChatSession, slash: Slash, ask: Asker, stops: _Stops) -> None:
    """One entry, and the answer to it if it was for the model."""
    try:
        line = ask(slash.prompt, slash.prefill)
    except KeyboardInterrupt:
        stops.count()
        note("(the lines are dropped)" if slash.leave_multi() else "(Ctrl-C again to leave)")
        return
    said = slash.handle(line)
    if said is not None:
        slash.asked(said)
        _turn(talk, slash, said, stops)


def _turn(talk: ChatSession, slash: Slash, said: str, stops: _Stops) -> None:
    pieces = begin(talk.agent, said)
    show = writer(clean) if talk.stream else _silent
    try:
        hear(pieces, show, model=talk.agent.model.name)
    finally:  # also where the model fails half-way
        if talk.stream:
            show("\n")
    answer = pieces.answer
    if answer is not None:
        slash.keep(answer)
        if not talk.stream:
            writer(clean)(f"{answer.text}\n")
    if answer is None or answer.stop_reason == "interrupted":
        stops.count()
        note("(interrupted; what was said so far is kept)")
        return
    settle(talk.agent)


def _silent(_piece: str) -> None:
    """Show nothing until the end."""
