"""What tests have worker processes do: functions of a module that imports nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def shout(text: str) -> str:
    """A result that depends on what goes in."""
    return text.upper() + "!"


def fail(error: Exception) -> None:
    """Raise it."""
    raise error


class Demanding(Exception):
    """Cannot be made again from its arguments, as its pickle does."""

    def __init__(self, page: int, *, why: str) -> None:
        super().__init__(f"page {page}: {why}")


def demand() -> None:
    """Raise what no pickle brings back."""
    raise Demanding(3, why="torn")


def wait_for(path: str, seconds: float) -> int:
    """The process that saw the file come. Raises `TimeoutError` when it does not."""
    end = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)
    return os.getpid()


def die(path: str, times: int) -> str:
    """Be killed so often; `path` keeps count."""
    with Path(path).open("a", encoding="ascii") as file:
        file.write(".")
    if Path(path).stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def drawing_process() -> tuple[bool, str | None, int]:
    """With what drawing needs: whether torch is there, the threads of OpenMP, and the process."""
    import memagent_training.objectives.memocr_drafting  # noqa: F401

    return "torch" in sys.modules, os.environ.get("OMP_NUM_THREADS"), os.getpid()


def say_and_sleep(path: str, seconds: float) -> None:
    """Write down which process this is, and sleep."""
    part = Path(f"{path}.part")
    part.write_text(str(os.getpid()), "ascii")
    part.rename(path)
    time.sleep(seconds)
