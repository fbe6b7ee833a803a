"""A server of the chat API whose answers take their time: `python slow_server.py SECONDS` prints its port and serves."""

from __future__ import annotations

import asyncio
import json
import sys

PIECES = 10
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
    writer.write(HEAD)
    for _ in range(PIECES):
        await asyncio.sleep(float(sys.argv[1]) / PIECES)
        writer.write(event("word "))
    writer.write(event("", "stop") + b"data: [DONE]\n\n")
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
