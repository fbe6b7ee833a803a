"""`memagent sessions`: list, show, delete, purge."""

from __future__ import annotations

from pathlib import Path

import pytest
from invocations import added, data, run

from memagent.errors import InputError, NotFound


def test_sessions_list_show_delete_and_undo() -> None:
    added("One.", "--session", "a")
    added("Two.", "--session", "a")
    added("Three.", "--session", "b")
    assert [one["name"] for one in data("sessions", "list")["sessions"]] == ["b", "a"]
    assert run("sessions", "show", "a") == "user: One.\nuser: Two.\n"
    assert data("sessions", "delete", "a") == {"session": "a", "action": "deleted", "messages": 2}
    assert [one["name"] for one in data("sessions", "list")["sessions"]] == ["b"]
    run("memory", "undo")
    run("memory", "undo")
    assert run("sessions", "show", "a") == "user: One.\nuser: Two.\n"


def test_session_purge_takes_forgotten_messages_too(tmp_path: Path) -> None:
    run("memory", "delete", added("canary-4471", "--session", "a"))
    added("canary-4472", "--session", "a")
    added("stays", "--session", "b")
    run("memory", "consolidate")
    with pytest.raises(InputError, match="memagent sessions delete a --purge --yes"):
        run("sessions", "delete", "a", "--purge")
    assert data("sessions", "delete", "a", "--purge", "--yes")["messages"] == 2
    assert not any(b"canary-447" in file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file())
    assert [item["text"] for item in data("memory", "list")["items"]] == ["stays"]
    assert data("memory", "search", "stays")["found"]


def test_unknown_sessions() -> None:
    for arguments in (["show", "nope"], ["delete", "nope"], ["delete", "nope", "--purge", "--yes"]):
        with pytest.raises(NotFound, match="nope"):
            run("sessions", *arguments)
