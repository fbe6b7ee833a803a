"""One question, one answer: `memagent chat -p`, pipes, and JSON. The answer is out before the memory distils."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from memagent.cli import json_output
from memagent.cli.common import INTERRUPTED, clean, print_status, waiting

if TYPE_CHECKING:
    from memagent.agent import Agent, AnswerStream
    from memagent.cli.chat.session import ChatSession

_RECALLING = {"memocr": "drawing what is remembered", "notes": "reading the notes"}
_SETTLING = {"memocr": "drafting what was said into the memory", "notes": "taking notes of what was said"}


def start_turn(agent: Agent, said: str) -> AnswerStream:
    """Store the message and recall; says what it waits for when that is slow."""
    kind = agent.memory.kind if agent.memory is not None else ""
    with waiting(_RECALLING.get(kind, "searching the memory (its first search loads the embedder)")):
        return agent.stream(said)


def print_stream(pieces: AnswerStream, show: Callable[[str], None], *, model: str) -> None:
    """Show the pieces as they come. Ctrl-C ends the answer; what was said so far is stored as partial."""
    try:
        with waiting(f"waiting for {model}"):
            first = next(pieces, None)
        if first is not None:
            show(first)
            for piece in pieces:
                show(piece)
    except KeyboardInterrupt:
        pieces.interrupt()


def consolidate_after_turn(agent: Agent) -> None:
    """Distil what was said. A failure is said and loses nothing: the next flush tries again."""
    from memagent.errors import MemAgentError

    if agent.memory is None or agent.read_only:
        return
    try:
        with waiting(_SETTLING.get(agent.memory.kind, "embedding what was said (the first time loads the embedder)")):
            agent.memory.consolidate()
    except MemAgentError as error:
        print_status(f"memagent: what was said is stored; distilling it failed and is tried again later: {error}")


def as_text(chat: ChatSession, said: str) -> None:
    """The answer on stdout."""
    pieces = start_turn(chat.agent, said)
    safe = clean if sys.stdout.isatty() else str
    print_stream(pieces, writer(safe) if chat.stream else _silent, model=chat.agent.model.name)
    answer = pieces.answer
    if answer is not None:
        typer.echo("" if chat.stream else safe(answer.text))
    if answer is None or answer.stop_reason == "interrupted":
        print_status("(interrupted; what was said so far is kept)")
        sys.exit(INTERRUPTED)
    consolidate_after_turn(chat.agent)


def as_json(chat: ChatSession, said: str, *, lines: bool) -> None:
    """The answer as one object, or as lines of which the last is that object. Errors of the turn are in it, too."""
    from memagent.errors import MemAgentError

    pieces: AnswerStream | None = None
    try:
        pieces = start_turn(chat.agent, said)
        print_stream(pieces, _delta if lines else _silent, model=chat.agent.model.name)
        if pieces.answer is None:
            raise KeyboardInterrupt
    except (MemAgentError, KeyboardInterrupt) as error:
        recall = pieces.recall if pieces is not None else None
        body = json_output.of_error(error, session=chat.session, model=chat.agent.model.name, recall=recall)
        _print({"type": "error", **body} if lines else body)
        sys.exit(error.exit_code if isinstance(error, MemAgentError) else INTERRUPTED)
    body = json_output.of_answer(pieces.answer, session=chat.session)
    _print({"type": "answer", **body} if lines else body)
    if pieces.answer.stop_reason == "interrupted":
        sys.exit(INTERRUPTED)
    consolidate_after_turn(chat.agent)


def writer(safe: Callable[[str], str]) -> Callable[[str], None]:
    """What puts a piece on stdout at once, made safe first."""

    def write(piece: str) -> None:
        sys.stdout.write(safe(piece))
        sys.stdout.flush()

    return write


def _silent(_piece: str) -> None:
    """Show nothing until the end."""


def _delta(piece: str) -> None:
    _print({"type": "delta", "text": piece})


def _print(body: dict[str, object]) -> None:
    typer.echo(json.dumps(body, ensure_ascii=False))
