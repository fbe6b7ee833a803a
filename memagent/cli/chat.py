"""`memagent chat`: talk with an agent that remembers, once or in a loop."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import Folder, Kind, User, note, open_model, terminal

if TYPE_CHECKING:
    from memagent.agent import Agent, Answer
    from memagent.models.base import ChatModel
    from memagent.store.store import Store


@dataclass(frozen=True)
class Talk:
    """What a chat needs: an agent over a store, and how to print."""

    agent: Agent
    store: Store
    stream: bool


def command(
    *,
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", help="Say this, print the answer, end.")] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", metavar="PROVIDER:MODEL")] = None,
    memory: Kind = None,
    budget: Annotated[int | None, typer.Option(metavar="TOKENS", help="Most tokens of a recalled view.")] = None,
    system: Annotated[str | None, typer.Option("-s", "--system", help="Instructions to the model.")] = None,
    resume: Annotated[bool, typer.Option("-c", "--continue", help="Take up the last session.")] = False,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Talk in this session.")] = None,
    user: User = None,
    store: Folder = None,
    embedder: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Remember nothing of this chat.")] = False,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Recall nothing, remember nothing.")] = False,
    memory_model: Annotated[
        str | None, typer.Option("--memory-model", metavar="PROVIDER:MODEL", help="Model that distils. Default: none.")
    ] = None,
    stream: Annotated[bool | None, typer.Option("--stream/--no-stream", help="Print the answer as it comes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; with --stream, JSON lines.")] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="In place of ./memagent.toml.")] = None,
    no_color: Annotated[bool, typer.Option("--no-color")] = False,
    debug: Annotated[bool, typer.Option("-v", "--debug", help="Say more on stderr.")] = False,
) -> None:
    """Talk with an agent that remembers. Without -p and on a terminal, in a loop; else stdin is the prompt.

    Exit codes: 0 ok; 1 unexpected; 2 usage; 3 configuration or key; 4 model; 5 store; 130 interrupted.

    Example: memagent chat -p "What is my dog called?" --memory rag
    """
    from memagent.config import load_settings

    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    flags = {"model": model, "memory": memory, "budget": budget, "system": system, "user": user, "store": store}
    chosen = load_settings({**flags, "embedder": embedder}, file=config)
    said = _said(prompt)
    if said is None and as_json:
        from memagent.errors import InputError

        raise InputError("--json needs a prompt: give -p TEXT, or pipe it in")
    with open_model(memory_model) as distiller:
        _open(chosen, said, session, resume, read_only, no_memory, stream, as_json, distiller)


def _open(
    chosen: object,
    said: str | None,
    session: str | None,
    resume: bool,
    read_only: bool,
    no_memory: bool,
    stream: bool | None,
    as_json: bool,
    distiller: ChatModel | None,
) -> None:
    from memagent.agent import Agent
    from memagent.config import Settings
    from memagent.models.registry import load_model
    from memagent.store.store import Store
    from renderers.reader import Budget

    assert isinstance(chosen, Settings)
    if chosen.budget is not None:
        Budget(chosen.budget)
    name = chosen.embedder or "auto"
    with Store(chosen.store, embedder=None if name == "none" else name) as store:
        place = session or _session(store, chosen.user, resume)
        memory = None if no_memory else store.memory(chosen.memory, user=chosen.user, session=place, model=distiller)
        with load_model(chosen.model) as loaded:
            agent = Agent(
                model=_seeing(loaded, chosen.memory if memory is not None else ""),
                memory=memory,
                budget=chosen.budget,
                system=chosen.system,
                read_only=read_only,
                flush=False,
            )
            if said is None:
                from memagent.cli.chat_loop import loop

                loop(Talk(agent, store, stream is not False), chosen.user)
            elif as_json:
                _once_json(agent, said, lines=stream is True)
            else:
                _once(agent, said, stream=stream is not False)


def _said(prompt: str | None) -> str | None:
    """The prompt of the flag and of stdin, joined; None on a terminal without a flag."""
    from memagent.errors import InputError

    piped = "" if terminal("stdin") or prompt is not None else sys.stdin.read().strip()
    if prompt is None and terminal("stdin"):
        return None
    text = "\n\n".join(part for part in (prompt, piped) if part)
    if not text.strip():
        raise InputError("the prompt is empty")
    return text


def _session(store: Store, user: str, resume: bool) -> str:
    from memagent.messages import now

    known = store.sessions(user) if resume else []
    return known[0].name if known else f"{now():%Y-%m-%d}-{secrets.token_hex(2)}"


def _seeing(model: ChatModel, kind: str) -> ChatModel:
    """The model, with an OCR reader before it when the memory is a picture and the model cannot see."""
    if kind != "memocr" or model.reader.sees_images:
        return model
    from memagent.models.ocr_reader import OcrReader

    return OcrReader(model)


def _once(agent: Agent, said: str, *, stream: bool) -> None:
    pieces = agent.stream(said)
    for piece in pieces:
        if stream:
            sys.stdout.write(piece)
            sys.stdout.flush()
    assert pieces.answer is not None
    sys.stdout.write("\n" if stream else f"{pieces.answer.text}\n")
    sys.stdout.flush()
    _settle(agent)
    if pieces.answer.stop_reason == "interrupted":
        sys.exit(130)


def _once_json(agent: Agent, said: str, *, lines: bool) -> None:
    pieces = agent.stream(said)
    for piece in pieces:
        if lines:
            typer.echo(json.dumps({"type": "delta", "text": piece}, ensure_ascii=False))
    assert pieces.answer is not None
    body = envelope(pieces.answer)
    typer.echo(json.dumps({"type": "answer", **body} if lines else body, ensure_ascii=False))
    _settle(agent)


def _settle(agent: Agent) -> None:
    """Distil after the answer is out; a failure there is said and loses nothing."""
    from memagent.errors import MemAgentError

    if agent.memory is not None and not agent.read_only:
        try:
            agent.memory.flush()
        except MemAgentError as error:
            note(f"memagent: the answer is stored; distilling failed: {error}")


def envelope(answer: Answer) -> dict[str, object]:
    """An answer as the JSON object of one-shot mode."""
    sources = answer.recall.sources if answer.recall is not None else ()
    usage = answer.usage.model_dump()
    return {
        "version": 1,
        "answer": answer.text,
        "session_id": answer.session,
        "model": answer.model,
        "memory": [{"id": one.id, "text": one.text, "score": one.score, "messages": list(one.messages)} for one in sources],
        "usage": usage,
        "timings": answer.seconds,
        "stop_reason": answer.stop_reason,
        "error": None,
    }
