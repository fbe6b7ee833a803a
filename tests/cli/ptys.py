"""A program at the other end of a pseudo-terminal."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

SLOW = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C becomes SIGINT
from memagent.models import registry
from memagent.models.fake import FakeModel
load = registry.load_model
registry.load_model = lambda name, **options: (
    FakeModel("one two three four five six seven eight nine ten " * 40, chunk_delay=0.02) if name == "slow"
    else load(name, **options)
)
from memagent.cli.main import main
main()
"""
"""The program with one more model, `slow`, whose answer takes many seconds."""


PROMPT = "\x1b[?2004h"
"""What the line editor sends when it is ready: pasted text is to be marked."""


class Terminal:
    """A running program whose stdin and stderr are a terminal and whose stdout is a pipe."""

    def __init__(self, *arguments: str, term: str = "xterm", **environment: str) -> None:
        import pty

        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SLOW, *arguments],
            stdin=slave,
            stderr=slave,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": term}
            | environment,
        )
        os.close(slave)
        assert self.process.stdout is not None
        self._pipe = self.process.stdout.fileno()
        self.screen = ""
        self.out = ""
        self._prompt, self._enter = ("> ", "\n") if term == "dumb" else (PROMPT, "\r")
        self._prompts = 0

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def ready(self) -> None:
        """Wait for the next prompt: what is typed before it goes another way through the terminal."""
        self._prompts += 1
        self.expect(screen=self._prompt, times=self._prompts)

    def line(self, text: str) -> None:
        """Type a line at the next prompt."""
        self.ready()
        self.type(text + self._enter)

    def leave(self) -> None:
        """Press Ctrl-D at the next prompt; the program ends well."""
        self.ready()
        self.type("\x04")
        assert self.end() == 0

    def expect(self, *, screen: str = "", out: str = "", times: int = 1, timeout: float = 20.0) -> None:
        """Wait until the screen, or stdout, has shown a text so many times."""
        deadline = time.monotonic() + timeout
        while (self.screen.count(screen) if screen else self.out.count(out)) < times:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"waited for {screen or out!r}; screen {self.screen!r}, stdout {self.out!r}")

    def end(self, timeout: float = 20.0) -> int:
        """Wait for the end. Returns the exit code."""
        deadline = time.monotonic() + timeout
        while self._read():
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end; screen {self.screen!r}, stdout {self.out!r}")
        return self.process.wait(timeout)

    def close(self) -> None:
        """Kill what still runs."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self._master)

    def _read(self) -> bool:
        """Take what came within a moment. False when the program has ended and all was read."""
        ended = self.process.poll() is not None
        ready = select.select([self._master, self._pipe], [], [], 0.1)[0]
        found = False
        for handle in ready:
            try:
                text = os.read(handle, 65536).decode(errors="replace")
            except OSError:  # Linux, once the other end is closed
                text = ""
            found |= bool(text)
            if handle == self._pipe:
                self.out += text
            else:
                self.screen += text
        return found or not ended
