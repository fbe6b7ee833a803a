"""Names of users and sessions have one spelling."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from memagent import Store
from memagent.config import Settings

JOSE = unicodedata.normalize("NFD", "José")


@pytest.mark.parametrize(("name", "same"), [("ada ", "ada"), ("\tada", "ada"), (JOSE, "José"), ("\u00a0ada", "ada")])
def test_a_user_is_the_same_however_his_name_is_spelt(tmp_path: Path, name: str, same: str) -> None:
    with Store(tmp_path, embedder=None) as store:
        store.memory("rag", user=same, session="talk").add("My dog is called Rex.")
        assert [one.text for one in store.memory("long_context", user=name).items()] == ["My dog is called Rex."]
        assert [one.name for one in store.sessions(name)] == ["talk"]
        assert store.users() == [same]
        assert len(store.memory("rag", user=name).items(session=" talk ")) == 1
        assert store.delete_session("talk ", user=name, purge=True) == 1
    assert Settings(user=name).user == same
