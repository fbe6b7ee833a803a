"""A server on the loopback address that speaks as `vllm serve` does, and goes wrong as it is told.

    with FakeVllmServer(dialect="0.31", latency=0.01) as server:
        requests.get(server.url + "/health")

`asked` holds every request in order, so that a test can look at what was sent. Needs nothing but the standard library, and
Pillow for pictures.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from memagent_training.testing.vllm_endpoints import State
from memagent_training.testing.vllm_settings import Json, Refused, ServerSettings

_DEV = {
    *("/pause", "/resume", "/is_paused", "/sleep", "/wake_up", "/is_sleeping", "/server_info", "/abort_requests"),
    *("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/get_world_size", "/weight_info"),
    *("/init_weight_transfer_engine", "/start_weight_update", "/update_weights", "/finish_weight_update"),
    "/shutdown_weight_transfer_engine",
}
"""Paths that are there in development mode only."""
_NEWER = {"/shutdown_weight_transfer_engine", "/inference/v1/abort_requests"}
"""Paths of the dialect 0.33."""
GENERATIONS = ("/inference/v1/generate", "/v1/completions")


class Asked(NamedTuple):
    """One request."""

    path: str
    query: Mapping[str, str]
    body: Json


class FakeVllmServer:
    """Serves on a port of its own, on a thread of its own; options are those of `vllm_settings.ServerSettings`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = ServerSettings(**settings)
        self.asked: list[Asked] = []
        """All requests, in order."""
        self.aborted = 0
        """Completions whose caller went before they were done."""
        self._loop = asyncio.new_event_loop()
        self._taken = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, name="memagent-fake-vllm", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server: asyncio.Server
        self.state: State
        self._server, self.state = self._within(self._start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._within(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def sent(self, path: str) -> list[Json]:
        """The bodies of the requests to `path`."""
        return [one.body for one in self.asked if one.path == path]

    @property
    def completions(self) -> list[Json]:
        """The bodies of the requests for completions, on either path."""
        return [one.body for one in self.asked if one.path in GENERATIONS]

    @property
    def busy(self) -> int:
        """Requests that are being answered."""
        return len(self._tasks)

    def _within(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> tuple[asyncio.Server, State]:
        return await asyncio.start_server(self._serve, sock=self._socket), State(self.settings)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- one connection, one request -------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            asked = await _read(reader)
            self._taken += asked.path in GENERATIONS
            limit = self.settings.drop_after
            if limit is not None and (self._taken > limit or limit == 0):
                writer.transport.abort()
                return
            self.asked.append(asked)
            writer.write(_response(*await self._answered(asked, reader)))
            await writer.drain()
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the other side has gone, or the server stops
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answered(self, asked: Asked, reader: asyncio.StreamReader) -> tuple[int, Json]:
        """The answer; when the caller goes before it is there, its work is given up, as vLLM does."""
        work = asyncio.ensure_future(self._dispatch(asked))
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.aborted += asked.path in GENERATIONS
                work.cancel()
            return 200, await work
        except Refused as error:
            return error.status, {"error": {"message": str(error), "type": "BadRequestError", "code": error.status}}
        except (KeyError, TypeError) as error:
            return 422, {"error": {"message": f"{type(error).__name__}: {error}", "type": "Unprocessable", "code": 422}}
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await gone

    async def _dispatch(self, asked: Asked) -> Json:
        state, path, newer = self.state, asked.path, self.settings.dialect == "0.33"
        if (path in _DEV and not self.settings.dev_mode) or (path in _NEWER and not newer):
            raise Refused(404, "Not Found")
        match path:
            case "/inference/v1/generate":
                return await state.generate(asked.body)
            case "/v1/completions":
                return await state.completions(asked.body)
            case "/pause":
                return await state.pause(asked.query)
            case "/update_weights":
                return await state.update(asked.body)
        return self._told(state, asked)

    def _told(self, state: State, asked: Asked) -> Json:  # noqa: PLR0912 (a table with arguments)
        body, query = asked.body, asked.query
        match asked.path:
            case "/v1/chat/completions/render":
                return state.render(body)
            case "/resume":
                return state.resume()
            case "/abort_requests" | "/inference/v1/abort_requests":
                return state.abort(body)
            case "/sleep":
                return state.sleep(query)
            case "/wake_up":
                return state.wake_up()
            case "/v1/load_lora_adapter":
                return state.load_adapter(body)
            case "/v1/unload_lora_adapter":
                return state.unload_adapter(body)
            case "/start_weight_update":
                return state.start_update()
            case "/init_weight_transfer_engine":
                return state.init_transfer(body)
            case "/finish_weight_update":
                return state.finish_update(body)
            case "/reset_prefix_cache" | "/reset_mm_cache" | "/reset_encoder_cache":
                return state.reset()
            case "/v1/models":
                return state.models()
            case "/server_info":
                return state.info()
        facts: dict[str, Json] = {
            "/health": {},
            "/version": {"version": self.settings.version or f"{self.settings.dialect}.0"},
            "/is_paused": {"is_paused": not state.open.is_set()},
            "/is_sleeping": {"is_sleeping": bool(state.asleep)},
            "/get_world_size": {"world_size": 1},
            "/weight_info": {"weight_version": state.weight_version},
            "/shutdown_weight_transfer_engine": {"message": "Weight transfer shut down"},
        }
        if asked.path not in facts:
            raise Refused(404, "Not Found")
        return facts[asked.path]


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    length = next((int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")), 0)
    place = urlsplit(head[0].split(" ")[1])
    data = await reader.readexactly(length)
    return Asked(place.path, dict(parse_qsl(place.query)), json.loads(data) if data else {})


def _response(status: int, body: Json) -> bytes:
    data = json.dumps(body).encode()
    lines = (
        f"HTTP/1.1 {status} -",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + data
