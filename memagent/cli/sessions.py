"""`memagent sessions`: list, show and delete the sessions of a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memagent.cli.common import (
    Folder,
    Json,
    User,
    Yes,
    clean,
    confirm,
    one_line,
    open_store,
    print_result,
    print_status,
    settings,
    table,
)

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True, help="List, show and delete sessions.")

Name = Annotated[str, typer.Argument(metavar="SESSION", help="Name of a session, as `list` shows it.")]


@app.command("list")
def list_(
    user: User = None,
    store: Folder = None,
    limit: Annotated[int, typer.Option(min=0, help="Sessions to show; 0 for all.")] = 0,
    as_json: Json = False,
) -> None:
    """List the sessions of a user, the latest first.

    Example: memagent sessions list --user ada
    """
    with open_store(store) as opened:
        found = opened.sessions(settings(user=user).user)
    if not found:
        print_status("there are no sessions yet")
    shown = found[: limit or None]
    rows = [[clean(one.name), f"{one.last:%Y-%m-%d %H:%M}", f"{one.messages} messages", one_line(one.title)] for one in shown]
    print_result({"sessions": [one.model_dump(mode="json") for one in shown]}, table(rows), as_json)


@app.command()
def show(
    name: Name,
    user: User = None,
    store: Folder = None,
    limit: Annotated[int, typer.Option(min=0, help="Newest messages to show; 0 for all.")] = 0,
    as_json: Json = False,
) -> None:
    """Print the messages of a session.

    Example: memagent sessions show session_1 --user conv-26
    """
    from memagent.errors import NotFound

    who = settings(user=user).user
    with open_store(store) as opened:
        messages = opened.memory("long_context", user=who).messages(session=name, limit=limit or None)
    if not messages:
        raise NotFound(f"user {who!r} has no session {name!r}; list them with `memagent sessions list`")
    shown = [f"{clean(message.speaker or message.role)}: {clean(message.text)}" for message in messages]
    data = {"session": name, "messages": [one.model_dump(mode="json", exclude_none=True) for one in messages]}
    print_result(data, "\n".join(shown), as_json)


@app.command()
def delete(
    name: Name,
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Erase from every file; this cannot be undone.")] = False,
    yes: Yes = False,
    user: User = None,
    store: Folder = None,
    as_json: Json = False,
) -> None:
    """Delete every message of a session; `memagent memory undo` brings them back one by one.

    Example: memagent sessions delete session_1 --purge --yes
    """
    who = settings(user=user).user
    with open_store(store) as opened:
        if purge:
            question = f"Erase session {name!r} of user {who!r} from every file?"
            confirm(question, yes=yes, command=f"memagent sessions delete {name} --purge")
        number = opened.delete_session(name, user=who, purge=purge)
    action = "erased" if purge else "deleted"
    print_result({"session": name, "action": action, "messages": number}, f"{number} messages {action}", as_json)
