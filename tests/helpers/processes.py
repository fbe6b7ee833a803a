"""Python processes of a test's own."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from memagent.store import Store


def start(work: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Run a function of a module in a new process, which has nothing of this one and has not opened a store.

    It is forked off a server that has imported `memagent`, within hundredths of a second: a new Python takes a second.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        process: BaseProcess = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    else:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["helpers.store_worker"])
        with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
            forkserver.ensure_running()
        process = context.Process(target=work, args=arguments)
    process.start()
    return process


def _write(folder: str, session: str, number: int, receipts: Connection) -> None:
    with Store(folder, embedder=None) as store:
        memory = store.memory("rag", user="ada", session=session)
        for turn in range(number):
            receipts.send(memory.add(f"{session} says {turn}").ids[0])


class Writer:
    """A process that adds a number of messages to a session of ada's; the id of each is in its receipts."""

    def __init__(self, folder: Path, session: str, number: int) -> None:
        self.receipts, theirs = multiprocessing.Pipe(duplex=False)
        self.process = start(_write, str(folder), session, number, theirs)
        theirs.close()

    def end(self, timeout: float) -> set[str]:
        """Receipts not yet taken, once it has ended or was killed; one of which a part was sent is none."""
        found = set()
        try:
            while self.receipts.poll(timeout):
                found.add(self.receipts.recv())
        except (EOFError, OSError):
            self.process.join(timeout)
            return found
        raise TimeoutError(f"a writer gave nothing for {timeout} s")


def in_child(work: Callable[[], object], *, timeout: float = 60) -> str:
    """What `work` returns in a forked child, or the error that it raises, as text."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            answer = str(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        theirs.send(answer)
        os._exit(0)
    assert ours.poll(timeout), "the child hangs"
    os.waitpid(child, 0)
    return str(ours.recv())
