"""The chat on a terminal: reading lines, showing answers as they come, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from memagent.cli.common import clean, note
from memagent.cli.slash import COMMANDS, Slash
from memagent.errors import MemAgentError

if TYPE_CHECKING:
    from memagent.cli.chat import Talk

TWICE = 2.0
"""Seconds within which a second Ctrl-C ends the chat."""
PATIENCE = 1.0
"""Seconds after which a slow step of the memory is announced."""


def loop(talk: Talk, user: str) -> None:
    """Talk until the user leaves. Every turn is stored before the next prompt is shown."""
    ask = _asker(talk, user)
    slash = Slash(talk)
    note(f"{talk.agent.model.name}, session {talk.agent.session}. /help lists commands, Ctrl-D leaves.")
    interrupted = 0.0
    while True:
        try:
            line = ask()
        except EOFError:
            return
        except KeyboardInterrupt:
            if time.monotonic() - interrupted < TWICE:
                sys.exit(130)
            interrupted = time.monotonic()
            note("(Ctrl-C again to leave)")
            continue
        try:
            said = slash.handle(line)
            if slash.done:
                return
            if said is not None and _turn(talk, slash, said):
                interrupted = time.monotonic()
        except MemAgentError as error:
            note(f"memagent: {error}")
        except KeyboardInterrupt:
            interrupted = time.monotonic()
            note("(stopped)")


def _turn(talk: Talk, slash: Slash, said: str) -> bool:
    """One question and its answer. True when it was interrupted."""
    with _saying("recalling ..."):
        pieces = talk.agent.stream(said)
    try:
        for piece in pieces:
            if talk.stream:
                sys.stdout.write(clean(piece))
                sys.stdout.flush()
    except KeyboardInterrupt:
        pieces.interrupt()
    answer = pieces.answer
    if answer is None:
        return True
    sys.stdout.write("\n" if talk.stream else f"{clean(answer.text)}\n")
    sys.stdout.flush()
    slash.keep(said, answer)
    stopped = answer.stop_reason == "interrupted"
    if stopped:
        note("(interrupted; what was said is kept)")
    elif talk.agent.memory is not None and not talk.agent.read_only:
        with _saying("distilling what was said ... (it is stored already)"):
            talk.agent.memory.flush()
    return stopped


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Say what the user waits for when it takes longer than a second."""
    timer = threading.Timer(PATIENCE, note, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _asker(talk: Talk, user: str) -> Callable[[], str]:
    """What reads a line: with editing, history and completion on a real terminal, plainly on a dumb one."""
    if os.environ.get("TERM", "dumb") == "dumb" or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return lambda: input("> ")
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    file = talk.store.history_file(user)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.touch(mode=0o600)
    words = WordCompleter([f"/{name}" for name in COMMANDS], sentence=True)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(file)), completer=words)
    with suppress(OSError):
        file.chmod(0o600)
    return lambda: session.prompt("> ")
