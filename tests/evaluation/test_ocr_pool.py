"""Eyes in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import multiprocessing, time
from memagent.evaluation import ocr_pool
from memagent_renderers.budget import Budget
from memagent_renderers.picture import render
from memagent_renderers.engines import make_engine

if __name__ == "__main__":
    ocr_pool.SLOW = ("fake",)
    with ocr_pool.OcrPool("fake") as readers:
        picture = render("# Biscuit", Budget(64), engine=make_engine("fake"))
        word = readers.read(picture).result().words[0].text
        print(word, *(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc to see processes")
def test_readers_end_with_the_run_that_was_killed() -> None:
    running = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        word, *pids = running.stdout.readline().split()
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert running.stdout is not None
        running.stdout.close()  # without reading to its end, which readers that are still there would put off
    assert word == "Biscuit"
    assert pids
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "readers are still there"
        time.sleep(0.05)


def _alive(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
