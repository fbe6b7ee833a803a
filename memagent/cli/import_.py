"""`memagent import`: texts and conversations from elsewhere into a memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import (
    EmbedderName,
    Folder,
    Json,
    Kind,
    ModelName,
    User,
    clean,
    open_model,
    open_store,
    print_result,
    print_status,
    progress,
    settings,
    table,
)

if TYPE_CHECKING:
    from memagent.importers import Batch
    from memagent.memory.base import Memory


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Text, Markdown, JSONL or LoCoMo files.")],
    *,
    format: Annotated[str, typer.Option(help="auto, text, markdown, jsonl or locomo.")] = "auto",
    user: User = None,
    session: Annotated[str | None, typer.Option(metavar="NAME", help="Put everything into one session.")] = None,
    sample: Annotated[str | None, typer.Option(metavar="NAME", help="One conversation of a LoCoMo file.")] = None,
    store: Folder = None,
    memory: Kind = None,
    model: ModelName = None,
    embedder: EmbedderName = None,
    flush: Annotated[bool, typer.Option("--flush/--no-flush", help="Embed and distil at once, or later.")] = True,
    as_json: Json = False,
) -> None:
    """Read files into a memory, then flush it. Doing it again adds nothing twice.

    All files are read before anything is written. A LoCoMo conversation becomes a user named like it.

    Example: memagent import locomo.json --sample conv-26 --user ada
    """
    chosen = settings(user=user, memory=memory)
    by_user = _read(files, format, sample, user, str(chosen.user))
    done: list[dict[str, object]] = []
    with open_model(model) as distiller, open_store(store, embedder=embedder) as opened:
        for name, batches in by_user.items():
            target = opened.memory(chosen.memory, user=name, model=distiller)
            done.append(_write(target, batches, session, flush))
    if not done:
        print_status("the files hold no messages")
    rows = [
        [clean(str(one["user"])), f"{one['added']} added", f"{one['skipped']} known", f"{one['flushed']} flushed"]
        for one in done
    ]
    print_result({"imported": done}, table(rows), as_json)


def _read(files: list[Path], format: str, sample: str | None, user: str | None, default: str) -> dict[str, list[Batch]]:
    """Batches by user. Raises `InputError` where two samples would become one user."""
    from memagent.errors import InputError
    from memagent.importers import read

    found: dict[str, list[Batch]] = {}
    for file in files:
        batches = list(read(file, format=format, sample=sample))
        samples = {batch.user for batch in batches if batch.user is not None}
        if user is not None and len(samples) > 1:
            names = ", ".join(sorted(samples))
            raise InputError(f"{file.name} holds {names}; with --user pick one of them by --sample")
        for batch in batches:
            found.setdefault(user or batch.user or default, []).append(batch)
    return found


def _write(memory: Memory, batches: list[Batch], session: str | None, flush: bool) -> dict[str, object]:
    """Write one user's batches and flush. Returns what came of it."""
    total = sum(len(batch.messages) for batch in batches)
    outcomes: list[str] = []
    with progress(f"importing {memory.user}", total) as advance:
        for batch in batches:
            receipt = memory.add(batch.messages, session=session or batch.session, origin="imported")
            outcomes.extend(outcome.action for outcome in receipt.outcomes)
            advance(len(batch.messages))
    flushed = 0
    if flush:
        with progress(f"flushing {memory.kind}", memory.pending_count()) as advance:
            flushed = memory.consolidate(progress=advance).processed
    return {
        "user": memory.user,
        "sessions": len({session or batch.session for batch in batches}),
        "added": outcomes.count("added"),
        "skipped": total - outcomes.count("added"),
        "flushed": flushed,
    }
