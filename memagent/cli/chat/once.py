"""One question, one answer: `memagent chat -p`, pipes, and JSON. The answer is printed before the memory consolidates."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from memagent.cli import json_output
from memagent.cli.common import INTERRUPTED, clean, print_json, print_status, terminal, waiting
from memagent.cli.wrap import Wrapper, columns
from memagent.errors import MemAgentError

if TYPE_CHECKING:
    from memagent.agent import Agent, Answer, AnswerStream
    from memagent.cli.chat.session import ChatSession

_RECALLING = {"memocr": "drawing what is remembered", "notes": "reading the notes"}
_CONSOLIDATING = {"memocr": "drafting the memory", "notes": "writing notes"}


def start_turn(chat: ChatSession, question: str) -> AnswerStream:
    """Store the message and recall, naming the step on stderr when it is slow."""
    kind = chat.agent.memory.kind if chat.agent.memory is not None else ""
    with waiting(_RECALLING.get(kind, "searching the memory (the first search loads the embedder)")):
        return chat.start_turn(question)


def print_stream(pieces: AnswerStream, show: Callable[[str], None], *, model: str) -> None:
    """Show the pieces as they come. Ctrl-C ends the answer, and so does an output that takes no more, such as a pipe that was
    closed, which is raised; the text so far is stored as partial."""
    try:
        with waiting(f"waiting for {model}"):
            first = next(pieces, None)
        if first is not None:
            show(first)
            for piece in pieces:
                show(piece)
    except KeyboardInterrupt:
        pieces.interrupt()
    except OSError:
        pieces.interrupt()  # now: later the store is closed
        raise


def consolidate_after_turn(agent: Agent) -> None:
    """Consolidate the memory. A failure is reported and loses nothing: the next turn tries again."""
    if agent.memory is None or agent.read_only:
        return
    try:
        with waiting(_CONSOLIDATING.get(agent.memory.kind, "embedding the messages (the first time loads the embedder)")):
            agent.memory.consolidate()
    except (MemAgentError, OSError) as error:  # a cache that cannot be written
        print_status(f"memagent: the turn is stored, but consolidating the memory failed (it is tried again later): {error}")


def as_text(chat: ChatSession, question: str) -> None:
    pieces = start_turn(chat, question)
    answer = print_answer(chat, pieces)
    if answer is None or answer.stop_reason == "interrupted":
        print_status("(interrupted; the answer so far is stored)")
        sys.exit(INTERRUPTED)
    consolidate_after_turn(chat.agent)


def as_json(chat: ChatSession, question: str, *, lines: bool) -> None:
    """Print the answer as one JSON object, or as JSON lines that end with it. Errors of the turn are in the object."""
    pieces: AnswerStream | None = None
    try:
        pieces = start_turn(chat, question)
        show = (lambda piece: print_json({"type": "delta", "text": piece})) if lines else (lambda _: None)
        print_stream(pieces, show, model=chat.agent.model.name)
        if pieces.answer is None:
            raise KeyboardInterrupt
    except (MemAgentError, KeyboardInterrupt) as error:
        recall = pieces.recall if pieces is not None else None
        body = json_output.of_error(error, session=chat.session, model=chat.agent.model.name, recall=recall)
        print_json({"type": "error", **body} if lines else body)
        sys.exit(error.exit_code if isinstance(error, MemAgentError) else INTERRUPTED)
    body = json_output.of_answer(pieces.answer, session=chat.session)
    print_json({"type": "answer", **body} if lines else body)
    if pieces.answer.stop_reason == "interrupted":
        sys.exit(INTERRUPTED)
    consolidate_after_turn(chat.agent)


def print_answer(chat: ChatSession, pieces: AnswerStream) -> Answer | None:
    """Print an answer to stdout, as it comes or, without streaming, in the end. None when it ended before it began.

    On a terminal nothing of it can do more than be read, and lines break between words. What came of an answer that breaks
    off is printed too and marked on stderr, and the error goes on.
    """
    wrapper = Wrapper(columns("stdout")) if terminal("stdout") else None
    said: list[str] = []
    failed: MemAgentError | None = None

    def show(piece: str) -> None:
        said.append(piece)
        if chat.stream:
            _write(piece if wrapper is None else wrapper.feed(clean(piece)))

    try:
        print_stream(pieces, show, model=chat.agent.model.name)
    except MemAgentError as error:
        failed = error
    if said and not chat.stream:
        text = "".join(said) if pieces.answer is None else pieces.answer.text
        _write(text if wrapper is None else wrapper.feed(clean(text)))
    if said:
        _write(f"{wrapper.end() if wrapper else ''}\n")
    if failed is not None:
        if said:
            print_status(f"(the answer broke off{'; what came is stored, marked as partial' if chat.session else ''})")
        raise failed
    return pieces.answer


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
