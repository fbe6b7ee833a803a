"""Any sequence of verbs, by two processes and their forks, for three users, leaves what a simple model says.

Every text holds a word of its own. No receipt is lost, nothing crosses users, and no file holds the word of a purged text.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.processes import in_child
from helpers.store_worker import Worker, do, open_store, set_clock, small_caches

from memagent.db import log, revisions
from memagent.errors import NotFound
from memagent.retrieval import index

pytestmark = pytest.mark.slow

USERS = ("ada", "bob", "eve")
STEPS = 50


@dataclass
class Said:
    """A message, as the model knows it."""

    text: str
    versions: set[str]
    alive: bool = True


@dataclass
class User:
    """A user's messages in the order of the log, and the changes that can be undone, newest last."""

    said: dict[str, Said] = field(default_factory=dict)
    changes: list[tuple[str, str, str]] = field(default_factory=list)

    def live(self) -> list[str]:
        return [one.text for one in self.said.values() if one.alive]

    def words(self) -> set[str]:
        """Of every text that is there in some version."""
        return {word for one in self.said.values() for text in one.versions for word in words_of(text)}


def words_of(text: str) -> set[str]:
    return set(re.findall(r"canary\d+x\d+", text))


class World:
    """Two processes over one folder, and the model of what is in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.outside = folder / "files"
        self.outside.mkdir()
        self.folder = folder / "mem"
        self.store = open_store(str(self.folder))
        self.worker = Worker(str(self.folder))
        self.users = {name: User() for name in USERS}
        self.purged: set[str] = set()
        self.made = 0
        self.exports: list[tuple[Path, list[tuple[str, str]]]] = []
        self.snapshots: list[tuple[str, Path, User]] = []
        self.caches: list[Path] = []

    def run(self, verb: str, user: str, *arguments: Any) -> Any:
        """Here, in the other process, or in a fork of this one."""
        where = self.random.choice(["here", "there", "there", "fork"])
        if where == "there":
            return self.worker.ask(verb, user, *arguments)
        if where == "fork" and verb in ("add", "update", "delete", "undo", "import_file"):
            answer = in_child(lambda: do(self.store, verb, user, *arguments))
            assert "Error" not in answer.split(":")[0], answer
            return eval(answer)  # what we made: a list of texts
        return do(self.store, verb, user, *arguments)

    def new_text(self) -> str:
        self.made += 1
        kind = self.random.choice(["My pet is called {}.", "I live in {}.", "{}", "Where is {}?", "I work with {} and tea."])
        text = kind.format(f"canary{self.made}x{self.random.randrange(10**9)}")
        return text + " A long story about gardens." * 50 if self.random.random() < 0.1 else text

    def some(self, user: User) -> str | None:
        live = [id for id, one in user.said.items() if one.alive]
        return self.random.choice(live) if live else None

    # -- steps ---------------------------------------------------------------------------------------------------------

    def add(self, name: str) -> None:
        texts = [self.new_text() for _ in range(self.random.choice([1, 1, 2, 6]))]
        for text, (id, action) in zip(texts, self.run("add", name, texts), strict=True):
            assert action == "added"
            assert id not in self.users[name].said
            self.users[name].said[id] = Said(text, {text})

    def update(self, name: str) -> None:
        user = self.users[name]
        if (id := self.some(user)) is not None:
            text, one = self.new_text(), user.said[id]
            self.run("update", name, id, text)
            user.changes.append(("edit", id, one.text))
            one.text = text
            one.versions.add(text)

    def delete(self, name: str) -> None:
        user = self.users[name]
        if (id := self.some(user)) is not None:
            self.run("delete", name, id)
            user.said[id].alive = False
            user.changes.append(("forget", id, ""))

    def undo(self, name: str) -> None:
        user = self.users[name]
        if user.changes:
            action, id, before = user.changes.pop()
            assert self.run("undo", name)[0][0] == id
            if action == "edit":
                user.said[id].text = before
            else:
                user.said[id].alive = True

    def purge(self, name: str) -> None:
        user = self.users[name]
        if user.said:
            id = self.random.choice(list(user.said))
            self.run("purge", name, id)
            self._is_purged(name, id)

    def purge_all(self, name: str) -> None:
        if self.users[name].said and self.random.random() < 0.3:
            self.run("purge_all", name)
            for id in list(self.users[name].said):
                self._is_purged(name, id)

    def _is_purged(self, name: str, id: str) -> None:
        user = self.users[name]
        gone = user.said.pop(id)
        user.changes = [one for one in user.changes if one[1] != id]
        self.purged |= {word for text in gone.versions for word in words_of(text)}
        self.caches.clear()
        self.no_byte_is_left()

    def consolidate(self, name: str) -> None:
        self.run(self.random.choice(["consolidate", "notes consolidate"]), name)

    def export(self, name: str) -> None:
        path = self.outside / f"export{self.made}-{len(self.exports)}.jsonl"
        do(self.store, "export_file", name, str(path)) if self.users[name].said else None
        if path.exists():
            said = [(id, one.text) for id, one in self.users[name].said.items() if one.alive]
            self.exports.append((path, said))

    def import_(self, name: str) -> None:
        if not self.exports:
            return
        path, lines = self.random.choice(self.exports)
        user = self.users[name]
        for _ in range(self.random.choice([1, 2])):
            self.run("import_file", name, str(path))
            for id, text in lines:
                if id not in user.said:
                    user.said[id] = Said(text, {text})
                    continue
                one = user.said[id]
                if text not in one.versions:
                    user.changes.append(("edit", id, one.text))
                    one.text = text
                    one.versions.add(text)
                one.alive = True

    def snapshot(self, name: str) -> None:
        path = self.outside / f"snapshot{len(self.snapshots)}.jsonl"
        self.run("snapshot", name, str(path))
        self.snapshots.append((name, path, copy.deepcopy(self.users[name])))

    def restore(self, name: str) -> None:
        if self.snapshots:
            _, path, state = self.random.choice(self.snapshots)
            self.run("restore", name, str(path))
            self.users[name] = copy.deepcopy(state)

    def remove_cache(self, name: str) -> None:
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def keep_cache(self, name: str) -> None:
        if (self.folder / "cache").exists():
            kept = self.outside / f"cache{len(list(self.outside.iterdir()))}"
            shutil.copytree(self.folder / "cache", kept)
            self.caches.append(kept)

    def cache_of_another_date(self, name: str) -> None:
        if self.caches:
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
            shutil.copytree(self.random.choice(self.caches), self.folder / "cache")
            self.reopen(name)

    def clock(self, name: str) -> None:
        seconds = self.random.choice([-1e8, -86_400, -60, 0, 60, 86_400, 1e8])
        self.random.choice([set_clock, lambda ahead: self.worker.ask("clock", name, ahead)])(seconds)

    def reopen(self, name: str) -> None:
        self.store.close()
        self.store = open_store(str(self.folder))
        self.worker.close()
        self.worker = Worker(str(self.folder))

    def kill(self, name: str) -> None:
        """Kill the other process in the middle of a verb, whose outcome is then one of two."""
        verb, user = self.random.choice(["add", "update", "purge", "idle", "notes consolidate"]), self.users[name]
        id, text = self.some(user), self.new_text()
        if verb == "add":
            self.worker.tell("add", name, text)
        elif verb == "notes consolidate":
            self.worker.tell(verb, name)
        elif id is not None and verb != "idle":
            self.worker.tell(verb, name, id, *([text] if verb == "update" else []))
        time.sleep(self.random.random() * 0.04)
        self.worker.kill()
        found = dict(do(self.store, "texts", name))
        if verb == "add":
            user.said |= {new: Said(text, {text}) for new, said in found.items() if said == text}
        elif verb == "update" and id is not None and found.get(id) == text:
            user.changes.append(("edit", id, user.said[id].text))
            user.said[id].text = text
            user.said[id].versions.add(text)
        elif verb == "purge" and id is not None:
            with suppress(NotFound):  # the other one had come to the end of it
                do(self.store, "purge", name, id)
            self._is_purged(name, id)
        self.worker = Worker(str(self.folder))

    # -- what must hold ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        for name, user in self.users.items():
            assert [text for _, text in self.run("texts", name)] == user.live()
            own = user.words()
            live = [(text, words_of(text)) for text in user.live()]
            if live:
                text, words = self.random.choice(live)
                assert text in self.run("search", name, " ".join(words))
            every = " ".join(word for other in self.users.values() for word in other.words())[:400]
            for verb in ("search", "recall", "notes search", "notes recall", "notes texts"):
                shown = str(self.run(verb, name, *([every] if "texts" not in verb else [])))
                for word in words_of(shown):  # the last of a view may be cut
                    assert any(one.startswith(word) for one in own), (verb, name, word, shown)

    def no_byte_is_left(self) -> None:
        held = {word for user in self.users.values() for word in user.words()}
        gone = "\n".join(self.purged - held)
        if gone:  # by a process of its own: one that opens and closes a database's file loses its locks on it
            search = ["grep", "-rlaF", "-f", "-", str(self.folder)]
            assert subprocess.run(search, input=gone, capture_output=True, text=True, check=False).stdout == ""


STEPS_OF = {
    "add": 8, "update": 4, "delete": 3, "undo": 3, "purge": 4, "purge_all": 1, "consolidate": 4, "export": 2, "import_": 3,
    "snapshot": 2, "restore": 2, "remove_cache": 1, "keep_cache": 2, "cache_of_another_date": 2, "clock": 2, "reopen": 2,
    "kill": 2,
}  # fmt: skip
"""How often each step is taken."""


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_verbs_leaves_what_the_model_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    kept = ((index, "SNAPSHOT_FROM"), (index, "COMPACT_FROM"), (log, "now"), (revisions, "now"), (time, "time"))
    for place, name in kept:  # put back afterwards
        monkeypatch.setattr(place, name, getattr(place, name))
    small_caches()
    world = World(tmp_path, seed)
    done: list[tuple[str, str]] = []
    try:
        for number in range(STEPS):
            step = world.random.choices(list(STEPS_OF), weights=list(STEPS_OF.values()))[0]
            done.append((step, world.random.choice(USERS)))
            getattr(world, step)(done[-1][1])
            if number % 5 == 0:
                world.check()
        world.check()
    except BaseException as error:
        error.add_note(f"after {done}")
        raise
    finally:
        world.worker.close()
        world.store.close()
    world.no_byte_is_left()
