"""A process that forks with a store open: each side goes on with connections of its own, and no receipt is lost."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.processes import in_child

from memagent.aio import AsyncStore
from memagent.errors import StoreError
from memagent.forks import ForkLock
from memagent.retrieval.embedders.hash import HashEmbedder
from memagent.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def texts(folder: Path) -> set[str]:
    """What a process that opens the store now reads."""
    script = (
        "import sys; from memagent import Store\n"
        "with Store(sys.argv[1], embedder=None) as store:\n"
        "    print(*(item.text for item in store.memory('rag', user='ada').items()), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")) - {""}


def test_children_that_write_after_their_parent_closed_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    parent_closed = context.Event()
    store = Store(tmp_path, embedder=None)
    memory = store.memory("rag", user="ada")
    memory.add("hello")

    def work(number: int) -> None:
        parent_closed.wait(30)
        for one in range(10):
            memory.add(f"worker {number} {one}")

    children = [context.Process(target=work, args=(number,)) for number in range(2)]
    for child in children:
        child.start()
    store.close()
    parent_closed.set()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert texts(tmp_path) == {"hello", *(f"worker {number} {one}" for number in range(2) for one in range(10))}


def test_parent_child_and_grandchild_write_in_turn(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        memory.add("parent before")
        assert memory.search("parent")

        def grandchild() -> int:
            memory.add("grandchild")
            return len(memory.items())

        def child() -> str:
            memory.add("child before")
            seen = in_child(grandchild)
            memory.add("child after")
            assert memory.search("grandchild")[0].item.text == "grandchild"
            store.close()
            return seen

        assert in_child(child) == "3"
        memory.add("parent after")
        assert memory.search("grandchild")[0].item.text == "grandchild"
    assert texts(tmp_path) == {"parent before", "child before", "grandchild", "child after", "parent after"}


def test_a_fork_waits_for_the_transactions_of_other_threads(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        stop, written = threading.Event(), list[str]()

        def write() -> None:
            while not stop.is_set():
                text = f"thread {len(written)}"
                memory.add(text)
                written.append(text)

        thread = threading.Thread(target=write)
        thread.start()
        for number in range(2):
            assert in_child(lambda number=number: memory.add(f"child {number}").ids) != ""
        stop.set()
        thread.join()
    assert texts(tmp_path) == {*written, *(f"child {number}" for number in range(2))}


def test_a_fork_within_a_transaction_says_so_in_the_child_and_leaves_the_parent_alone(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=None) as store:
        memory = store.memory("rag", user="ada")
        memory.add("before")
        with store.backend.database.read():
            answer = in_child(lambda: memory.add("lost"))
        assert answer.startswith("StoreError: this process was forked in the middle of a transaction")
        memory.add("after")
    assert texts(tmp_path) == {"before", "after"}


@pytest.mark.parametrize("kind", ["rag", "notes", "memocr"])
def test_async_verbs_work_in_a_child(tmp_path: Path, kind: str) -> None:
    store = AsyncStore(tmp_path, embedder=HashEmbedder())
    memory = store.memory(kind, user="ada")

    async def both(text: str) -> str:
        await asyncio.wait_for(memory.add(text), 20)
        await asyncio.wait_for(memory.consolidate(), 20)
        return str((await asyncio.wait_for(memory.search(text), 20))[0].item.text)

    assert asyncio.run(both("I live in Lyon.")) == "I live in Lyon."
    assert in_child(lambda: asyncio.run(both("I drive a Fiat."))) == "I drive a Fiat."
    asyncio.run(store.close())


def test_a_lock_that_another_thread_held_is_free_in_the_child_and_tells_so() -> None:
    held, free = ForkLock(), ForkLock()
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with held:
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)

    def use() -> tuple[bool, bool]:
        with held, free:
            return held.interrupted, free.interrupted

    with free:
        assert in_child(use) == "(True, False)"
    done.set()
    thread.join()
    with held:
        assert not held.interrupted


def test_an_index_that_a_thread_was_changing_is_made_anew_in_the_child(tmp_path: Path) -> None:
    with Store(tmp_path, embedder=HashEmbedder()) as store:
        memory = store.memory("rag", user="ada")
        memory.add(["the walrus", "the carpenter"])
        index = store.backend.searcher("ada").index
        taken, done = threading.Event(), threading.Event()

        def change() -> None:
            with index.lock:
                index.catch_up()
                index.alive.rows[:] = False  # half a change
                taken.set()
                done.wait(30)

        thread = threading.Thread(target=change)
        thread.start()
        taken.wait(30)
        assert in_child(lambda: memory.search("walrus")[0].item.text) == "the walrus"
        done.set()
        thread.join()


def test_a_closed_store_stays_closed_in_a_child(tmp_path: Path) -> None:
    store = Store(tmp_path, embedder=None)
    memory = store.memory("rag")
    store.close()
    assert in_child(lambda: memory.add("x")).startswith("StoreError: this store is closed")
    with pytest.raises(StoreError, match="closed"):
        memory.add("x")
