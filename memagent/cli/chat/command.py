"""`memagent chat`: one question, or a loop on a terminal."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from memagent.cli.common import (
    CleanFormatter,
    EmbedderName,
    Folder,
    Kind,
    User,
    announce_project,
    piped,
    show_version,
    terminal,
    waiting,
)


def command(
    context: typer.Context,
    *,
    prompt: Annotated[
        str | None,
        typer.Option("-p", "--prompt", metavar="TEXT", help="Ask this, print the answer and exit; a pipe is read with it."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="PROVIDER:MODEL", help="Model that answers; see `memagent models`.")
    ] = None,
    memory: Kind = None,
    budget: Annotated[int | None, typer.Option(metavar="TOKENS", help="Most tokens of recalled memory per turn.")] = None,
    system: Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="System prompt.")] = None,
    resume: Annotated[bool, typer.Option("-c", "--continue", help="Continue the last session.")] = False,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Use this session; a new name starts one.")] = None,
    user: User = None,
    store: Folder = None,
    embedder: EmbedderName = None,
    memory_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that writes notes; same: the one that answers. Default: none.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Recall, but store nothing of this chat.")] = False,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Recall nothing and store nothing.")] = False,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Print the answer as it is generated, or at the end.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; with --stream, JSON lines.")] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file to use instead of ./memagent.toml.")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; same as NO_COLOR=1.")] = False,
    debug: Annotated[
        bool, typer.Option("-v", "--debug", help="Log to stderr, and show where an unexpected error arose.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Chat with an agent that remembers. On a terminal: a loop. With -p, or with a prompt on stdin: one answer.

    With both, what is piped in comes after the prompt: `memagent chat -p "Sum this up:" < notes.txt`.

    Only the answer goes to stdout. Each chat is a new session unless -c or --session names one; what a user said in one
    session is recalled in all of them. In the loop, /help lists the commands.

    Exit codes: 0 ok; 1 unexpected; 2 usage; 3 configuration, key or extra missing; 4 model or provider failed, or broke off
    its answer (what came is printed, and stored as partial); 5 memory store failed; 130 interrupted.

    Example: memagent chat -p "What is my dog called?" --memory rag
    """
    from memagent.cli.chat import loop, once
    from memagent.cli.chat.session import ChatOptions, open_chat
    from memagent.config import load_settings
    from memagent.errors import InputError

    if context.args:
        raise InputError(f"to ask one question, use -p: memagent chat -p {shlex.quote(' '.join(context.args))}")
    if no_color:
        os.environ["NO_COLOR"] = "1"
    if debug:
        os.environ["MEMAGENT_DEBUG"] = "1"
        log = logging.StreamHandler(sys.stderr)
        log.setFormatter(CleanFormatter(logging.BASIC_FORMAT))
        logging.basicConfig(level=logging.INFO, handlers=[log])
    flags = {"model": model, "memory": memory, "budget": budget, "system": system, "user": user, "store": store}
    chosen = load_settings({**flags, "embedder": embedder, "memory_model": memory_model}, file=config)
    announce_project(chosen)
    question = _question(prompt, as_json)
    options = ChatOptions(session=session, resume=resume, read_only=read_only, no_memory=no_memory)
    with open_chat(chosen, options, stream=stream is not False) as chat:
        if question is None:
            loop.loop(chat)
        elif as_json:
            once.as_json(chat, question, lines=stream is True)
        else:
            once.as_text(chat, question)


def _question(prompt: str | None, as_json: bool) -> str | None:
    """The prompt of -p, with what is piped in after it, else of stdin; None on a terminal without -p, where the loop asks."""
    from memagent.errors import InputError

    if prompt is None and terminal("stdin"):
        if as_json:
            raise InputError("--json needs a prompt: give -p TEXT, or pipe it in")
        return None
    if prompt is not None and not prompt.strip():
        raise InputError("the prompt is empty")
    with waiting("reading standard input, up to its end"):
        more = "" if terminal("stdin") else piped()
    text = "\n\n".join(filter(None, (prompt, more)))
    if not text:
        raise InputError("the prompt is empty")
    return text
