"""llama.cpp inside this process, spoken to over a private socket.

The package xllamacpp runs llama.cpp's own server as threads of the calling process. That server always listens
somewhere. Where the system has Unix sockets it is given one in a fresh folder that only this user can open, so no
network port exists; elsewhere it listens on a random loopback port behind a random key. Speaking HTTP to it, instead
of calling into it, is what makes early stops prompt: when the connection closes, llama.cpp drops the request between
two batches of prompt or two tokens of answer. It queues concurrent requests, so any thread may call any method here.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel

from memagent.errors import InputError, MissingExtra, ModelError
from memagent.models.convert import Json

_SOCKET_PATH_LIMIT = 100
"""Longest path of a Unix socket that every system takes (the smallest limit is 104 bytes)."""


class LlamaServer:
    """One loaded model. `close` frees it; it is also freed when the object is collected or Python ends."""

    def __init__(self, model: Path, *, projector: Path | None, context: int, threads: int, quiet: bool) -> None:
        self._folder = tempfile.mkdtemp(prefix="memagent-llama-")  # mode 0700
        self._key = secrets.token_urlsafe(24)
        self._native: object | None = None
        self._finish = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = os.path.join(self._folder, "llama.sock")
        self._socket = path if hasattr(socket, "AF_UNIX") and len(path.encode()) <= _SOCKET_PATH_LIMIT else None
        self._native = self._start(model, projector, context=context, threads=threads, quiet=quiet)
        self._counting = threading.Lock()
        self._kept: http.client.HTTPConnection | None = None

    def _start(self, model: Path, projector: Path | None, *, context: int, threads: int, quiet: bool) -> object:
        try:
            import xllamacpp
        except ImportError as error:
            raise MissingExtra("xllamacpp, which runs GGUF models,", "pip install 'memagent[chat]'") from error
        params: Any = xllamacpp.CommonParams()
        params.model.path = str(model)
        if projector is not None:
            params.mmproj.path = str(projector)
            params.image_min_tokens = 4  # so that no picture of ours is resized on its way in
        params.n_ctx, params.n_parallel = context, 1
        params.n_batch = params.n_ubatch = 256  # an abandoned prompt is dropped within a second on two cores
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.fit_params, params.warmup, params.ui, params.endpoint_slots = False, False, False, False
        params.cache_ram_mib = 0
        params.verbosity = -1 if quiet else 3
        params.api_keys = [self._key]
        params.hostnames = [self._socket or "127.0.0.1"]
        try:
            return cast(object, xllamacpp.Server(params))
        except RuntimeError as error:
            shown = f"`{model}`" + (f" with the projector `{projector}`" if projector else "")
            raise ModelError(f"llama.cpp could not load {shown}; it may be damaged or of an unknown kind") from error

    def post(
        self, path: str, body: Json, *, timeout: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request; the caller closes the connection."""
        connection = self._connect(timeout)
        try:
            return connection, self._ask(connection, path, body)
        except BaseException:
            connection.close()
            raise

    def events(self, path: str, body: Json, *, timeout: float | None) -> Generator[dict[str, Any], None, None]:
        """The server-sent events of one request. Closing the generator ends the request at once."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            connection, response = self.post(path, body, timeout=timeout)
        except TimeoutError as error:
            raise _too_slow(timeout) from error
        stream = connection.sock
        try:
            if response.status != 200:
                raise _failure(response.status, response.read())
            while line := _line(response, stream, deadline, timeout):
                if line.startswith(b"data: {"):
                    event: dict[str, Any] = json.loads(line[6:])
                    if "error" in event:
                        raise _failure(int(event["error"].get("code", 500)), line[6:])
                    yield event
        finally:
            connection.close()
            response.close()

    def token_count(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, no special tokens added."""
        body: Json = {"content": text, "add_special": False}
        with self._counting:
            reply = self._ask_kept("/tokenize", body)
        return len(reply["tokens"])

    def _ask_kept(self, path: str, body: Json) -> dict[str, Any]:
        """Ask over the kept connection. The server ends it after 100 requests or 5 s of rest: then ask once more."""
        for attempt in range(2):
            if self._kept is None:
                self._kept = self._connect(None)
            try:
                response = self._ask(self._kept, path, body)
                data = response.read()
            except (http.client.HTTPException, OSError):
                self._drop_kept()
                if attempt:
                    raise
                continue
            if response.status != 200:
                raise _failure(response.status, data)
            return cast("dict[str, Any]", json.loads(data))
        raise AssertionError("unreachable")

    def _ask(self, connection: http.client.HTTPConnection, path: str, body: Json) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        # Lone surrogates cannot be encoded and mean nothing to a tokenizer; they become question marks.
        connection.request("POST", path, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), headers)
        return connection.getresponse()

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        if self._native is None:
            raise ModelError("this model has been closed")
        if self._socket is not None:
            return _UnixConnection(self._socket, timeout)
        address = urlsplit(cast(Any, self._native).listening_address)
        return http.client.HTTPConnection("127.0.0.1", address.port, timeout=timeout)

    def _drop_kept(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def close(self) -> None:
        """Free the model. Safe to call twice; requests under way end with an error."""
        if self._native is None:
            return
        with self._counting:
            self._drop_kept()
        self._native = None
        self._finish()


def grammar_of(schema: type[BaseModel]) -> str:
    """The llama.cpp grammar of a schema's JSON, on one line: a small model would fill an answer with white space.

    It is made here because the server's own `response_format` drops the spacing rules.
    """
    import xllamacpp

    rules = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    try:
        return cast(str, xllamacpp.json_schema_to_grammar(schema.model_json_schema() | {"x-guidance": rules}))
    except RuntimeError as error:
        raise InputError(f"the schema `{schema.__name__}` cannot be made a grammar: {error}") from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _line(response: http.client.HTTPResponse, stream: socket.socket, deadline: float | None, timeout: float | None) -> bytes:
    """The next line of a stream; empty at its end. Raises `ModelError` when the deadline passes first."""
    try:
        if deadline is not None:
            stream.settimeout(max(0.001, deadline - time.monotonic()))
        return response.readline()
    except TimeoutError as error:
        raise _too_slow(timeout) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise ModelError(f"llama.cpp broke off its answer: {type(error).__name__}") from error


def _too_slow(timeout: float | None) -> ModelError:
    return ModelError(f"the model did not finish within {timeout:g} s; raise `timeout` or lower `max_tokens`", retryable=True)


def _failure(status: int, body: bytes) -> ModelError:
    """The server's error as ours; too long a prompt names both sizes."""
    try:
        error: dict[str, Any] = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        error = {"message": body[:200].decode("utf-8", "replace")}
    if error.get("type") == "exceed_context_size_error":
        asked, window = error.get("n_prompt_tokens"), error.get("n_ctx")
        message = (
            f"the prompt is {asked} tokens and the context window {window}; "
            "lower the memory's budget, start a new session, or load the model with a larger `context`"
        )
        return ModelError(message, status=status)
    return ModelError(f"llama.cpp refused the request: {error.get('message')}", retryable=status >= 500, status=status)
