"""A server of the chat API that does what goes wrong, to see what your code makes of it.

    with FaultServer() as server:
        model = OpenAICompatibleModel("any", base_url=server.url("cut_by_close"))

It listens on the loopback address only and answers each request as the first part of its path says, by a name of
`memagent.testing.faults.FAULTS`. Needs nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from memagent.testing.faults import FAULTS


@dataclass
class FaultServer:
    """Serves `FAULTS` on a port of the loopback address, on a thread of its own."""

    asked: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    """The faults that were asked for, each with the body of the request, in order."""

    tls: ssl.SSLContext | None = None
    """Serve encrypted, with this context."""

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="memagent-faults", daemon=True)

    def url(self, fault: str) -> str:
        """The base URL at which a fault happens."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/{fault}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._serve, sock=self._socket, ssl=self.tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def busy(self) -> int:
        """Requests that are being answered."""
        return len(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = next(line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:"))
            body = json.loads(await reader.readexactly(int(length)))
            name = head.split("/")[1]
            number = sum(one == name for one, _ in self.asked)
            self.asked.append((name, body))
            await _send(reader, writer, FAULTS[name].script(number))
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the other side has gone, or the server stops
        finally:
            self._tasks.discard(task)
            writer.close()


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, script: Iterable[bytes | float | None]) -> None:
    for step in script:
        if step is None:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return
        if isinstance(step, float):
            with suppress(TimeoutError):
                async with asyncio.timeout(step):
                    await reader.read()  # until the other side goes
                return
        else:
            writer.write(step)
            await writer.drain()
