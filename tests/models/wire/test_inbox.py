"""What comes on a connection is taken in parts, in time, and never held without a bound."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest

from memagent.models.wire.inbox import Inbox

SENT = bytes(range(256)) * 4_000
Use = Callable[[Inbox, socket.socket], Awaitable[None]]


def connected(use: Use) -> None:
    """Give an inbox and the server's end of its connection."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            _, inbox = await asyncio.get_running_loop().create_connection(Inbox, *server.getsockname())
            with server.accept()[0] as end:
                end.setblocking(False)
                try:
                    await use(inbox, end)
                finally:
                    inbox.close()
                    await asyncio.sleep(0)

    asyncio.run(main())


def test_all_that_was_sent_comes_in_parts_and_then_the_end() -> None:
    async def use(inbox: Inbox, end: socket.socket) -> None:
        loop, parts = asyncio.get_running_loop(), [b""]
        sending = asyncio.create_task(loop.sock_sendall(end, SENT))
        while sum(map(len, parts)) < len(SENT):
            parts.append(await inbox.read(monotonic() + 10))
        await sending
        end.close()
        assert await inbox.read(monotonic() + 10) == b""
        assert await inbox.read(monotonic() + 10) == b""
        assert b"".join(parts) == SENT
        assert max(map(len, parts)) <= 4_096

    connected(use)


def test_a_server_that_is_faster_than_its_reader_has_to_wait() -> None:
    async def use(inbox: Inbox, end: socket.socket) -> None:
        loop, size = asyncio.get_running_loop(), 64_000_000
        sending = asyncio.create_task(loop.sock_sendall(end, bytes(size)))
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert len(inbox._held) < 1_000_000
        while size:
            size -= len(await inbox.read(monotonic() + 10))
        await sending

    connected(use)


def test_readings_end_at_their_own_time() -> None:
    async def use(inbox: Inbox, end: socket.socket) -> None:
        until = monotonic() + 0.1
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await inbox.read(until)
        later = asyncio.create_task(inbox.read(monotonic() + 10))
        with pytest.raises(TimeoutError):  # the time of one reading is not that of the next
            async with asyncio.timeout(0.05):
                await asyncio.shield(later)
        end.send(b"late")
        assert await later == b"late"

    connected(use)


def test_what_came_before_a_connection_broke_is_taken_first() -> None:
    async def use(inbox: Inbox, end: socket.socket) -> None:
        end.send(b"whole")
        await asyncio.sleep(0.05)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()
        await asyncio.sleep(0.05)
        assert await inbox.read(monotonic() + 10) == b"whole"
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await inbox.read(monotonic() + 10)

    connected(use)
