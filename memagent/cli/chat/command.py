"""`memagent chat`: talk with an agent that remembers, once or in a loop."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import EmbedderName, Folder, Kind, User, load, note, piped, show_version, terminal

if TYPE_CHECKING:
    from memagent.agent import Agent
    from memagent.config import Settings
    from memagent.memory.base import Memory
    from memagent.models.base import ChatModel
    from memagent.store import Store


@dataclass(frozen=True)
class ChatOptions:
    """What the flags of one chat ask for beyond the settings."""

    session: str | None = None
    resume: bool = False
    read_only: bool = False
    no_memory: bool = False


@dataclass
class ChatSession:
    """What a chat needs: an agent over a store, and how to print."""

    agent: Agent
    store: Store | None
    """None when the chat has no memory."""
    user: str
    stream: bool

    @property
    def session(self) -> str | None:
        """Where this chat is stored; None when it is not."""
        return self.agent.session if self.agent.memory is not None and not self.agent.read_only else None


def command(
    *,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="Say this, print the answer, end; stdin is not read.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", metavar="PROVIDER:MODEL", help="Who answers; see `memagent models`.")
    ] = None,
    memory: Kind = None,
    budget: Annotated[int | None, typer.Option(metavar="TOKENS", help="Most tokens of a recalled view.")] = None,
    system: Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="Instructions to the model.")] = None,
    resume: Annotated[bool, typer.Option("-c", "--continue", help="Take up the last session.")] = False,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Talk in this session, an old one or one to be.")] = None,
    user: User = None,
    store: Folder = None,
    embedder: EmbedderName = None,
    distiller: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that takes notes; same: the one that answers. Default: none.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Remember nothing of this chat.")] = False,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Recall nothing, remember nothing.")] = False,
    stream: Annotated[bool | None, typer.Option("--stream/--no-stream", help="Print the answer as it comes, or whole.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; with --stream, JSON lines.")] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings in place of ./memagent.toml.")] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; so does NO_COLOR=1.")] = False,
    debug: Annotated[bool, typer.Option("-v", "--debug", help="Say more on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Talk with an agent that remembers. On a terminal, in a loop; with -p, or with a prompt on stdin, once.

    Stdout carries the answer alone. Each chat is a new session unless -c or --session names one; what was said in any
    session of a user is recalled in all of them. In the loop, /help lists commands.

    Exit codes: 0 ok; 1 unexpected; 2 usage; 3 configuration, key or extra missing; 4 model or provider failed; 5 memory store
    failed; 130 interrupted.

    Example: memagent chat -p "What is my dog called?" --memory rag
    """
    from memagent.config import load_settings

    _speak(no_color=no_color, debug=debug)
    flags = {"model": model, "memory": memory, "budget": budget, "system": system, "user": user, "store": store}
    chosen = load_settings({**flags, "embedder": embedder, "distiller": distiller}, file=config)
    said = _said(prompt, as_json)
    wish = ChatOptions(session=session, resume=resume, read_only=read_only, no_memory=no_memory)
    with talk(chosen, wish, stream=stream is not False) as opened:
        _talk(opened, said, as_json, lines=stream is True)


def _speak(*, no_color: bool, debug: bool) -> None:
    if no_color:
        os.environ["NO_COLOR"] = "1"
    if debug:
        os.environ["MEMAGENT_DEBUG"] = "1"
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)


def _talk(opened: ChatSession, said: str | None, as_json: bool, *, lines: bool) -> None:
    from memagent.cli.chat import loop, once

    if said is None:
        loop.loop(opened)
    elif as_json:
        once.as_json(opened, said, lines=lines)
    else:
        once.as_text(opened, said)


def _said(prompt: str | None, as_json: bool) -> str | None:
    """The prompt of the flag, else of stdin; None on a terminal without a flag."""
    from memagent.errors import InputError

    if prompt is None and terminal("stdin"):
        if as_json:
            raise InputError("--json needs a prompt: give -p TEXT, or pipe it in")
        return None
    text = piped() if prompt is None else prompt
    if not text.strip():
        raise InputError("the prompt is empty")
    return text


# -- opening ----------------------------------------------------------------------------------------------------------


@contextmanager
def talk(chosen: Settings, wish: ChatOptions, *, stream: bool) -> Iterator[ChatSession]:
    """Everything a chat needs, opened; closed in the end. What can be checked is checked before the model is loaded."""
    from memagent.agent import Agent
    from memagent.errors import InputError
    from memagent_renderers.budget import Budget

    if wish.resume and wish.session is not None:
        raise InputError("-c takes up the last session, --session a named one; give one of the two")
    if chosen.budget is not None:
        Budget(chosen.budget)
    with _store(chosen, wish) as store, ExitStack() as loaded:
        session = _session(store, chosen.user, wish)
        memory = None if store is None else store.memory(chosen.memory, user=chosen.user, session=session)
        model = load(chosen.model)
        loaded.callback(model.close)
        distiller = _distiller(chosen.distiller, model, loaded)
        if store is not None and distiller is not None:
            memory = store.memory(chosen.memory, user=chosen.user, session=session, model=distiller)
        agent = Agent(
            model=seeing(model, memory),
            memory=memory,
            budget=chosen.budget,
            system=chosen.system,
            read_only=wish.read_only,
            flush=False,
        )
        loaded.callback(agent.close)  # a model that /model brought
        yield ChatSession(agent, store, chosen.user, stream)


@contextmanager
def _store(chosen: Settings, wish: ChatOptions) -> Iterator[Store | None]:
    """The store; None without memory, and where there is none that could be read."""
    from memagent.memory import load_memory
    from memagent.store import Store, default_folder

    load_memory(chosen.memory)
    folder = chosen.store or default_folder()
    if wish.no_memory:
        yield None
    elif wish.read_only and not (folder / "memory.db").exists():
        note(f"nothing is remembered yet: there is no store in {folder}")
        yield None
    else:
        name = chosen.embedder or "auto"
        with Store(folder, embedder=None if name == "none" else name, read_only=wish.read_only) as store:
            yield store


def _session(store: Store | None, user: str, wish: ChatOptions) -> str:
    known = store.sessions(user) if store is not None and wish.resume else []
    if wish.resume and not known:
        note("there is no session to take up; this one is new")
    return known[0].name if known else wish.session or new_session()


def new_session() -> str:
    """A name for a session that begins now, such as 2026-11-22-2a3f."""
    from memagent.types import now

    return f"{now():%Y-%m-%d}-{secrets.token_hex(2)}"


def seeing(model: ChatModel, memory: Memory | None) -> ChatModel:
    """The model, with an OCR reader before it when the memory is a picture and the model cannot see."""
    if memory is None or memory.kind != "memocr" or model.reader.sees_images:
        return model
    from memagent.models.ocr_reader import OcrReader

    return OcrReader(model)


def _distiller(name: str | None, model: ChatModel, loaded: ExitStack) -> ChatModel | None:
    """The model by which the memory distils: none, the one that answers, or one of its own, closed with the rest."""
    if name is None or name == "same":
        return None if name is None else model
    own = load(name)
    loaded.callback(own.close)
    return own
