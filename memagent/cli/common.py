"""What the commands share: options, opening a memory, printing, progress, and confirmation.

stdout carries the result alone, as text or as one JSON object; everything else goes to stderr. Importing this module
loads nothing but typer.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.wrap import columns, wrapped

if TYPE_CHECKING:
    from memagent.config import Settings
    from memagent.evaluation.runner import Progress
    from memagent.memory.base import Memory
    from memagent.models.base import ChatModel
    from memagent.store import Store

JSON_VERSION = 1
"""Version of the objects that `--json` prints; grows when a field changes its meaning or goes."""

_KEYLESS = ("embedded", "gguf", "hf", "fake", "scripted", "garbage")

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

SLOW_STEP_SECONDS = 1.0
"""Seconds after which `waiting` names the step on stderr."""

User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="User whose memory is used.")]
Session = Annotated[str | None, typer.Option("--session", metavar="NAME", help="One session only.")]
Folder = Annotated[Path | None, typer.Option("--store", metavar="DIR", help="Folder of the store.")]
Kind = Annotated[str | None, typer.Option("--memory", metavar="KIND", help="rag, long-context, notes, memocr, or a plug-in's.")]
EmbedderName = Annotated[
    str | None, typer.Option("--embedder", metavar="NAME", help="minilm, hash, st:MODEL; none: search by words only.")
]
ModelName = Annotated[
    str | None, typer.Option("-m", "--model", metavar="NAME", help="Model that writes notes and drafts. Default: none.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Ray = Annotated[
    str | None, typer.Option("--ray", metavar="ADDRESS", help="Work on a Ray cluster: host:port, auto, or local to start one.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; required without a terminal.")]


# -- opening ----------------------------------------------------------------------------------------------------------


def settings(**flags: object) -> Settings:
    """The settings in force. `flags` go before files and variables; None: not given."""
    from memagent.config import load_settings

    found = load_settings(flags)
    announce_project(found)
    return found


def announce_project(found: Settings) -> None:
    """Say once what the settings file of the working folder sets: the user may not have written it."""
    from memagent.config import PROJECT_FILE

    given = [f"{name} {getattr(found, name)}" for name, source in found.origin.items() if source == PROJECT_FILE]
    if given and PROJECT_FILE not in _ANNOUNCED:
        _ANNOUNCED.add(PROJECT_FILE)
        print_status(f"by {PROJECT_FILE} of this folder: {', '.join(given)}")


_ANNOUNCED: set[str] = set()


@contextmanager
def open_store(store: Path | None = None, *, embedder: str | None = None) -> Iterator[Store]:
    """The store of the settings, closed in the end."""
    from memagent.store import Store

    chosen = settings(store=store, embedder=embedder)
    with Store(chosen.store, embedder=chosen.embedder or "auto") as opened:
        yield opened


@contextmanager
def open_memory(
    store: Path | None,
    user: str | None,
    kind: str | None,
    *,
    session: str | None = None,
    embedder: str | None = None,
    model: str | None = None,
) -> Iterator[Memory]:
    """A user's memory in the store of the settings. `model` names the one that writes notes and drafts."""
    chosen = settings(user=user, memory=kind)
    place = "default" if session is None else session
    with open_model(model) as memory_model, open_store(store, embedder=embedder) as opened:
        yield opened.memory(chosen.memory, user=chosen.user, session=place, model=memory_model)


@contextmanager
def open_model(name: str | None) -> Iterator[ChatModel | None]:
    """The model of a name, closed in the end; None without a name."""
    if name is None:
        yield None
        return
    model = load(name, settings())
    try:
        yield model
    finally:
        model.close()


def load(name: str, chosen: Settings) -> ChatModel:
    """Load a model by name, with the saved key of its provider unless the environment has one, and the settings of servers."""
    from memagent.errors import MissingKey

    try:
        with waiting(f"loading the model {name}"):
            return model_loader(name, chosen)()
    except MissingKey as error:
        raise MissingKey(f"{error}; to keep one: memagent keys set {name.partition(':')[0]}") from error


def model_loader(name: str, chosen: Settings) -> Callable[[], ChatModel]:
    """What loads that model, here or, pickled, in a process of another machine."""
    from functools import partial

    from memagent import config
    from memagent.models.registry import is_served, load_model

    provider = name.partition(":")[0]
    options: dict[str, object] = {}
    if provider not in _KEYLESS and config.key_origin(provider) == "file":
        options["api_key"] = config.key_for(provider)
    if is_served(provider):
        given = {"base_url": chosen.base_url, "timeout": chosen.timeout}
        options |= {option: value for option, value in given.items() if value is not None}
    return partial(load_model, name, **options)


def show_version(asked: bool) -> None:
    """Callback of `--version`."""
    if asked:
        from memagent import __version__

        typer.echo(__version__)
        raise typer.Exit


# -- printing ---------------------------------------------------------------------------------------------------------


def print_result(data: Mapping[str, object], text: str, as_json: bool) -> None:
    """Print the result: `data` as one versioned JSON object, or `text`, or nothing when that is empty."""
    if as_json:
        print_json({"version": JSON_VERSION, **data})
    elif text:
        print_text(text)


def print_json(data: Mapping[str, object] | str) -> None:
    """Print an object, or what is JSON already, on one line; signs that could rewrite a terminal are escaped."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    typer.echo(_UNSAFE.sub(lambda sign: json.dumps(sign[0])[1:-1], text))


def print_text(text: str) -> None:
    """Print a result to stdout."""
    typer.echo(clean(text))


def print_status(text: str) -> None:
    """Print to stderr, apart from the result; on a terminal, lines break between words."""
    safe = clean(text)
    typer.echo(wrapped(safe, columns("stderr")) if terminal("stderr") else safe, err=True)


_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control signs, of eight bits too
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"  # line ends, marks and tags that nobody sees
)


class CleanFormatter(logging.Formatter):
    """Log lines that are safe to print: what they quote comes from servers and files."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


def clean(text: str) -> str:
    """Text that is safe to print: signs that could rewrite a terminal, or hide or turn around what it shows, become "�"."""
    return _UNSAFE.sub("�", text.replace("\r", ""))


def one_line(text: str, width: int = 200) -> str:
    """The start of a text on one line."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"


def said_by(role: str | None, speaker: str | None, time: datetime | None) -> str:
    """Who said it and when, as lists show it; a note of the memory's own has no role."""
    from memagent.memory.view import day

    who = clean(speaker or role or "note")
    return who if time is None else f"[{day(time)}] {who}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns; the last column is not padded."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def terminal(stream: str) -> bool:
    """Whether "stdin", "stdout" or "stderr" is a terminal; one that is closed is none."""
    opened = getattr(sys, stream)
    return opened is not None and bool(opened.isatty())


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end long work as Ctrl-C does, so that its processes and what they share are taken down with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that goes away at the end. Yields a function to call with the units just done."""
    if not terminal("stderr"):
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(one_line(label)), total=total or None)
        yield lambda done: bar.advance(task, done)


def run_progress() -> Progress:
    """How a bench prints what it is doing."""
    from memagent.evaluation.runner import Progress

    return Progress(print_status, progress)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Name a step on stderr when it takes longer than a second."""
    timer = threading.Timer(SLOW_STEP_SECONDS, print_status, (f"... {what}",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# -- input -----------------------------------------------------------------------------------------------------------


def confirm(question: str, *, yes: bool, command: str) -> None:
    """Ask before an erasure. Raises `InputError` on "no", and without a terminal, where `--yes` is required."""
    from memagent.errors import InputError

    if yes:
        return
    if not terminal("stdin"):
        raise InputError(f"this cannot be undone; to confirm, run: {command} --yes")
    if not typer.confirm(f"{question} This cannot be undone.", err=True):
        raise InputError("nothing was erased")


def fresh(path: Path) -> Path:
    """The path of a file that is not there yet. Raises `InputError` for one that is, be it a link, and without its folder."""
    from memagent.errors import InputError
    from memagent.memory.arguments import checked_path

    if os.path.lexists(checked_path("file", path)):
        raise InputError(f"{path} exists and is not replaced; name another file")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; make it first, or name another")
    return path


def given_text(text: str | None, what: str) -> str:
    """A text argument, or all of stdin when it is absent or "-". Raises `InputError` when there is none."""
    from memagent.errors import InputError

    if text is None and terminal("stdin"):
        raise InputError(f"give {what}, or pipe it in")
    found = piped() if text is None or text == "-" else text
    if not found.strip():
        raise InputError(f"{what} is empty")
    return found


def piped() -> str:
    """All of stdin. Raises `InputError` when it is not text."""
    from memagent.errors import InputError

    try:
        text = "" if sys.stdin is None else sys.stdin.read().strip()
        text.encode()  # a byte that is not UTF-8 may have become a surrogate
    except UnicodeError:
        raise InputError("what was piped in is not UTF-8 text") from None
    return text


def names(text: str) -> tuple[str, ...]:
    """The names of an option that takes several, with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def numbers(text: str, flag: str, example: str) -> tuple[int, ...]:
    """The numbers of an option that takes several, with commas. Raises `InputError`."""
    from memagent.errors import InputError

    try:
        return tuple(int(number) for number in names(text))
    except ValueError:
        raise InputError(f"{flag} takes numbers with commas, such as {example}, not {text!r}") from None
