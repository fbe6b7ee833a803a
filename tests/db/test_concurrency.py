"""Many processes write one store and lose nothing; a lock that is held is reported."""

from __future__ import annotations

import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from helpers.processes import Writer

from memagent.errors import (
    StoreLocked,
)
from memagent.store import Store


@pytest.mark.slow
def test_eight_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None):
        pass
    writers = [Writer(tmp_path, f"writer{number}", 200) for number in range(8)]
    assert [len(writer.end(timeout=240)) for writer in writers] == [200] * 8
    assert [writer.process.exitcode for writer in writers] == [0] * 8
    with Store(tmp_path, embedder=None) as store:
        messages = store.memory("rag", user="ada").messages()
    assert len(messages) == 1600
    assert len({message.text for message in messages}) == 1600


def test_a_small_crowd_of_processes_writes_at_once(tmp_path: Path) -> None:
    writers = [Writer(tmp_path, f"writer{number}", 20) for number in range(3)]
    assert [len(writer.end(timeout=120)) for writer in writers] == [20] * 3
    assert [writer.process.exitcode for writer in writers] == [0] * 3
    with Store(tmp_path, embedder=None) as store:
        assert len(store.memory("rag", user="ada").messages()) == 60


def test_a_thread_that_reads_while_another_commits_sees_no_state_put_back(tmp_path: Path) -> None:
    failed: list[Exception] = []
    with Store(tmp_path, embedder=None) as store:

        def use(number: int) -> None:
            memory = store.memory("rag", user=f"user {number}")
            try:
                for turn in range(400):
                    memory.messages(limit=1) if number % 2 or turn % 10 else memory.add(f"{turn}")
            except Exception as error:
                failed.append(error)

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
    assert not failed


def test_a_held_lock_is_reported_after_the_timeout(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None, timeout=0.2) as store:
        other = sqlite3.connect(store.backend.database.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked, match=r"0\.2 s"):
            store.memory("rag").add("hello")
        other.execute("ROLLBACK")
        other.close()
        store.memory("rag").add("hello")


def test_a_thread_that_waits_for_another_to_write_goes_on_at_once_or_says_what_held_it(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None, timeout=0.2) as store:
        database, begun, done = store.backend.database, threading.Event(), threading.Event()
        failed: list[Exception] = []

        def hold() -> None:
            with database.write():
                begun.set()
                done.wait()

        def add(text: str) -> None:
            try:
                store.memory("rag").add(text)
            except StoreLocked as error:
                failed.append(error)

        holder = threading.Thread(target=hold)
        holder.start()
        begun.wait()
        add("too late")
        assert "another thread" in str(failed[0])
        database.timeout = 30.0
        waiting = [threading.Thread(target=add, args=(f"in time {number}",)) for number in range(4)]
        for one in waiting:
            one.start()
        assert len(store.memory("rag").items()) == 0  # readers do not wait
        done.set()
        for one in (holder, *waiting):
            one.join()
        assert len(failed) == 1
        assert len(store.memory("rag").items()) == 4
