"""`memagent memory`: list, search, change, export and import what is remembered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import (
    EmbedderName,
    Folder,
    Json,
    Kind,
    ModelName,
    Session,
    User,
    Yes,
    clean,
    confirm,
    fresh,
    given_text,
    one_line,
    open_memory,
    open_model,
    open_store,
    print_result,
    print_status,
    progress,
    settings,
    table,
)

if TYPE_CHECKING:
    from memagent.types import Item, Receipt

app = typer.Typer(no_args_is_help=True, help="List, change, export and import what is remembered.")

ItemId = Annotated[str, typer.Argument(metavar="ID", help="Id of an item, as `list` shows it.")]


# -- reading ----------------------------------------------------------------------------------------------------------


@app.command("list")
def list_(
    *,
    user: User = None,
    session: Session = None,
    store: Folder = None,
    memory: Kind = None,
    limit: Annotated[int, typer.Option(min=0, help="Newest items to show; 0 for all.")] = 50,
    as_json: Json = False,
) -> None:
    """List the newest items, in the order in which they were said.

    Example: memagent memory list --user ada --limit 10
    """
    with open_memory(store, user, memory) as opened:
        found = opened.items(session=session, limit=limit + 1 if limit else None, newest_first=True)
    shown = found[:limit][::-1] if limit else found[::-1]
    if len(found) > len(shown):
        print_status(f"the newest {limit} items; --limit 0 shows all")
    elif not shown:
        print_status("nothing is remembered yet")
    data = {"items": [item.model_dump(mode="json") for item in shown], "more": len(found) > len(shown)}
    print_result(data, table([_row(item) for item in shown]), as_json)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    user: User = None,
    session: Session = None,
    store: Folder = None,
    memory: Kind = None,
    limit: Annotated[int, typer.Option(min=1, help="Hits to show.")] = 10,
    embedder: EmbedderName = None,
    as_json: Json = False,
) -> None:
    """Show the messages that answer a query best, best first.

    Example: memagent memory search "name of the dog" --limit 3
    """
    with open_memory(store, user, memory, embedder=embedder) as opened:
        found = opened.search(query, limit=limit, session=session)
    if not found:
        print_status("nothing fits")
    data = {"query": query, "found": [one.model_dump(mode="json") for one in found]}
    print_result(data, table([[f"{one.score:.3f}", *_row(one.item)] for one in found]), as_json)


@app.command()
def show(item_id: ItemId, user: User = None, store: Folder = None, memory: Kind = None, as_json: Json = False) -> None:
    """Show one item with all its fields.

    Example: memagent memory show m12
    """
    with open_memory(store, user, memory) as opened:
        item = opened.get(item_id)
    fields = item.model_dump(mode="json", exclude={"text"}, exclude_none=True)
    plain = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in fields.items()}
    rows = [[name, clean(value)] for name, value in plain.items()]
    print_result({"item": item.model_dump(mode="json")}, f"{table(rows)}\n\n{clean(item.text)}", as_json)


@app.command()
def history(
    item_id: Annotated[str | None, typer.Argument(metavar="ID", help="Id of an item; without: all items.")] = None,
    user: User = None,
    store: Folder = None,
    memory: Kind = None,
    as_json: Json = False,
) -> None:
    """Show every change of an item, or of all items, oldest first.

    Example: memagent memory history m12
    """
    with open_memory(store, user, memory) as opened:
        changes = opened.history(item_id)
    rows = []
    for one in changes:
        text = "" if one.text is None else one_line(one.text)
        rows.append([clean(one.id), f"{one.at:%Y-%m-%d %H:%M}", one.action, one_line(one.reason, 60), text])
    print_result({"changes": [one.model_dump(mode="json") for one in changes]}, table(rows), as_json)


@app.command()
def audit(user: User = None, store: Folder = None, memory: Kind = None, as_json: Json = False) -> None:
    """List suspicious items: repeated, empty, very long, or phrased as an instruction to a model.

    Example: memagent memory audit --memory notes
    """
    with open_memory(store, user, memory) as opened:
        findings = opened.audit()
    if not findings:
        print_status("nothing to report")
    rows = [[one.id, one.problem, one_line(one.detail)] for one in findings]
    print_result({"findings": [one.model_dump(mode="json") for one in findings]}, table(rows), as_json)


@app.command()
def stats(user: User = None, store: Folder = None, memory: Kind = None, as_json: Json = False) -> None:
    """Show the size of a memory and how many messages wait for `consolidate`.

    Example: memagent memory stats --json
    """
    with open_memory(store, user, memory) as opened:
        found = opened.stats().model_dump(mode="json")
    rows = [[name, "none" if value is None else clean(str(value))] for name, value in found.items()]
    print_result({"stats": found}, table(rows), as_json)


# -- changing ---------------------------------------------------------------------------------------------------------


@app.command()
def add(
    text: Annotated[str | None, typer.Argument(help="The fact; without it, or with -, read from stdin.")] = None,
    *,
    user: User = None,
    session: Annotated[str | None, typer.Option("--session", metavar="NAME", help="Session to write to.")] = None,
    store: Folder = None,
    memory: Kind = None,
    as_json: Json = False,
) -> None:
    """Remember one fact.

    Example: memagent memory add "My dog is called Biscuit."
    """
    fact = given_text(text, "the fact to remember")
    with open_memory(store, user, memory, session=session) as opened:
        _report(opened.remember(fact), as_json)


@app.command()
def update(
    item_id: ItemId,
    text: Annotated[str | None, typer.Argument(help="The new text; without it, or with -, read from stdin.")] = None,
    *,
    user: User = None,
    store: Folder = None,
    memory: Kind = None,
    as_json: Json = False,
) -> None:
    """Replace the text of an item; `undo` brings the old one back.

    Example: memagent memory update m12 "My dog is called Rusk."
    """
    new = given_text(text, "the new text")
    with open_memory(store, user, memory) as opened:
        _report(opened.update(item_id, new), as_json)


@app.command()
def delete(item_id: ItemId, user: User = None, store: Folder = None, memory: Kind = None, as_json: Json = False) -> None:
    """Delete an item; `undo` brings it back, `purge` erases it from the files.

    Example: memagent memory delete m12
    """
    with open_memory(store, user, memory) as opened:
        _report(opened.delete(item_id), as_json)


@app.command()
def undo(user: User = None, store: Folder = None, memory: Kind = None, as_json: Json = False) -> None:
    """Undo the last add, update or delete that was not undone yet.

    Example: memagent memory undo
    """
    with open_memory(store, user, memory) as opened:
        _report(opened.undo(), as_json)


@app.command()
def purge(
    item_id: Annotated[str | None, typer.Argument(metavar="ID", help="Id of an item.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--everything", help="Erase all of the user instead of one item.")] = False,
    yes: Yes = False,
    user: User = None,
    store: Folder = None,
    memory: Kind = None,
    as_json: Json = False,
) -> None:
    """Erase an item, or with --everything all of a user, from every file of the store. This cannot be undone.

    Example: memagent memory purge m12 --yes
    """
    from memagent.errors import InputError

    if (item_id is None) != everything:
        raise InputError("name one thing to erase: `memagent memory purge ID`, or `--everything` for all of a user")
    with open_memory(store, user, memory) as opened:
        if item_id is not None:
            opened.history(item_id)  # raises `NotFound` before anybody is asked
        what = f"user {opened.user!r}" if item_id is None else f"item {item_id!r}"
        again = "--everything" if item_id is None else item_id
        confirm(f"Erase {what} from every file?", yes=yes, command=f"memagent memory purge {again}")
        _report(opened.purge(item_id, everything=everything), as_json)


# -- deriving and moving ----------------------------------------------------------------------------------------------


@app.command()
def consolidate(
    *,
    user: User = None,
    store: Folder = None,
    memory: Kind = None,
    model: ModelName = None,
    question: Annotated[str | None, typer.Option(metavar="TEXT", help="A question to prepare for.")] = None,
    embedder: EmbedderName = None,
    as_json: Json = False,
) -> None:
    """Do the work that is left over from writing: embed messages, write notes, draft documents.

    Example: memagent memory consolidate --memory notes --model ollama:qwen3:8b
    """
    with (
        open_memory(store, user, memory, embedder=embedder, model=model) as opened,
        progress(f"consolidating {opened.kind}", opened.pending_count()) as advance,
    ):
        done = opened.consolidate(question=question, progress=advance)
    text = f"{done.processed} done, {len(done.outcomes)} items changed" if done.outcomes else f"{done.processed} done"
    print_result({"consolidated": done.model_dump(mode="json")}, text, as_json)


@app.command()
def reindex(
    *,
    embedder: EmbedderName = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="KIND", help="Also rebuild the notes or the draft of this kind.")
    ] = None,
    model: ModelName = None,
    store: Folder = None,
    as_json: Json = False,
) -> None:
    """Embed all messages of a store again, for all users, with another embedder if one is named.

    Example: memagent memory reindex --embedder minilm
    """
    from memagent.memory.derived import DerivedMemory

    asked = settings(embedder=embedder).embedder
    name = None if asked in (None, "", "auto", "none") else str(asked)
    with open_store(store, embedder="auto") as opened, open_model(model) as memory_model:
        total = sum(session.messages for user in opened.users() for session in opened.sessions(user))
        with progress("embedding", total) as advance:
            done = opened.reindex(embedder=name, progress=advance)
        with progress(f"rebuilding {memory}", total) as advance:
            memories = (
                [opened.memory(memory, user=user, model=memory_model) for user in opened.users()] if memory is not None else []
            )
            # a kind that derives nothing from the log has nothing to rebuild
            rebuilt = sum(one.rebuild(progress=advance).processed for one in memories if isinstance(one, DerivedMemory))
        used = opened.embedder_id
    text = f"{done} passages embedded by {used or 'nothing'}" + (f", {memory} of {rebuilt} messages" if memory else "")
    print_result({"embedded": done, "embedder": used, "rebuilt": rebuilt}, text, as_json)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="JSONL file to write (mode 0600).")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    user: User = None,
    store: Folder = None,
    memory: Kind = None,
    as_json: Json = False,
) -> None:
    """Write every message of a user that is not deleted to a file that `import` reads.

    Example: memagent memory export ada.jsonl --user ada
    """
    with open_memory(store, user, memory) as opened:
        written = opened.export_file(file if force else fresh(file))
    print_result({"file": str(file), "messages": written}, f"{written} messages in {file}", as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file that `export` wrote.")],
    user: User = None,
    store: Folder = None,
    memory: Kind = None,
    as_json: Json = False,
) -> None:
    """Read an export, of this store or another, into a user's memory; reading it again adds nothing.

    Messages that were deleted since come back; ones that were updated since keep their newer text.

    Example: memagent memory import ada.jsonl --user ada
    """
    with open_memory(store, user, memory) as opened, progress("importing") as advance:
        receipt = opened.import_file(file, progress=advance)
    done = Counter(outcome.action for outcome in receipt.outcomes)
    numbers = {name: done[name] for name in ("added", "restored", "superseded", "skipped")}
    said = ("messages added", "brought back", "given their newer text", "were there already")
    told = [f"{number} {words}" for number, words in zip(numbers.values(), said, strict=True)]
    text = ", ".join([told[0], *(words for words in told[1:] if not words.startswith("0 "))])
    print_result({"file": str(file), **numbers}, text, as_json)


# -- formatting --------------------------------------------------------------------------------------------------


def _report(receipt: Receipt, as_json: bool) -> None:
    rows = [[outcome.action, clean(outcome.id), outcome.reason] for outcome in receipt.outcomes]
    print_result({"receipt": receipt.model_dump(mode="json")}, table(rows), as_json)


def _row(item: Item) -> list[str]:
    who = item.label or item.speaker or item.role or item.kind
    return [clean(item.id), f"{item.time:%Y-%m-%d}", one_line(who, 24), one_line(item.text)]
