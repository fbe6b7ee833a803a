"""`memagent import`: read texts and conversations into a memory."""

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
    consolidate: Annotated[
        bool, typer.Option("--consolidate/--no-consolidate", help="Embed and write notes now, or later.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Read files into a memory, then consolidate it. Importing a file again adds nothing twice.

    All files are read before anything is written. Each LoCoMo conversation becomes a user with its name.

    Example: memagent import locomo.json --sample conv-26 --user ada
    """
    chosen = settings(user=user, memory=memory)
    by_user = _read(files, format, sample, user, str(chosen.user))
    done: list[dict[str, object]] = []
    with open_model(model) as memory_model, open_store(store, embedder=embedder) as opened:
        for name, batches in by_user.items():
            target = opened.memory(chosen.memory, user=name, model=memory_model)
            done.append(_write(target, batches, session, consolidate))
    if not done:
        print_status("the files hold no messages")
    rows = [
        [clean(str(one["user"])), f"{one['added']} added", f"{one['skipped']} known", f"{one['consolidated']} consolidated"]
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


def _write(memory: Memory, batches: list[Batch], session: str | None, consolidate: bool) -> dict[str, object]:
    """Write one user's batches. Returns the counts for the report."""
    total = sum(len(batch.messages) for batch in batches)
    outcomes: list[str] = []
    with progress(f"importing {memory.user}", total) as advance:
        for batch in batches:
            receipt = memory.add(batch.messages, session=session or batch.session, origin="imported")
            outcomes.extend(outcome.action for outcome in receipt.outcomes)
            advance(len(batch.messages))
    consolidated = 0
    if consolidate:
        with progress(f"consolidating {memory.kind}", memory.pending_count()) as advance:
            consolidated = memory.consolidate(progress=advance).processed
    return {
        "user": memory.user,
        "sessions": len({session or batch.session for batch in batches}),
        "added": outcomes.count("added"),
        "skipped": total - outcomes.count("added"),
        "consolidated": consolidated,
    }
