"""Python processes of a test's own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable

WRITER = """
import sys
from memagent.store import Store
with Store(sys.argv[1], embedder=None) as store:
    memory = store.memory("rag", user="ada", session=sys.argv[2])
    for number in range(int(sys.argv[3])):
        print(memory.add(f"{sys.argv[2]} says {number}").ids[0], flush=True)
"""
"""Writes messages to a store and prints the id of each: arguments are folder, session and number."""


def spawn(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start Python code with arguments; it finds what this process finds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


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
