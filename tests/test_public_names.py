"""The front door: few names, each documented; errors are where users look for them; the module runs as a command."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import memagent
from memagent import errors


@pytest.mark.parametrize("name", memagent.__all__)
def test_every_public_name_and_its_public_verbs_are_documented(name: str) -> None:
    value = getattr(memagent, name)
    assert inspect.getdoc(value)
    members = vars(value).items() if isinstance(value, type) else ()
    verbs = [(verb, member) for verb, member in members if not verb.startswith("_") and inspect.isfunction(member)]
    assert not [verb for verb, function in verbs if not inspect.getdoc(function)]


def test_all_lists_what_can_be_imported_and_what_verbs_return() -> None:
    assert set(memagent.__all__) <= set(dir(memagent))
    for kind in (memagent.Memory, memagent.Store, memagent.Agent):
        for _, verb in inspect.getmembers(kind, inspect.isfunction):
            returned = str(inspect.signature(verb).return_annotation)
            for name in ("Receipt", "Recall", "Item", "SearchResult", "HistoryEntry", "AuditFinding", "Stats", "Answer"):
                assert name not in returned or name in memagent.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        memagent.Nothing  # noqa: B018


def test_errors_show_where_users_import_them_from() -> None:
    for name in ("ModelError", "StoreError", "StoreLocked", "NotFound", "MalformedOutput"):
        assert getattr(errors, name).__module__ == "memagent.errors"
    assert {name for name in memagent.__all__ if name.endswith("Error")} <= set(errors.__all__)


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memagent", "--version"], capture_output=True, text=True, check=True, cwd=sys.path[0]
    )
    assert done.stdout.strip() == memagent.__version__
