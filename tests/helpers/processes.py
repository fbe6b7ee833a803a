"""Python processes of a test's own."""

from __future__ import annotations

import os
import subprocess
import sys

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
