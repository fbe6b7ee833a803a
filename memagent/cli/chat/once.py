"""One question, one answer: `memagent chat -p`, pipes, and JSON. The answer is printed before the memory consolidates."""

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
_CONSOLIDATING = {"memocr": "drafting the memory", "notes": "writing notes"}


def start_turn(chat: ChatSession, question: str) -> AnswerStream:
    """Store the message and recall, naming the step on stderr when it is slow."""
    kind = chat.agent.memory.kind if chat.agent.memory is not None else ""
    with waiting(_RECALLING.get(kind, "searching the memory (the first search loads the embedder)")):
        return chat.start_turn(question)


def print_stream(pieces: AnswerStream, show: Callable[[str], None], *, model: str) -> None:
    """Show the pieces as they come. Ctrl-C ends the answer; the text so far is stored as partial."""
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
    """Consolidate the memory. A failure is reported and loses nothing: the next turn tries again."""
    from memagent.errors import MemAgentError

    if agent.memory is None or agent.read_only:
        return
    try:
        with waiting(_CONSOLIDATING.get(agent.memory.kind, "embedding the messages (the first time loads the embedder)")):
            agent.memory.consolidate()
    except MemAgentError as error:
        print_status(f"memagent: the turn is stored, but consolidating the memory failed (it is tried again later): {error}")


def as_text(chat: ChatSession, question: str) -> None:
    pieces = start_turn(chat, question)
    safe = clean if sys.stdout.isatty() else str
    print_stream(pieces, writer(safe) if chat.stream else silent, model=chat.agent.model.name)
    answer = pieces.answer
    if answer is not None:
        typer.echo("" if chat.stream else safe(answer.text))
    if answer is None or answer.stop_reason == "interrupted":
        print_status("(interrupted; the answer so far is stored)")
        sys.exit(INTERRUPTED)
    consolidate_after_turn(chat.agent)


def as_json(chat: ChatSession, question: str, *, lines: bool) -> None:
    """Print the answer as one JSON object, or as JSON lines that end with it. Errors of the turn are in the object."""
    from memagent.errors import MemAgentError

    pieces: AnswerStream | None = None
    try:
        pieces = start_turn(chat, question)
        show = (lambda piece: _print({"type": "delta", "text": piece})) if lines else silent
        print_stream(pieces, show, model=chat.agent.model.name)
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
    """A function that prints a piece to stdout at once, after `safe`."""

    def write(piece: str) -> None:
        sys.stdout.write(safe(piece))
        sys.stdout.flush()

    return write


def silent(_piece: str) -> None:
    """Print nothing: for answers that are shown at the end."""


def _print(body: dict[str, object]) -> None:
    typer.echo(json.dumps(body, ensure_ascii=False))
