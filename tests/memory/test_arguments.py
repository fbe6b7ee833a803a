"""Names of users and sessions have one spelling."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from memagent import Agent, Store
from memagent.config import Settings
from memagent.errors import InputError

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


@pytest.mark.parametrize("name", ["علی\u200cرضا", "क्\u200dषमा", "\U0001f469\u200d\U0001f680", "❤\ufe0f\u200d\U0001f525"])
def test_a_name_may_be_joined_as_its_script_is_written(tmp_path: Path, name: str) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user=name, session=name)
        memory.add("My dog is called Rex.")
        restored = store.memory("rag", user="ada")
        restored.restore(memory.snapshot(tmp_path / "snapshot.jsonl"))
        assert [one.name for one in store.sessions("ada")] == [name]
        assert store.users()[0] == name


@pytest.mark.parametrize(
    "name", ["a\u200dda", "ada\u200c", "\u200dada", "علی\u200c", "\u200b", "ada\u202e", "猫\u200d\u200d猫"]
)
def test_a_name_holds_no_sign_that_nobody_sees(tmp_path: Path, name: str) -> None:
    with Store(tmp_path, embedder=None) as store, pytest.raises(InputError, match="printable"):
        store.memory("rag", user=name)


@pytest.mark.parametrize("number", [2**63, 10**20, 10**400], ids=["2**63", "10**20", "10**400"])
def test_a_limit_beyond_the_database_is_all(tmp_path: Path, number: int) -> None:
    with Store(tmp_path, embedder=None) as store:
        for kind in ("rag", "long_context"):
            memory = store.memory(kind, user=kind)
            memory.add(["My dog is called Rex.", "I live in Rome."])
            assert len(memory.messages(limit=number)) == len(memory.items(limit=number)) == 2
            assert "Rex" in str(memory.recall("dog", budget=number).text)
            assert Agent(model="fake", memory=memory, budget=number, recent_messages=number).run("Hello.").text
